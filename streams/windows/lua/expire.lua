-- Removes windows that have left the retention and are published.
--
-- KEYS: state, index, open, dirty, then one hash per window.
-- ARGV: the time before which windows end, in ms, then two per window: member, and SIZE for a window of all posts, else ''.
-- What a window of all posts held goes on the books (expired:SIZE), so that the audit still balances. `expired_to` lets
-- apply.lua know a window that was removed from one that never was. Returns the number of windows removed.

local state, index, open, dirty = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if tonumber(ARGV[1]) > tonumber(redis.call('HGET', state, 'expired_to') or '-1') then
  redis.call('HSET', state, 'expired_to', ARGV[1])
end

local removed = 0
for i = 5, #KEYS do
  local at = 2 + (i - 5) * 2
  local member, size = ARGV[at], ARGV[at + 1]
  if redis.call('SISMEMBER', dirty, member) == 0 then
    local posts = redis.call('HGET', KEYS[i], 'n')
    if posts and size ~= '' then
      redis.call('HINCRBY', state, 'expired:' .. size, posts)
    end
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', index, member)
    redis.call('ZREM', open, member)
    removed = removed + 1
  end
end
return removed

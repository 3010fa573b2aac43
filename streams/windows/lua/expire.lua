-- Removes windows of one size that have left the retention and are published.
--
-- KEYS: state, index of the size, open, dirty, then one hash per window.
-- ARGV: the size, the event time in ms at or before which its windows have left the retention, then two per window: its
--       member, and 1 if it is a window of all posts, else 0.
-- The shard's counter `expired:SIZE` counts the posts of the removed windows of all posts, so that the audit still
-- balances. From `expired_to:SIZE`, apply.lua knows that it must not create a removed window again.
-- Returns the number of windows removed. In a sealed shard nothing is removed.

local state, index, open, dirty = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local size = ARGV[1]
local now = redis.call('TIME')
if tonumber(redis.call('HGET', state, 'sealed_until') or '0') > now[1] * 1000 + math.floor(now[2] / 1000) then
  return 0
end
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', state, 'expired_to:' .. size) or '-1') then
  redis.call('HSET', state, 'expired_to:' .. size, ARGV[2])
end

local removed = 0
for i = 5, #KEYS do
  local at = 3 + (i - 5) * 2
  local member, of_all = ARGV[at], ARGV[at + 1]
  if redis.call('SISMEMBER', dirty, member) == 0 then
    local posts = redis.call('HGET', KEYS[i], 'n')
    if posts and of_all == '1' then
      redis.call('HINCRBY', state, 'expired:' .. size, posts)
    end
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', index, member)
    redis.call('ZREM', open, member)
    removed = removed + 1
  end
end
return removed

-- Fills `top`, the latest windows of the longest size by their number of posts, in tables that have these windows
-- already: they come from a rebuild, or from a version without `top`. From `begin` on, apply.lua keeps it up to date.
--
-- KEYS: state, top, the index of the longest size, then one hash per window.
-- ARGV: the action, then
--   begin   nothing. Returns the end in ms of the latest windows, or '' if there is none.
--   add     that end, then one member per window. Returns 1.
--   finish  that end. Returns 1.
-- `add` and `finish` return 0 if there are later windows meanwhile. apply.lua has started `top` anew with the first.
-- All calls may be repeated, and several processes may fill at the same time.

local state, top, index = KEYS[1], KEYS[2], KEYS[3]
local action, at = ARGV[1], redis.call('HGET', state, 'top_end')

if action == 'begin' then
  if not at then
    at = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2]
    if at then
      redis.call('UNLINK', top)
      redis.call('HSET', state, 'top_end', at, 'top_filling', '1')
    end
  end
  return at or ''
end

if at ~= ARGV[2] then
  return 0
end
if action == 'finish' then
  redis.call('HDEL', state, 'top_filling')
  return 1
end
for i = 4, #KEYS do
  local posts = redis.call('HGET', KEYS[i], 'n')
  if posts and posts ~= '0' then
    redis.call('ZADD', top, '-' .. posts, ARGV[i - 1])
  end
end
return 1

-- Returns the windows with the most posts among the latest windows of the longest size.
--
-- KEYS: state, top. ARGV: the most windows to return.
-- Returns {the end of these windows in ms, member, minus the number of posts, member, …}; an empty list if `top` is
-- not filled.

local state, top = KEYS[1], KEYS[2]
local at, filling = unpack(redis.call('HMGET', state, 'top_end', 'top_filling'))
if not at or filling then
  return {}
end
return {at, unpack(redis.call('ZRANGE', top, 0, tonumber(ARGV[1]) - 1, 'WITHSCORES'))}

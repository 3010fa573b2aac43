-- Returns the state of a shard, the clock of its server, the number of dirty windows, and the earliest windows.
--
-- KEYS: state, dirty, open, then one index for each size.
-- Returns {seconds, microseconds, the state's fields and values in turn, the number of dirty windows, the earliest end
-- in ms in `open` and in each index ('' if it is empty)}.
-- This is one script and not several commands, because on a cluster the clock must be that of the shard's server: its
-- applies are stamped with it.

local now = redis.call('TIME')
local earliest = {}
for i = 3, #KEYS do
  earliest[i - 2] = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2] or ''
end
return {now[1], now[2], redis.call('HGETALL', KEYS[1]), redis.call('SCARD', KEYS[2]), earliest}

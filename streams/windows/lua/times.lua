-- A shard's state together with the clock of the server that holds it, and whether anything waits for either.
--
-- KEYS: state, open, then one index for each size.
-- Returns {seconds, microseconds, the state's fields and values one after the other, the earliest end in open and in each
-- index, in ms, '' for none}.
-- One script and not several commands: on a cluster the clock must be that of the server that stamped the applies.

local now = redis.call('TIME')
local earliest = {}
for i = 2, #KEYS do
  earliest[i - 1] = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2] or ''
end
return {now[1], now[2], redis.call('HGETALL', KEYS[1]), earliest}

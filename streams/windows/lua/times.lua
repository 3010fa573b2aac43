-- A shard's state together with the clock of the server that holds it.
--
-- KEYS: state. Returns {seconds, microseconds, the state's fields and values one after the other}.
-- One script and not two commands: on a cluster the clock must be that of the server that stamped the applies.

local now = redis.call('TIME')
return {now[1], now[2], redis.call('HGETALL', KEYS[1])}

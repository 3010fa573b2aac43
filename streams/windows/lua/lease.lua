-- A lease: who may do something, until when. It runs out by itself, so that a process that dies blocks nobody.
--
-- KEYS: a hash. ARGV: name, owner, length in ms, and what to do: `take` it, unless another holds it; `renew` it, if we
-- still hold it; `release` it, if it is ours.
-- Fields NAME_by and NAME_until (ms, the server's clock). Returns {1, until} where it is done, {0, until} where it is not.

local key, by, till = KEYS[1], ARGV[1] .. '_by', ARGV[1] .. '_until'
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local held_by = redis.call('HGET', key, by)
local held_until = tonumber(redis.call('HGET', key, till) or '0')
local ours, runs = held_by == ARGV[2], held_until > now_ms

if ARGV[4] == 'release' then
  if ours then
    redis.call('HDEL', key, by, till)
  end
  return {1, 0}
end
if (ARGV[4] == 'renew' and not (ours and runs)) or (runs and not ours) then
  return {0, held_until - now_ms}
end
local fresh = now_ms + tonumber(ARGV[3])
redis.call('HSET', key, by, ARGV[2], till, string.format('%.0f', fresh))
return {1, fresh}

-- Takes, renews or releases a lease: the right of one owner to do something until a given time.
--
-- A lease runs out by itself, so that a process that dies blocks no other process for long.
-- KEYS: a hash. ARGV: name of the lease, owner, length in ms, and the action:
--   take     unless another owner holds the lease
--   renew    if this owner holds the lease
--   release  if this owner holds the lease
-- The hash has the fields NAME_by (the owner) and NAME_until (in ms, on the server's clock).
-- Returns {1, the time until which the owner holds the lease}, or {0, the ms for which another may hold it}.

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

-- Makes rebuilt window tables the current ones.
--
-- KEYS: meta. ARGV: the owner of the rebuild, the current generation, the rebuilt generation, and the time in ms before
-- which the switch must be made. After that time the seals of the old tables may run out, and the tables may change.
-- Returns 1 if the rebuilt tables are current, else 0. A repeated call returns 1 too.

local meta = KEYS[1]
local now = redis.call('TIME')
local generation = redis.call('HGET', meta, 'generation') or '0'
if generation == ARGV[3] then
  return 1
end
if
  redis.call('HGET', meta, 'rebuild_by') ~= ARGV[1]
  or generation ~= ARGV[2]
  or now[1] * 1000 + math.floor(now[2] / 1000) >= tonumber(ARGV[4])
then
  return 0
end
redis.call('HSET', meta, 'generation', ARGV[3], 'garbage', ARGV[2])
return 1

-- Puts rebuilt tables in force.
--
-- KEYS: meta. ARGV: who rebuilds, the generation in force, the rebuilt one, the time in ms by which it must be done: then
-- the seals of the old tables run out, and these may go on.
-- Returns 1 if the rebuilt tables are in force (also where the answer to a first call was lost), else 0.

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

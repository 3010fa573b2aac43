-- Add questions to the demand. A question counts half after each half-life (forward decay; streams/query/demand.py).
--
-- KEYS: 1 the scores (sorted set), 2 their state (hash)
-- ARGV: 1 now in seconds since 1970, 2 the half-life in seconds, 3 the most members, 4 the seconds after which both keys
--       expire, and then for each question its member and how often it was asked

-- After so many half-lives the scores are related to a new landmark, long before they overflow.
local RENORMALISE = 64

local now, half_life = tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[2], 'landmark', 'half_life')
local landmark, half_life_before = tonumber(state[1]), tonumber(state[2])

if not (landmark and half_life_before) then
    redis.call('DEL', KEYS[1])
    landmark = nil
elseif half_life_before ~= half_life or math.abs(now - landmark) > RENORMALISE * half_life then
    -- A clock that was set back makes nothing count more.
    local weight = math.min(1, 2 ^ ((landmark - now) / half_life_before))
    redis.call('ZUNIONSTORE', KEYS[1], 1, KEYS[1], 'WEIGHTS', string.format('%.17g', weight))
    landmark = nil
end
if not landmark then
    landmark = now
    redis.call('HSET', KEYS[2], 'landmark', ARGV[1], 'half_life', ARGV[2])
end

local weight = 2 ^ ((now - landmark) / half_life)
for i = 5, #ARGV, 2 do
    redis.call('ZINCRBY', KEYS[1], string.format('%.17g', weight * tonumber(ARGV[i + 1])), ARGV[i])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[3]))
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])

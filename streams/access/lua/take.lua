-- Counts requests of one caller, as many as the limit allows. streams/access/sliding_window.py explains the rule.
--
-- KEYS[1]: a hash with the number of requests by part (a second), their sum in "sum", and the latest part in "part".
-- ARGV: limit, wanted, the number of parts that are counted, and the time in milliseconds, or an empty string for the
-- server's clock.
-- Returns: requests given, requests that remain, milliseconds until more can be taken (0: now).
local key = KEYS[1]
local limit, wanted, parts = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[4])
if now == nil then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local part = math.floor(now / 1000)

-- Forget the parts that are over. The sum makes that the only work that depends on the number of parts.
local state = redis.call('HMGET', key, 'part', 'sum')
local latest, sum = tonumber(state[1]) or part, tonumber(state[2]) or 0
if latest - part >= parts then
    -- The clock was set back, or this is another server, whose clock is behind. To wait for it could take hours.
    redis.call('DEL', key)
    latest, sum = part, 0
end
part = math.max(part, latest)
local over = {}
for one = latest - parts + 1, math.min(latest, part - parts) do
    over[#over + 1] = string.format('%.0f', one)
end
if #over > 0 then
    for _, number in ipairs(redis.call('HMGET', key, unpack(over))) do
        sum = sum - (tonumber(number) or 0)
    end
    redis.call('HDEL', key, unpack(over))
end

local given = math.max(0, math.min(wanted, limit - sum))
local name = string.format('%.0f', part)
if given > 0 then
    redis.call('HINCRBY', key, name, given)
    sum = sum + given
end
redis.call('HSET', key, 'part', name, 'sum', string.format('%.0f', sum))
redis.call('PEXPIRE', key, (parts + 1) * 1000)

local remaining, retry = math.max(0, limit - sum), 0
if remaining == 0 then
    local first = part
    for _, field in ipairs(redis.call('HKEYS', key)) do
        first = math.min(first, tonumber(field) or first)
    end
    retry = math.max(0, (first + parts) * 1000 - now)
end
return {given, remaining, retry}

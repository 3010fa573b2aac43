-- Marks windows that the watermark has passed as final.
--
-- KEYS: state, open, dirty, then one hash per window.
-- ARGV: the watermark in ms, then one member per window.
-- The stored watermark never goes back: a lower one is ignored.
-- Returns the number of windows marked. In a sealed shard nothing changes.

local state, open, dirty = KEYS[1], KEYS[2], KEYS[3]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if tonumber(redis.call('HGET', state, 'sealed_until') or '0') > now_ms then
  return 0
end
local stored = tonumber(redis.call('HGET', state, 'watermark') or '-1')
if tonumber(ARGV[1]) > stored then
  redis.call('HSET', state, 'watermark', ARGV[1])
end

local marked = 0
for i = 4, #KEYS do
  local window, member = KEYS[i], ARGV[i - 2]
  if redis.call('EXISTS', window) == 1 and redis.call('HSETNX', window, 'final', '1') == 1 then
    local revision = math.max(now_ms, tonumber(redis.call('HGET', window, 'rev') or '0') + 1)
    redis.call('HSET', window, 'rev', string.format('%.0f', revision))
    redis.call('SADD', dirty, member)
    marked = marked + 1
  end
  redis.call('ZREM', open, member)
end
return marked

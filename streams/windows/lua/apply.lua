-- Adds a batch to one shard's windows: a compare-and-set on its partitions' positions.
--
-- KEYS: state, open, dirty, one index for each size, then one hash per window.
-- ARGV: number of sizes, too-late counts by size (JSON), duplicates, number of partitions;
--       six per partition: its number, expected offset ('' for none), expected fence, new offset, new fence, new time;
--       six per window: member, size, which of the indexes is its size's (from 1), its end in ms, 1 for a window of all
--       posts, else 0, {fields = {name: increment}, first = ms, last = ms} (JSON).
-- A window that was removed (expire.lua) is not made again of a straggler, nor one of which Kafka had lost posts when the
-- tables were begun: it would replace the full one downstream.
-- Returns {1, '', ''} when applied; {0, partition, stored offset or ''} where the shard stands elsewhere in a partition or the
-- tables were not begun; {2, '', ''} while the shard is sealed for the switch to rebuilt tables. Then nothing was changed.
-- The fence is compared as well: what a rebuild counts from Postgres has no offsets, and moves the fence alone.
--
-- A window that a rebuild has left empty is there, but has no first and last event.
--
-- A revision is the server's time in ms, or one above the window's last if that is later: it rises even after the
-- server was rolled back to an older snapshot, so consumers and Postgres always take the newest state.

local state, open, dirty = KEYS[1], KEYS[2], KEYS[3]
local sizes, partitions = tonumber(ARGV[1]), tonumber(ARGV[4])
local PER_PARTITION, PER_WINDOW = 6, 6
local moves_from = 5
local windows_from = moves_from + partitions * PER_PARTITION

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local terms = redis.call('HMGET', state, 'complete_from', 'sealed_until')
local complete_from = tonumber(terms[1] or '')
if terms[2] and tonumber(terms[2]) > now_ms then
  return {2, '', ''}
end
for i = 0, partitions - 1 do
  local at = moves_from + i * PER_PARTITION
  local stored = redis.call('HMGET', state, 'p:' .. ARGV[at], 'f:' .. ARGV[at])
  if (stored[1] or '') ~= ARGV[at + 1] or (stored[2] or '-1') ~= ARGV[at + 2] or not complete_from then
    return {0, ARGV[at], stored[1] or ''}
  end
end

local function int(number) return string.format('%.0f', number) end

local expired = {}
local function expired_to(size)
  if not expired[size] then
    expired[size] = tonumber(redis.call('HGET', state, 'expired_to:' .. size) or '-1')
  end
  return expired[size]
end

local first_window = 3 + sizes + 1
for i = first_window, #KEYS do
  local window = KEYS[i]
  local at = windows_from + (i - first_window) * PER_WINDOW
  local member, size, index, end_ms, of_all = ARGV[at], ARGV[at + 1], KEYS[3 + ARGV[at + 2]], ARGV[at + 3], ARGV[at + 4]
  local delta = cjson.decode(ARGV[at + 5])
  local known = redis.call('HMGET', window, 'first', 'last', 'final', 'rev')
  local gone = not known[4] and tonumber(end_ms) <= expired_to(size)
  local unbuilt = not known[4] and tonumber(end_ms) - tonumber(size) * 1000 < complete_from
  if gone or unbuilt then
    if of_all == '1' then
      redis.call('HINCRBY', state, (gone and 'late:' or 'unbuilt:') .. size, int(delta.fields.n))
    end
  else
    for name, amount in pairs(delta.fields) do
      redis.call('HINCRBY', window, name, int(amount))
    end
    local first, last = delta.first, delta.last
    if known[1] then first = math.min(first, tonumber(known[1])) end
    if known[2] then last = math.max(last, tonumber(known[2])) end
    local revision = math.max(now_ms, (tonumber(known[4]) or 0) + 1)
    redis.call('HSET', window, 'first', int(first), 'last', int(last), 'rev', int(revision))
    if known[3] then
      redis.call('HINCRBY', window, 'late', int(delta.fields.n))
    end
    if not known[4] then
      redis.call('ZADD', open, end_ms, member)
      redis.call('ZADD', index, end_ms, member)
    end
    redis.call('SADD', dirty, member)
  end
end

for size, count in pairs(cjson.decode(ARGV[2])) do
  redis.call('HINCRBY', state, 'late:' .. size, int(count))
end
if ARGV[3] ~= '0' then
  redis.call('HINCRBY', state, 'duplicates', ARGV[3])
end
for i = 0, partitions - 1 do
  local at = moves_from + i * PER_PARTITION
  local p = ARGV[at]
  redis.call('HSET', state, 'p:' .. p, ARGV[at + 3], 'f:' .. p, ARGV[at + 4], 't:' .. p, ARGV[at + 5], 'a:' .. p, int(now_ms))
end
return {1, '', ''}

-- Adds a batch to one shard's windows: a compare-and-set on its partitions' positions.
--
-- KEYS: state, open, dirty, one index for each size, then one hash per window.
-- ARGV: JSON: {sizes = number of them, late = too-late counts by size, duplicates = their number,
--       moves = for each partition [its number, expected offset ('' for none), expected fence (all three as text), new
--       offset, new fence, new time],
--       deltas = [{name: increment}, first event, last event (in ms)],
--       windows = for each [member, size, which of the indexes is its size's (from 1), its end in ms, whether it is a
--       window of all posts, which of the deltas is added to it (from 1)]}.
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
local change = cjson.decode(ARGV[1])

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local terms = redis.call('HMGET', state, 'complete_from', 'sealed_until')
local complete_from = tonumber(terms[1] or '')
if terms[2] and tonumber(terms[2]) > now_ms then
  return {2, '', ''}
end
for _, move in ipairs(change.moves) do
  local partition, offset, fence = move[1], move[2], move[3]
  local stored = redis.call('HMGET', state, 'p:' .. partition, 'f:' .. partition)
  if (stored[1] or '') ~= offset or (stored[2] or '-1') ~= fence or not complete_from then
    return {0, partition, stored[1] or ''}
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

local first_window = 3 + change.sizes
for i, of_window in ipairs(change.windows) do
  local window = KEYS[first_window + i]
  local member, size, index, end_ms, of_all, delta = unpack(of_window)
  local fields, first, last = unpack(change.deltas[delta])
  local known = redis.call('HMGET', window, 'first', 'last', 'final', 'rev')
  local gone = not known[4] and end_ms <= expired_to(size)
  local unbuilt = not known[4] and end_ms - size * 1000 < complete_from
  if gone or unbuilt then
    if of_all then
      redis.call('HINCRBY', state, (gone and 'late:' or 'unbuilt:') .. size, int(fields.n))
    end
  else
    for name, amount in pairs(fields) do
      redis.call('HINCRBY', window, name, int(amount))
    end
    if known[1] then first = math.min(first, tonumber(known[1])) end
    if known[2] then last = math.max(last, tonumber(known[2])) end
    local revision = math.max(now_ms, (tonumber(known[4]) or 0) + 1)
    redis.call('HSET', window, 'first', int(first), 'last', int(last), 'rev', int(revision))
    if known[3] then
      redis.call('HINCRBY', window, 'late', int(fields.n))
    end
    if not known[4] then
      redis.call('ZADD', open, int(end_ms), member)
      redis.call('ZADD', KEYS[3 + index], int(end_ms), member)
    end
    redis.call('SADD', dirty, member)
  end
end

for size, count in pairs(change.late) do
  redis.call('HINCRBY', state, 'late:' .. size, int(count))
end
if change.duplicates ~= 0 then
  redis.call('HINCRBY', state, 'duplicates', int(change.duplicates))
end
for _, move in ipairs(change.moves) do
  local p = move[1]
  redis.call('HSET', state,
    'p:' .. p, int(move[4]), 'f:' .. p, int(move[5]), 't:' .. p, int(move[6]), 'a:' .. p, int(now_ms))
end
return {1, '', ''}

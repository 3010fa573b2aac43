-- Applies a batch to one shard: a compare-and-set on the shard's positions. It changes everything or nothing.
-- 1. Refuse if the shard is sealed.
-- 2. Refuse if a stored position or fence is not the expected one, or the shard is not initialised.
-- 3. Add the deltas, except to windows that were removed or that start before `complete_from`.
-- 4. Store the new positions and fences.
--
-- KEYS: state, open, dirty, top, one index for each size from the shortest to the longest, then one hash per window.
-- ARGV: the update as JSON:
--   sizes       the number of indexes
--   positions   for each partition [its number, expected offset ('' for none), expected fence (these three as text),
--               new offset, new fence, new latest event time in ms]
--   deltas      for each delta [{field: increment}, first event time in ms, last event time in ms]
--   windows     for each window [member, size, number of the index of its size (from 1), end in ms,
--               whether it is a window of all posts, number of the delta to add (from 1)]
--   late        posts too late for a window, by window size
--   duplicates  number of posts that their producer had sent before
-- Returns
--   {1, '', ''}                the update is applied
--   {0, partition, offset}     nothing changed: the stored offset ('' for none) or the stored fence differs from the
--                              expected one, or the shard is not initialised
--   {2, '', ''}                nothing changed: the shard is sealed for the switch to rebuilt tables
--
-- The fence is compared too: rows that a rebuild counts from Postgres have no offsets, so they raise only the fence.
--
-- The script creates no window that expire.lua removed, and no window that starts before `complete_from`: it would be
-- incomplete and would replace the complete window downstream. The shard's counters `late:SIZE` and `unbuilt:SIZE`
-- count their posts.
--
-- A window that a rebuild emptied has a revision, but no first and last event.
--
-- `top` holds the latest windows of the longest size, by their number of posts. The first later window starts it anew.
-- If `top_end` is absent from tables that have windows, fill_top.lua must fill it first.
--
-- A revision is the server's time in ms, or the window's last revision plus 1 if that is higher. So revisions rise even
-- after Redis was set back to an older snapshot, and consumers and Postgres always take the newest state.

local state, open, dirty, top = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local update = cjson.decode(ARGV[1])

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local limits = redis.call('HMGET', state, 'complete_from', 'sealed_until', 'top_end')
local complete_from = tonumber(limits[1] or '')
-- Step 1: refuse if the shard is sealed.
if limits[2] and tonumber(limits[2]) > now_ms then
  return {2, '', ''}
end
-- Step 2: refuse if a stored position or fence is not the expected one, or the shard is not initialised.
for _, change in ipairs(update.positions) do
  local partition, offset, fence = change[1], change[2], change[3]
  local stored = redis.call('HMGET', state, 'p:' .. partition, 'f:' .. partition)
  if (stored[1] or '') ~= offset or (stored[2] or '-1') ~= fence or not complete_from then
    return {0, partition, stored[1] or ''}
  end
end

local function int(number) return string.format('%.0f', number) end
local MAX_NAMES = 1000

-- Step 3: add the deltas, except to windows that were removed or that start before `complete_from`.
local expired = {}
local function expired_to(size)
  if not expired[size] then
    expired[size] = tonumber(redis.call('HGET', state, 'expired_to:' .. size) or '-1')
  end
  return expired[size]
end

local last_index = 4 + update.sizes
local top_end = tonumber(limits[3] or '')
if not top_end and redis.call('ZCARD', KEYS[last_index]) == 0 then
  top_end = -1
end
local function rank(member, end_ms, posts)
  if end_ms > top_end then
    redis.call('UNLINK', top)
    redis.call('HDEL', state, 'top_filling')
    redis.call('HSET', state, 'top_end', int(end_ms))
    top_end = end_ms
  end
  if end_ms == top_end then
    redis.call('ZADD', top, int(-posts), member)
  end
end

-- Returns the names of a delta's fields, in lists that are short enough for `unpack`. Windows share deltas.
local lists = {}
local function names_of(delta, fields)
  if not lists[delta] then
    local found, names = {}, nil
    for name in pairs(fields) do
      if not names or #names == MAX_NAMES then
        names = {}
        found[#found + 1] = names
      end
      names[#names + 1] = name
    end
    lists[delta] = found
  end
  return lists[delta]
end

-- Adds a delta's fields to a window, and returns the window's number of posts. To read and write many fields at once
-- takes less time than an HINCRBY for each. The sums are far below 2^53, up to which Lua's numbers are exact.
local function add(window, fields, lists_of_names)
  local posts
  for _, names in ipairs(lists_of_names) do
    local known = redis.call('HMGET', window, unpack(names))
    local values = {}
    for i, name in ipairs(names) do
      local sum = fields[name] + tonumber(known[i] or 0)
      values[2 * i - 1], values[2 * i] = name, int(sum)
      if name == 'n' then posts = sum end
    end
    redis.call('HSET', window, unpack(values))
  end
  return posts
end

-- Creates a window with a delta's fields, and returns its number of posts. Windows of several sizes share the values.
local fresh = {}
local function create(window, fields, lists_of_names, delta, first, last)
  if not fresh[delta] then
    local found = {}
    for i, names in ipairs(lists_of_names) do
      local values = i == 1 and {'first', int(first), 'last', int(last), 'rev', int(now_ms)} or {}
      for _, name in ipairs(names) do
        values[#values + 1] = name
        values[#values + 1] = int(fields[name])
      end
      found[i] = values
    end
    fresh[delta] = found
  end
  for _, values in ipairs(fresh[delta]) do
    redis.call('HSET', window, unpack(values))
  end
  return fields.n
end

for i, entry in ipairs(update.windows) do
  local window = KEYS[last_index + i]
  local member, size, index, end_ms, of_all, delta = unpack(entry)
  local fields, first, last = unpack(update.deltas[delta])
  local known = redis.call('HMGET', window, 'first', 'last', 'final', 'rev')
  local gone = not known[4] and end_ms <= expired_to(size)
  local incomplete = not known[4] and end_ms - size * 1000 < complete_from
  if gone or incomplete then
    if of_all then
      redis.call('HINCRBY', state, (gone and 'late:' or 'unbuilt:') .. size, int(fields.n))
    end
  else
    local names, posts = names_of(delta, fields), nil
    if known[4] then
      posts = add(window, fields, names)
      if known[1] then first = math.min(first, tonumber(known[1])) end
      if known[2] then last = math.max(last, tonumber(known[2])) end
      local revision = math.max(now_ms, tonumber(known[4]) + 1)
      redis.call('HSET', window, 'first', int(first), 'last', int(last), 'rev', int(revision))
    else
      posts = create(window, fields, names, delta, first, last)
      redis.call('ZADD', open, int(end_ms), member)
      redis.call('ZADD', KEYS[4 + index], int(end_ms), member)
    end
    if index == update.sizes and top_end then
      rank(member, end_ms, posts)
    end
    if known[3] then
      redis.call('HINCRBY', window, 'late', int(fields.n))
    end
    redis.call('SADD', dirty, member)
  end
end

for size, count in pairs(update.late) do
  redis.call('HINCRBY', state, 'late:' .. size, int(count))
end
if update.duplicates ~= 0 then
  redis.call('HINCRBY', state, 'duplicates', int(update.duplicates))
end
-- Step 4: store the new positions and fences.
for _, change in ipairs(update.positions) do
  local partition, offset, fence, event_ms = change[1], int(change[4]), int(change[5]), int(change[6])
  redis.call('HSET', state,
    'p:' .. partition, offset, 'f:' .. partition, fence, 't:' .. partition, event_ms, 'a:' .. partition, int(now_ms))
end
return {1, '', ''}

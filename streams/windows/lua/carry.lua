-- Carries windows of one size over from the old window tables to the rebuilt ones, on one shard.
--
-- KEYS: state, open, dirty and the index of the size, all of the rebuilt tables; dirty of the old tables; then two
--       hashes per window: the rebuilt one and the old one.
-- ARGV: the action, then two per window: its member, and its end in ms.
--   reconcile  The rebuilt tables have the window. If the old window has the same content, its revision is kept.
--              Otherwise the window gets a revision above both, and will be published.
--   copy       The window was not recounted: it is copied as it is.
--   empty      The window was recounted and has no posts. It is kept with a count of 0 under a higher revision, so that
--              readers of the old window learn that it was wrong. A window that was empty before is copied.
-- All actions keep the final mark of the old window. `reconcile` and `copy` also keep its number of late posts. An
-- unchanged window keeps its dirty mark; a changed one is dirty.
-- `top` of the rebuilt tables does not follow these changes, so it must be filled again (fill_top.lua).
-- A call may be repeated. Returns the number of windows that changed; -1 if the rebuilt tables no longer exist.

local state, open, dirty, index, old_dirty = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local BOOKKEEPING = {rev = true, final = true, late = true}
if redis.call('HEXISTS', state, 'complete_from') == 0 then
  return -1
end
redis.call('HDEL', state, 'top_end')
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)

local function read(key)
  local flat, row, fields = redis.call('HGETALL', key), {}, 0
  for i = 1, #flat, 2 do
    row[flat[i]] = flat[i + 1]
    if not BOOKKEEPING[flat[i]] then
      fields = fields + 1
    end
  end
  return row, fields
end

local function same_content(one, one_fields, other, other_fields)
  if one_fields ~= other_fields then
    return false
  end
  for name, value in pairs(one) do
    if not BOOKKEEPING[name] and other[name] ~= value then
      return false
    end
  end
  return true
end

local function revise(window, ...)
  local revision = now_ms
  for _, known in ipairs({...}) do
    revision = math.max(revision, (tonumber(known) or 0) + 1)
  end
  redis.call('HSET', window, 'rev', string.format('%.0f', revision))
end

local function place(window, member, end_ms, is_dirty)
  redis.call('ZADD', index, end_ms, member)
  if redis.call('HEXISTS', window, 'final') == 1 then
    redis.call('ZREM', open, member)
  else
    redis.call('ZADD', open, end_ms, member)
  end
  redis.call(is_dirty and 'SADD' or 'SREM', dirty, member)
end

local changed = 0
for i = 6, #KEYS, 2 do
  local window, old_window = KEYS[i], KEYS[i + 1]
  local member, end_ms = ARGV[i - 4], ARGV[i - 3]
  local old, old_fields = read(old_window)
  local was_dirty = redis.call('SISMEMBER', old_dirty, member) == 1
  if ARGV[1] == 'reconcile' then
    local new, new_fields = read(window)
    if new.rev then
      for _, name in ipairs({'final', 'late'}) do
        if old[name] then
          redis.call('HSET', window, name, old[name])
        end
      end
      if old.rev and same_content(new, new_fields, old, old_fields) then
        redis.call('HSET', window, 'rev', old.rev)
        place(window, member, end_ms, was_dirty)
      else
        revise(window, new.rev, old.rev)
        place(window, member, end_ms, true)
        changed = changed + 1
      end
    end
  elseif old.rev then
    redis.call('COPY', old_window, window, 'REPLACE')
    if ARGV[1] == 'empty' and old.n ~= '0' then
      redis.call('DEL', window)
      redis.call('HSET', window, 'n', '0')
      if old.final then
        redis.call('HSET', window, 'final', old.final)
      end
      revise(window, old.rev)
      place(window, member, end_ms, true)
      changed = changed + 1
    else
      place(window, member, end_ms, was_dirty)
    end
  end
end
return changed

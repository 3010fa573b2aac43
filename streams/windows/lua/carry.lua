-- Carries windows of one size over from the old tables to the rebuilt ones, on one shard.
--
-- KEYS: state, open, dirty and the size's index of the rebuilt tables; dirty of the old ones; then two hashes per window:
--       the rebuilt one, and the old one.
-- ARGV: what to do, then two per window: member, end in ms.
--   reconcile  both tables may have the window. Where they agree it stays what it was published as; else it gets a revision
--           above the old one, and will be published.
--   copy    it was not counted anew: it stays as it is.
--   empty   there are no posts for it: it is left with none, under a higher revision, so that whoever knows the false one
--           learns it. One that was left empty before is copied.
-- Each may be repeated. Returns the number of windows that changed; -1 where the rebuilt tables are gone.

local state, open, dirty, index, old_dirty = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local NOT_CONTENT = {rev = true, final = true, late = true}
if redis.call('HEXISTS', state, 'complete_from') == 0 then
  return -1
end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)

local function read(key)
  local flat, row, fields = redis.call('HGETALL', key), {}, 0
  for i = 1, #flat, 2 do
    row[flat[i]] = flat[i + 1]
    if not NOT_CONTENT[flat[i]] then
      fields = fields + 1
    end
  end
  return row, fields
end

local function same(one, one_fields, other, other_fields)
  if one_fields ~= other_fields then
    return false
  end
  for name, value in pairs(one) do
    if not NOT_CONTENT[name] and other[name] ~= value then
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
      if old.rev and same(new, new_fields, old, old_fields) then
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

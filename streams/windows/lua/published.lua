-- Clears the dirty mark of windows that have not changed since they were read for publication.
--
-- KEYS: dirty, then one hash per window.
-- ARGV: JSON: for each window [member, the revision that was published ('' if the window was gone)].

local dirty = KEYS[1]
local cleared = 0
for i, shown in ipairs(cjson.decode(ARGV[1])) do
  if (redis.call('HGET', KEYS[1 + i], 'rev') or '') == shown[2] then
    cleared = cleared + redis.call('SREM', dirty, shown[1])
  end
end
return cleared

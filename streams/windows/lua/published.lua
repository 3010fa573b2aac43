-- Clears the dirty mark of windows that have not changed since they were read for publication.
--
-- KEYS: dirty, then one hash per window.
-- ARGV: two per window: member, the revision that was published ('' if the window was gone).

local dirty = KEYS[1]
local cleared = 0
for i = 2, #KEYS do
  local at = (i - 2) * 2 + 1
  if (redis.call('HGET', KEYS[i], 'rev') or '') == ARGV[at + 1] then
    cleared = cleared + redis.call('SREM', dirty, ARGV[at])
  end
end
return cleared

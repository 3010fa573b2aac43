-- Clears the dirty marks of windows that have not changed since they were read for publication.
--
-- KEYS: dirty, then one hash per window.
-- ARGV: JSON: for each window [its member, the revision that was published ('' if the window no longer exists)].
-- Returns the number of marks cleared.

local dirty = KEYS[1]
local cleared = 0
for i, window in ipairs(cjson.decode(ARGV[1])) do
  if (redis.call('HGET', KEYS[1 + i], 'rev') or '') == window[2] then
    cleared = cleared + redis.call('SREM', dirty, window[1])
  end
end
return cleared

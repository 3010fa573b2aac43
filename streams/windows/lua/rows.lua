-- Returns the hash of each window, as a list of fields and values in turn; an empty list if there is no such window.
--
-- KEYS: one hash per window.
-- This is one script and not many HGETALL commands, which would take the client three times as long.

local rows = {}
for i = 1, #KEYS do
  rows[i] = redis.call('HGETALL', KEYS[i])
end
return rows

-- Returns the number of posts of each window; false if there is no such window.
--
-- KEYS: one hash per window.

local counts = {}
for i = 1, #KEYS do
  counts[i] = redis.call('HGET', KEYS[i], 'n')
end
return counts

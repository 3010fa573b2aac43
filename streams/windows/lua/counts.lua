-- The number of posts of windows, false where there is none.
--
-- KEYS: one hash per window.

local counts = {}
for i = 1, #KEYS do
  counts[i] = redis.call('HGET', KEYS[i], 'n')
end
return counts

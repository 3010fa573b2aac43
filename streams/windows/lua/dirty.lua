-- Returns dirty windows of some sizes.
--
-- KEYS: dirty.
-- ARGV: the most windows to return, the largest set that is searched by size, then the sizes.
-- If the set is larger, the script returns random windows of any size, because a search would take too long.

local limit = tonumber(ARGV[1])
if redis.call('SCARD', KEYS[1]) > tonumber(ARGV[2]) then
  return redis.call('SRANDMEMBER', KEYS[1], limit)
end
local wanted = {}
for i = 3, #ARGV do
  wanted[ARGV[i]] = true
end
local found = {}
for _, member in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if wanted[string.match(member, '^%d+')] then
    found[#found + 1] = member
    if #found == limit then
      break
    end
  end
end
return found

-- Some of the windows that await publication, of some sizes.
--
-- KEYS: dirty.
-- ARGV: how many at most; how many wait at most for the sizes to be heeded; the sizes.
-- A set of very many is not gone through: then any windows are taken, whatever their size, until it is small again.

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

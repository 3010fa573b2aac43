-- Returns the windows of a page of an index, the latest first, as JSON: for each its name in the index, and its hash as an
-- object, which is empty if there is no such window.
--
-- KEYS: the index, and what the keys of the hashes begin with. The rest of such a key is the name in the index.
-- ARGV: the ranks of the first and the last window of the page.
-- A client that reads the names first, sends a key for each and gets each field as an answer of its own takes several
-- times as long. The keys of the hashes have the hash tag of the index, so they are on the same node of a cluster
-- although KEYS has only their beginning.

redis.setresp(3) -- so that a hash is a map
local windows = {}
for i, name in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'REV')) do
  windows[i] = {name, redis.call('HGETALL', KEYS[2] .. name).map}
end
return #windows == 0 and '[]' or cjson.encode(windows)

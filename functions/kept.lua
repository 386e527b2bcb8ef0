-- Keeps a copy, or that one is forgotten (an empty body), unless what is there is of a later version.
-- KEYS[1] the object; ARGV: its version, the body, milliseconds to keep it. A value is VERSION:BODY.
local there = redis.call('GET', KEYS[1])
local version = there and tonumber(string.match(there, '^(%d+):'))
local ours = tonumber(ARGV[1])
-- A copy of the very version that is said to be in force now is no old one.
if version and (version > ours or (version == ours and ARGV[2] == '')) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return 1

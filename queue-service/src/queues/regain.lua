-- regain.lua: gives a store that has lost a queue the settings that a replica remembers; runs
-- without the prelude, which needs settings to be there.
--
-- KEYS[1] settings, hash
-- ARGV field, value, ...: the whole hash
-- Returns 1 when they were missing. A script because an operator may be making the queue anew.

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1

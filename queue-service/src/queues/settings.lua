-- settings.lua: creates a queue or changes its settings; runs without the prelude, which needs
-- settings to be there.
--
-- KEYS[1] settings, hash
-- ARGV    field, value, ...: the whole of the settings
-- Returns 1 when the queue is new. What an operator stopped stays stopped.
-- A script because replicas must never see half of a change.

local fresh = redis.call('EXISTS', KEYS[1]) == 0
redis.call('HSET', KEYS[1], unpack(ARGV))
return fresh and 1 or 0

-- settings.lua: creates a queue or changes its settings; runs without the prelude, which needs
-- settings to be there.
--
-- KEYS[1] settings, hash    KEYS[2] waiting, sorted set
-- ARGV[1] as in the prelude
-- ARGV[2] seed, ARGV[3] commitment: of the next draw, should one be needed
-- ARGV[4..] field, value, ...: the whole of the settings; `order` and `opens_at` first
-- Returns 1 when the queue is new; an error FIXED when people are in line whose order the change
--   would break. What an operator stopped stays stopped.
-- A script because replicas must never see half of a change, and because a seed that was promised
--   or revealed must not be the seed of another draw.

local order, opens_at = ARGV[5], tonumber(ARGV[7])
local time = redis.call('TIME')
local now = tonumber(string.match(ARGV[1], '^@(%d+)$'))
if not now then now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1]) end

local old = redis.call('HMGET', KEYS[1], 'order', 'opens_at', 'seed')
local fresh = not old[1]
local old_opens_at = tonumber(old[2])
local reopens = not fresh and (not old_opens_at or old_opens_at <= now) and opens_at and opens_at > now

if not fresh and redis.call('ZCARD', KEYS[2]) > 0 and (order ~= old[1] or (order == 'lottery' and reopens)) then
  return redis.error_reply('FIXED people are in line in the present order')
end
if order == 'lottery' and (old[1] ~= 'lottery' or reopens) then
  redis.call('HSET', KEYS[1], 'seed', ARGV[2], 'commitment', ARGV[3])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
return fresh and 1 or 0

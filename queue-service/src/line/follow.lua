-- follow.lua: what has happened to the line since a replica last asked.
--
-- ARGV[4] id of the replica
-- ARGV[5] id of the last departure it has heard of ('' = none: it begins)
-- ARGV[6] version of the settings it has
-- Returns { header, others, newcomer, lanes, departures, settings }: how many other replicas follow, 1 when
--   this one was not known to the others, per lane { line, last place, first string that counts, last
--   drawn place } in the lane's own numbers, departures as { id, gone, ended } (answer.lua; a replica that
--   begins gets those of the last two seconds), settings as fields and values when the version differs.
-- A script because events, numbers and settings must be of one moment.

local LOOK_BACK_MS = 2000
local PRESENT_MS = 2500           -- an idle replica follows once a second
local FORGOTTEN_MS = 60000
local MOST_EVENTS = 1000

local others, newcomer = 0, 1
local followers = redis.call('HGETALL', FOLLOWERS)
for i = 1, #followers, 2 do
  local silent_ms = now - tonumber(followers[i + 1])
  if silent_ms > FORGOTTEN_MS then redis.call('HDEL', FOLLOWERS, followers[i])
  elseif silent_ms <= PRESENT_MS and followers[i] == ARGV[4] then newcomer = 0
  elseif silent_ms <= PRESENT_MS then others = others + 1 end
end
redis.call('HSET', FOLLOWERS, ARGV[4], int(now))

local numbers = {}
for number = 0, #lanes do
  local lane = lanes[number]
  numbers[number + 1] = { redis.call('ZCARD', lane.waiting), counted('place' .. lane.suffix),
    counted('floor' .. lane.suffix), counted('drawn' .. lane.suffix) }
end

tell_departures()
local after = ARGV[5] == '' and int(now - LOOK_BACK_MS) or '(' .. ARGV[5]
local departures = {}
for _, entry in ipairs(redis.call('XRANGE', DEPARTURES, after, '+', 'COUNT', MOST_EVENTS)) do
  departures[#departures + 1] = { entry[1], entry[2][2], entry[2][4] }
end

local settings = {}
if (redis.call('HGET', SETTINGS, 'version') or '') ~= ARGV[6] then settings = redis.call('HGETALL', SETTINGS) end
return { header(), others, newcomer, numbers, departures, settings }

-- settings.lua: creates a queue or changes its settings; runs without the prelude, which needs
-- settings to be there.
--
-- KEYS[1] settings, hash    KEYS[2] waiting, sorted set (and, built from it, `waiting:<lane>`)
-- KEYS[3] counters, hash
-- ARGV[1] as in the prelude
-- ARGV[2] seed, ARGV[3] commitment: of the next draw, should one be needed
-- ARGV[4..] field, value, ...: the whole of the settings; `order`, `opens_at`, `lanes`, `wait_ms` first
-- Returns 1 when the queue is new; an error FIXED when people are in line whose order the change
--   would break. What an operator stopped stays stopped.
-- A script because replicas must never see half of a change, and because a seed that was promised
--   or revealed must not be the seed of another draw.

local order, opens_at, lanes, wait_ms = ARGV[5], tonumber(ARGV[7]), ARGV[9], tonumber(ARGV[11])
local time = redis.call('TIME')
local now = tonumber(string.match(ARGV[1], '^@(%d+)$'))
if not now then now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1]) end

local old = redis.call('HMGET', KEYS[1], 'order', 'opens_at', 'seed', 'lanes', 'lanes_ever', 'wait_ms')
local fresh = not old[1]
local old_opens_at = tonumber(old[2])
local reopens = not fresh and (not old_opens_at or old_opens_at <= now) and opens_at and opens_at > now

local function names(text)
  local found = {}
  for name in string.gmatch(text or '', '(%S+) %d+') do found[#found + 1] = name end
  return found
end

-- A lane is known by its number: while anybody is in line, the ones there are keep theirs.
local function lanes_move()
  local before, after = names(old[4]), names(lanes)
  for number = 1, #before do if before[number] ~= after[number] then return true end end
  return false
end

local in_line = redis.call('ZCARD', KEYS[2])
for number = 1, #names(old[4]) do in_line = in_line + redis.call('ZCARD', KEYS[2] .. ':' .. number) end
if in_line > 0 and (order ~= old[1] or (order == 'lottery' and reopens) or lanes_move()) then
  return redis.error_reply('FIXED people are in line in the present order')
end
if order == 'lottery' and (old[1] ~= 'lottery' or reopens) then
  redis.call('HSET', KEYS[1], 'seed', ARGV[2], 'commitment', ARGV[3])
  for number = 0, math.max(tonumber(old[5]) or 0, #names(lanes)) do
    local suffix = number == 0 and '' or ':' .. number
    redis.call('HSET', KEYS[3], 'drawn_from' .. suffix, redis.call('HGET', KEYS[3], 'place' .. suffix) or 0)
  end
end

-- Whoever was told to poll later than the new silence allows gets that time: at an opening that was moved to
-- now, and when silence is counted sooner than before.
local LONGEST_POLL_MS = 40000
local old_wait_ms = tonumber(old[6])
local patience
if not fresh and old_opens_at and old_opens_at > now and not (opens_at and opens_at > now) then
  patience = LONGEST_POLL_MS
elseif not fresh and wait_ms > 0 and (old_wait_ms == 0 or wait_ms < old_wait_ms) then
  patience = old_wait_ms == 0 and LONGEST_POLL_MS or math.min(LONGEST_POLL_MS, math.floor(old_wait_ms / 3))
end
if patience then redis.call('HSET', KEYS[3], 'silence_from', string.format('%.0f', now + patience)) end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('HSET', KEYS[1], 'lanes_ever', math.max(tonumber(old[5]) or 0, #names(lanes)))
redis.call('HINCRBY', KEYS[1], 'version', 1)
return fresh and 1 or 0

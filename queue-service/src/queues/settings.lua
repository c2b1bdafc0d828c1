-- settings.lua: creates a queue or changes its settings; runs without the prelude, which needs
-- settings to be there.
--
-- KEYS[1] settings, hash    KEYS[2] waiting, sorted set (and, built from it, `waiting:<lane>`)
-- ARGV[1] as in the prelude
-- ARGV[2] seed, ARGV[3] commitment: of the next draw, should one be needed
-- ARGV[4..] field, value, ...: the whole of the settings; `order`, `opens_at`, `lanes` first
-- Returns 1 when the queue is new; an error FIXED when people are in line whose order the change
--   would break. What an operator stopped stays stopped.
-- A script because replicas must never see half of a change, and because a seed that was promised
--   or revealed must not be the seed of another draw.

local order, opens_at, lanes = ARGV[5], tonumber(ARGV[7]), ARGV[9]
local time = redis.call('TIME')
local now = tonumber(string.match(ARGV[1], '^@(%d+)$'))
if not now then now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1]) end

local old = redis.call('HMGET', KEYS[1], 'order', 'opens_at', 'seed', 'lanes', 'lanes_ever')
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
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('HSET', KEYS[1], 'lanes_ever', math.max(tonumber(old[5]) or 0, #names(lanes)))
redis.call('HINCRBY', KEYS[1], 'version', 1)
return fresh and 1 or 0

-- pressure.lua: takes note of how hard the service behind the line has it, and slows or lets go.
--
-- ARGV[4] reporter
-- ARGV[5] '' or why it is too much: the word of the first measure beyond its bound
-- Returns { before, after }: the share of the rate that is let in, in thousandths.
-- A script because several reporters and replicas judge together: the worst of the last five seconds
--   counts, and a step is taken at most once a second, however many report.
--
-- Additive increase, multiplicative decrease, as in TCP (Chiu and Jain, 1989).

local HEARD_MS = 5000
local STEP_MS = 1000
local LEAST, MORE = 50, 50

local pressure = STEM .. 'pressure'
redis.call('HSET', pressure, ARGV[4], int(now) .. ' ' .. ARGV[5])
redis.call('PEXPIRE', pressure, 60000)
local reason = ''
local reports = redis.call('HGETALL', pressure)
for i = 1, #reports, 2 do
  local moment, word = string.match(reports[i + 1], '^(%d+) (%S*)$')
  if now - tonumber(moment) > HEARD_MS then redis.call('HDEL', pressure, reports[i])
  elseif word ~= '' then reason = word end
end
if now < counted('outflow_at') + STEP_MS then return { outflow, outflow } end
local next_outflow = math.min(1000, outflow + MORE)
if reason ~= '' then next_outflow = math.max(LEAST, math.floor(outflow * 7 / 10)) end
redis.call('HSET', COUNTERS, 'outflow', int(next_outflow), 'outflow_at', int(now),
  'outflow_reason', next_outflow < 1000 and (reason ~= '' and reason or 'recovering') or '')
return { outflow, next_outflow }

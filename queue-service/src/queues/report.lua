-- report.lua: the numbers of a queue, exact at this moment.
--
-- Returns { numbers, words, lanes }:
--   numbers: opens_at|-1, waiting, scheduled, active, admitted, expired, left, completed, replaced,
--     closed, admissions per 1000 s over the last minute, and over the last five, free slots by the
--     cap (negative when it was lowered), 1 when there is a cap, remaining|-1, sold_out|-1, hold_until,
--     outflow in thousandths, 1 when cap and rate have room for somebody now
--   words: state, settings as JSON, commitment and seed of the draw ('' = none, or not to be told yet),
--     why the outflow is slowed ('' = it is not)
--   lanes: per lane name, waiting, the number before the draw, the last drawn one, admitted
-- A script because the numbers must be of one moment.

local line, active = in_line(), active_now()
local numbers = { opens_at or -1, opened and line or 0, opened and 0 or line, active,
  counted('admitted'), counted('expired'), counted('left'), counted('completed'), counted('replaced'),
  counted('closed'), rate(60000), rate(LONGEST_PACE_MS),
  max_active and (max_active - active) or 0, max_active and 1 or 0,
  stock('remaining'), stock('sold_out'), now < hold_until and hold_until or 0,
  least_users and outflow or 1000, math.min(window_room(), cap_room()) >= 1 and 1 or 0 }
local words = { state, redis.call('HGET', SETTINGS, 'json'),
  lottery and redis.call('HGET', SETTINGS, 'commitment') or '', lottery and opened and seed or '',
  least_users and redis.call('HGET', COUNTERS, 'outflow_reason') or '' }
local told = {}
for number = 0, named do
  local lane = lanes[number]
  told[number + 1] = { lane.name or '', redis.call('ZCARD', lane.waiting),
    counted('drawn_from' .. lane.suffix), counted('drawn' .. lane.suffix), counted('admitted_of' .. lane.suffix) }
end
return { numbers, words, told }

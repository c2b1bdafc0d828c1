-- report.lua: the numbers of a queue, exact at this moment.
--
-- Returns { state, opens_at|-1, waiting, scheduled, active, admitted, expired, left, completed,
--   replaced, closed, admissions per 1000 s over the last minute, and over the last five, free
--   slots by the cap (negative when it was lowered), 1 when there is a cap, settings as JSON,
--   commitment and seed of the draw ('' = none, or not to be told yet) }.
-- A script because the numbers must be of one moment.

local line = redis.call('ZCARD', WAITING)
local active = active_now()
return { state, opens_at or -1, opened and line or 0, opened and 0 or line, active,
  counted('admitted'), counted('expired'), counted('left'), counted('completed'), counted('replaced'),
  counted('closed'), rate(60000), rate(LONGEST_PACE_MS),
  max_active and (max_active - active) or 0, max_active and 1 or 0,
  redis.call('HGET', SETTINGS, 'json'), lottery and redis.call('HGET', SETTINGS, 'commitment') or '',
  lottery and opened and seed or '' }

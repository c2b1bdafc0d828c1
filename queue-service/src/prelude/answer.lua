-- prelude/answer.lua: what scripts tell.

-- To the replicas' views -------------------------------------------------------------------------
-- gone = places that left their line (`<p` = all of its lane up to p, `p-q` = all from p to q, which nobody
-- has, `+p` = p is back), ended = slots given up (slots.lua).

local EVENTS_KEPT_MS = 60000
local slots_told = 0

-- What the call has done so far. The tail asks for it, and before that whoever reads departures: what this call itself
-- has done to the line must not be missing beside numbers that show it.
local function tell_departures()
  if #left_line > 0 or #slots_ended > slots_told then
    redis.call('XADD', DEPARTURES, 'MINID', '~', int(now - EVENTS_KEPT_MS), int(now) .. '-*',
      'gone', table.concat(left_line, ' '), 'ended', table.concat(slots_ended, ' ', slots_told + 1))
    left_line, slots_told = {}, #slots_ended
  end
end

-- To callers -------------------------------------------------------------------------------------

-- What is left to buy; -1 = not known (any more).
local STOCK_HOLDS_MS = 90000
local function stock(name)
  if now > counted('stock_heard') + STOCK_HOLDS_MS then return -1 end
  local number = counted(name)
  return counters[name] and number or -1
end

-- numbers: now, opens_at|-1, waiting, in line, admissions per 1000 s over the last minute and the last five,
--   wait_ms, users|-1, every_ms|-1, claim_ms, hold_until, remaining|-1, 1 when polling renews, silence_from|0
-- words: state, redirect_url, lanes as `name share name share`
local function header()
  local line = in_line()
  return { { now, opens_at or -1, opened and line or 0, line, rate(60000), rate(LONGEST_PACE_MS), wait_ms,
    users or -1, every_ms or -1, claim_ms, hold_until, stock('remaining'),
    max_life_s > entry_ttl_s and 1 or 0, silence_from },
    { state, redirect_url or '', raw[16] or '' } }
end

-- kind, place, position (in the place's lane), jti, admitted_at, iat, exp
local function waiting_answer(lane, user, place)
  if not opened then return { 'scheduled', place, 0, '', 0, 0, 0 } end
  return { 'waiting', place, redis.call('ZRANK', lane.waiting, user) + 1, '', 0, 0, 0 }
end

local function active_answer(a) return { 'active', a.place, 0, a.jti, a.admitted_at, a.iat, a.exp } end

local function gone_answer(place, reason) return { reason, place, 0, '', 0, 0, 0 } end

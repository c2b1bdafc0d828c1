-- prelude/answer.lua: what scripts tell.

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

-- prelude/slots.lua: admissions. record = place|jti|admitted_at ms|iat s|exp s; iat 0 = not claimed yet.

local SLOT_LEEWAY_S = 2           -- a slot is counted that long beyond `exp`

local function admission_of(user)
  local text = redis.call('HGET', ADMISSIONS, user)
  if not text then return nil end
  local place, jti, admitted_at, iat, exp = string.match(text, '^(%d+)|([^|]+)|(%d+)|(%d+)|(%d+)$')
  return { user = user, place = tonumber(place), jti = jti, admitted_at = tonumber(admitted_at),
    iat = tonumber(iat), exp = tonumber(exp), lease_end = tonumber(redis.call('ZSCORE', ACTIVE, user)) or 0 }
end

local function keep_admission(a, lease_end)
  redis.call('HSET', ADMISSIONS, a.user,
    table.concat({ int(a.place), a.jti, int(a.admitted_at), int(a.iat), int(a.exp) }, '|'))
  redis.call('ZADD', ACTIVE, int(lease_end), a.user)
  changed = true
end

-- The first poll of somebody let in fixes the times of the entry token; later ones may renew it.
local function claim(a)
  local second = math.floor(now / 1000)
  if a.iat == 0 then
    a.iat = second
    a.exp = second + entry_ttl_s
  elseif max_life_s > entry_ttl_s then
    local renewed = math.min(second + entry_ttl_s, a.iat + max_life_s)
    if renewed <= a.exp then return end
    a.exp = renewed
  else
    return
  end
  keep_admission(a, (a.exp + SLOT_LEEWAY_S) * 1000)
end

-- `place@moment`: it ran out, and was free from that moment on, however late it is collected; `place!`: ended now.
local function slot_ended(a)
  slots_ended[#slots_ended + 1] = int(a.place) .. (a.lease_end < now and '@' .. int(a.lease_end + 1) or '!')
end

local function end_admission(a, reason)
  redis.call('ZREM', ACTIVE, a.user)
  redis.call('HDEL', ADMISSIONS, a.user)
  redis.call('HDEL', JTIS, a.jti)
  slot_ended(a)
  depart(a.place, reason)
end

-- An older admission whose token has ended may still be counted; its user has one slot, not two.
local function admit(user, place)
  local ended = admission_of(user)
  if ended then end_admission(ended, 'token_expired') end
  local a = { user = user, place = place, jti = NONCE .. '-' .. int(place), admitted_at = now, iat = 0, exp = 0 }
  redis.call('HSET', JTIS, a.jti, user)
  keep_admission(a, now + claim_ms)
  let_in[#let_in + 1] = int(place)
  return a
end

-- Whoever holds the token must hear that it opens nothing any more.
local function revoke(a)
  if a.iat > 0 and now < a.exp * 1000 then
    redis.call('XADD', REVOKED, '*', 'jti', a.jti, 'exp', int(a.exp))
  end
end

-- An admission opens something while its token does (or may still be claimed).
local function in_force(a)
  if a.iat > 0 then return now < a.exp * 1000 end
  return now <= a.lease_end
end

-- The live stay of `user`: 'waiting', place, lane | 'active', admission | nil. What has ended is put
-- away on the way; an expired admission keeps its slot until its lease ends, but is no stay.
local function stay_of(user)
  for number = 0, #lanes do
    local lane = lanes[number]
    local score = tonumber(redis.call('ZSCORE', lane.waiting, user))
    if score then
      local place = place_of(lane, score)
      if state == 'closed' then out_of_line(lane, user, place, 'queue_closed')
      elseif silent(place) then out_of_line(lane, user, place, 'token_expired')
      else return 'waiting', place, lane end
    end
  end
  local a = admission_of(user)
  if a and in_force(a) then return 'active', a end
  -- After a loss the claim may be what was forgotten: who was let in and has not claimed is in line again.
  if a and a.iat == 0 and now <= hold_until and lane_of(a.place) and state ~= 'closed' then
    redis.call('ZREM', ACTIVE, user)
    redis.call('HDEL', ADMISSIONS, user)
    redis.call('HDEL', JTIS, a.jti)
    slot_ended(a)
    restore(user, a.place)
    return 'waiting', a.place, lane_of(a.place)
  end
  return nil, a
end

-- prelude.lua: the vocabulary of every script; it is put in front of each of them.
--
-- KEYS, the same nine for every script, all in one hash slot (see keys.rs for types and members):
--   1 settings  2 counters  3 waiting  4 active  5 admissions  6 jtis  7 window  8 pace  9 revoked
--   and, built from their common stem, `seen:<n>` and `departed:<n>`.
-- ARGV[1] offset added to the time of Redis, ms (zero in production; tests move it); or `@` and a
--         moment, ms since 1970, that is taken instead (the reference model alone does that)
-- ARGV[2] nonce, hex: makes the jti of an admission unknown to anybody before it is signed
-- Returns an error NOQUEUE when the queue has no settings; else defines the local words below.
-- A script because each step must see and change the line, the slots and the limits at once.

assert(#KEYS == 9, 'nine keys')
local SETTINGS, COUNTERS, WAITING, ACTIVE, ADMISSIONS, JTIS, WINDOW, PACE, REVOKED = unpack(KEYS)
local STEM = string.sub(SETTINGS, 1, -(#'settings' + 1))

local CHUNK = 65536               -- places in one string of `seen`
local SEEN_EPOCH_MS = 1735689600000 -- 2025-01-01; `seen` counts tenths of seconds from here
local SILENCE_GRACE_MS = 300      -- a poll that is still on its way to Redis counts
local DEPARTED_MS = 600000        -- one hash of departures; two older ones are kept
local SLOT_LEEWAY_S = 2           -- a slot is counted that long beyond `exp`
local LONGEST_PACE_MS = 300000
local PACE_KEPT_MS = 3600000

local NONCE = ARGV[2]

local raw = redis.call('HMGET', SETTINGS, 'users', 'every_ms', 'max_active', 'entry_ttl_s', 'max_life_s',
  'claim_ms', 'wait_ms', 'rejoin', 'instant', 'opens_at', 'closes_at', 'stopped', 'redirect_url', 'order', 'seed')
if not raw[4] then return redis.error_reply('NOQUEUE there is no such queue') end

local function int(number) return string.format('%.0f', number) end

-- Time is that of Redis and never goes back: a step of the clock must not refill the rate.
local time = redis.call('TIME')
local now = tonumber(string.match(ARGV[1], '^@(%d+)$'))
if not now then now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1]) end
local latest = tonumber(redis.call('HGET', COUNTERS, 'clock')) or 0
if now < latest then now = latest elseif now > latest then redis.call('HSET', COUNTERS, 'clock', int(now)) end

local users, every_ms, max_active = tonumber(raw[1]), tonumber(raw[2]), tonumber(raw[3])
local entry_ttl_s, max_life_s = tonumber(raw[4]), tonumber(raw[5])
local claim_ms, wait_ms = tonumber(raw[6]), tonumber(raw[7])
local rejoin, instant = raw[8], raw[9] == '1'
local opens_at, closes_at, stopped, redirect_url = tonumber(raw[10]), tonumber(raw[11]), raw[12], raw[13]

local lottery, seed = raw[14] == 'lottery', raw[15]

local opened = not opens_at or now >= opens_at
local state = 'open'
if stopped == 'closed' or (closes_at and now >= closes_at) then state = 'closed'
elseif stopped == 'draining' or stopped == 'paused' then state = stopped
elseif not opened then state = 'scheduled' end

-- Counters ---------------------------------------------------------------------------------------

local function count(name, by) return redis.call('HINCRBY', COUNTERS, name, by or 1) end
local function counted(name) return tonumber(redis.call('HGET', COUNTERS, name)) or 0 end

-- Series: the running total of admissions by moment ---------------------------------------------
-- member = the total after that moment, 15 digits; score = the moment, ms. The total before a
-- window is the last entry at or before its beginning; one such entry is always kept. Admissions
-- of one granule are kept as the last of them, so a window frees a granule late, never early.

local function total_at(series, moment)
  local hit = redis.call('ZREVRANGEBYSCORE', series, int(moment), '-inf', 'LIMIT', 0, 1)
  return tonumber(hit[1])
end

local function record(series, total, granule, keep)
  redis.call('ZREMRANGEBYSCORE', series, int(now - now % granule), '+inf')
  redis.call('ZADD', series, int(now), string.format('%015.0f', total))
  local base = redis.call('ZREVRANGEBYSCORE', series, int(now - keep), '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if base[2] and redis.call('ZREMRANGEBYSCORE', series, '-inf', '(' .. base[2]) > 0 then
    redis.call('HSET', COUNTERS, series == WINDOW and 'window_floor' or 'pace_floor', base[1])
  end
end

-- The two limits ---------------------------------------------------------------------------------

-- When n was raised, the window may reach behind what is kept to the millisecond: then all that was
-- let in counts, to the second. (floor = the total at the oldest entry that is kept; none = all are.)
local function window_used()
  local before = now - every_ms - 1
  local base = total_at(WINDOW, before)
  if base or counted('window_floor') == 0 then return counted('windowed') - (base or 0) end
  return counted('admitted') - (total_at(PACE, before) or counted('pace_floor'))
end

local function window_room()
  if not users then return math.huge end
  return users - window_used()
end

-- How long until the window has room again, ms; only asked when it has none.
local function until_window_room()
  local oldest = redis.call('ZRANGEBYSCORE', WINDOW, int(now - every_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return oldest[2] and math.max(tonumber(oldest[2]) + every_ms + 1 - now, 1) or 1
end

-- What has ended and is not collected yet does not count.
local function active_now() return redis.call('ZCOUNT', ACTIVE, int(now), '+inf') end

local function cap_room()
  if not max_active then return math.huge end
  return max_active - active_now()
end

-- Seen: the last poll of each place in line, four bytes each; zero = not in line -----------------

local function seen_slot(place) return STEM .. 'seen:' .. int(math.floor(place / CHUNK)), (place % CHUNK) * 4 end

local function touch(place)
  local key, at = seen_slot(place)
  redis.call('SETRANGE', key, at, struct.pack('>I4', math.ceil((now - SEEN_EPOCH_MS) / 100)))
end

local function silent(place)
  if wait_ms == 0 or not opened then return false end
  local key, at = seen_slot(place)
  local bytes = redis.call('GETRANGE', key, at, at + 3)
  if #bytes < 4 then return false end
  local seen = struct.unpack('>I4', bytes) * 100 + SEEN_EPOCH_MS
  if opens_at and seen < opens_at then seen = opens_at end
  return now > seen + wait_ms + SILENCE_GRACE_MS
end

-- Departures -------------------------------------------------------------------------------------

local TOTALS = { token_expired = 'expired', token_left = 'left', token_completed = 'completed',
  token_replaced = 'replaced', queue_closed = 'closed' }

local function depart(place, reason)
  local key = STEM .. 'departed:' .. int(math.floor(now / DEPARTED_MS))
  redis.call('HSET', key, int(place), reason)
  redis.call('PEXPIRE', key, DEPARTED_MS * 3)
  count(TOTALS[reason])
end

local function departure(place)
  local bucket = math.floor(now / DEPARTED_MS)
  for back = 0, 2 do
    local reason = redis.call('HGET', STEM .. 'departed:' .. int(bucket - back), int(place))
    if reason then return reason end
  end
  if place <= counted('closed_through') then return 'queue_closed' end
  return 'token_expired'
end

-- The line ---------------------------------------------------------------------------------------
-- The score in `waiting` is the place. In a lottery, who joins before the opening has instead a
-- negative one: 24 drawn bits, then the place. So the draw needs no step of its own at the opening,
-- and whoever joins later stands behind. docs/FAIRNESS.md says how to check it.

local DRAWN_BELOW = 4503599627370496 -- 2^52
local PLACES = 134217728 -- 2^27

local function drawn_score(place)
  local lot = tonumber(string.sub(redis.sha1hex(seed .. ':' .. int(place)), 1, 6), 16)
  return lot * PLACES + place - DRAWN_BELOW
end

local function place_of(score)
  if score < 0 then return (score + DRAWN_BELOW) % PLACES end
  return score
end

local function out_of_line(user, place, reason)
  redis.call('ZREM', WAITING, user)
  local key, at = seen_slot(place)
  redis.call('SETRANGE', key, at, '\0\0\0\0')
  if reason then depart(place, reason) end
end

local function into_line(user, place)
  if redis.call('ZCARD', WAITING) == 0 then redis.call('HSET', COUNTERS, 'line_since', int(now)) end
  local score = place
  if lottery and not opened then score = drawn_score(place) end
  redis.call('ZADD', WAITING, int(score), user)
  touch(place)
end

-- A closed queue has no line: it is unlinked whole, not one by one. Its places are known by the last.
local function close_line()
  local line = redis.call('ZCARD', WAITING)
  if line == 0 then return end
  redis.call('HSET', COUNTERS, 'closed_through', int(counted('place')))
  count('closed', line)
  redis.call('UNLINK', WAITING)
end

-- Admissions: record = place|jti|admitted_at ms|iat s|exp s; iat 0 = not claimed yet -------------

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
end

-- Writes down that `n` were let in now; `in_window` says whether the rate counts them.
local function admitted(n, in_window)
  if n == 0 then return end
  record(PACE, count('admitted', n), 1000, PACE_KEPT_MS)
  if in_window then
    local span = every_ms or 1000
    record(WINDOW, count('windowed', n), math.max(1, math.floor(span / 2000)), math.max(span, 10000))
  end
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

local function end_admission(a, reason)
  redis.call('ZREM', ACTIVE, a.user)
  redis.call('HDEL', ADMISSIONS, a.user)
  redis.call('HDEL', JTIS, a.jti)
  depart(a.place, reason)
end

-- An older admission whose token has ended may still be counted; its user has one slot, not two.
local function admit(user, place)
  local ended = admission_of(user)
  if ended then end_admission(ended, 'token_expired') end
  local a = { user = user, place = place, jti = NONCE .. '-' .. int(place), admitted_at = now, iat = 0, exp = 0 }
  redis.call('HSET', JTIS, a.jti, user)
  keep_admission(a, now + claim_ms)
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

-- The live stay of `user`: 'waiting', place | 'active', admission | nil. What has ended is put
-- away on the way; an expired admission keeps its slot until its lease ends, but is no stay.
local function stay_of(user)
  local score = tonumber(redis.call('ZSCORE', WAITING, user))
  if score then
    local place = place_of(score)
    if state == 'closed' then out_of_line(user, place, 'queue_closed')
    elseif silent(place) then out_of_line(user, place, 'token_expired')
    else return 'waiting', place end
  end
  local a = admission_of(user)
  if a and in_force(a) then return 'active', a end
  return nil, a
end

-- Answers ----------------------------------------------------------------------------------------

local function rate(span)
  local since = math.max(now - span, counted('line_since'), opens_at or 0)
  local elapsed = math.max(now - since, 1000)
  return math.floor((counted('admitted') - (total_at(PACE, since) or counted('pace_floor'))) * 1000000 / elapsed)
end

-- now, state, opens_at|-1, redirect_url, waiting, in line, admissions per 1000 s over the last minute and
-- the last five, wait_ms, users|-1, every_ms|-1, claim_ms
local function header()
  local line = redis.call('ZCARD', WAITING)
  return { now, state, opens_at or -1, redirect_url or '', opened and line or 0, line, rate(60000), rate(LONGEST_PACE_MS),
    wait_ms, users or -1, every_ms or -1, claim_ms }
end

-- kind, place, position, jti, admitted_at, iat, exp
local function waiting_answer(user, place)
  if not opened then return { 'scheduled', place, 0, '', 0, 0, 0 } end
  return { 'waiting', place, redis.call('ZRANK', WAITING, user) + 1, '', 0, 0, 0 }
end

local function active_answer(a) return { 'active', a.place, 0, a.jti, a.admitted_at, a.iat, a.exp } end

local function gone_answer(place, reason) return { reason, place, 0, '', 0, 0, 0 } end

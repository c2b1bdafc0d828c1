-- prelude/limits.lua: never more than m in any n seconds, never more than N at once.

local LONGEST_PACE_MS = 300000
local PACE_KEPT_MS = 3600000

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
    set_counter(series == WINDOW and 'window_floor' or 'pace_floor', tonumber(base[1]))
  end
end

-- The rate ---------------------------------------------------------------------------------------

-- `adaptive` = the least users of the rate that pressure may leave; '' = pressure is not heeded.
local least_users = tonumber(raw[17])
if users and least_users then users = math.max(math.min(least_users, users), math.floor(users * outflow / 1000)) end

-- When n was raised, the window may reach behind what is kept to the millisecond: then all that was
-- let in counts, to the second. (floor = the total at the oldest entry that is kept; none = all are.)
local function window_used()
  local before = now - every_ms - 1
  local base = total_at(WINDOW, before)
  if base or counted('window_floor') == 0 then return counted('windowed') - (base or 0) end
  return counted('admitted') - (total_at(PACE, before) or counted('pace_floor'))
end

local function window_room()
  if now < hold_until then return 0 end
  if not users then return math.huge end
  return users - window_used()
end

-- How long until the window has room again, ms; only asked when it has none.
local function until_window_room()
  local oldest = redis.call('ZRANGEBYSCORE', WINDOW, int(now - every_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return oldest[2] and math.max(tonumber(oldest[2]) + every_ms + 1 - now, 1) or 1
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

-- Admissions per 1000 s over the last `span` ms, or since the line began.
local function rate(span)
  local since = math.max(now - span, counted('line_since'), opens_at or 0)
  local elapsed = math.max(now - since, 1000)
  return math.floor((counted('admitted') - (total_at(PACE, since) or counted('pace_floor'))) * 1000000 / elapsed)
end

-- The cap ----------------------------------------------------------------------------------------

-- What has ended and is not collected yet does not count.
local function active_now() return redis.call('ZCOUNT', ACTIVE, int(now), '+inf') end

local function cap_room()
  if now < hold_until then return 0 end
  if not max_active then return math.huge end
  return max_active - active_now()
end

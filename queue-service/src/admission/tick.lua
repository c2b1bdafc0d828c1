-- tick.lua: one step of admission. Collects what has ended and lets people in, in order.
--
-- ARGV[3] '' = as the rate and the cap allow; a number = let up to that many in, also while
--         paused and outside the rate, inside the cap
-- Returns { admitted, more, waiting, active, pause }; more = 1 when another step would do something
--   now; pause = ms until the rate has room for those in line, -1 when it is not what they wait for.
-- A script because counting and admitting must be one step, whichever replica calls it and
--   however often. Every loop is bounded; what is left waits for the next step.

local BATCH = 500
local LOOKED_AT = 1000

local forced = tonumber(ARGV[3])

local ended = redis.call('ZRANGEBYSCORE', ACTIVE, '-inf', '(' .. int(now), 'LIMIT', 0, BATCH)
for _, user in ipairs(ended) do end_admission(admission_of(user), 'token_expired') end

-- Revocations are kept until their token would have ended by itself.
for _, entry in ipairs(redis.call('XRANGE', REVOKED, '-', '+', 'COUNT', 16)) do
  if now < tonumber(entry[2][4]) * 1000 then break end
  redis.call('XDEL', REVOKED, entry[1])
end

if state == 'closed' then close_line() end

-- Strings of `seen` that lie wholly before the line are of no use any more. (A drawn score is
-- negative, so none is dropped while anybody drawn is in line.)
local first = tonumber(redis.call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')[2]) or counted('place')
local floor, front = counted('seen_floor'), math.floor(first / CHUNK)
for chunk = floor, math.min(front, floor + 32) - 1 do redis.call('UNLINK', STEM .. 'seen:' .. int(chunk)) end
if front > floor then redis.call('HSET', COUNTERS, 'seen_floor', int(math.min(front, floor + 32))) end

local open = opened and (state == 'open' or state == 'draining')
local room = 0
if forced and opened and state ~= 'closed' then room = math.min(forced, cap_room())
elseif not forced and open then room = math.min(window_room(), cap_room()) end
local cut = room > BATCH
room = math.min(room, BATCH)

local let_in, looked_at = 0, 0
while let_in < room and looked_at < LOOKED_AT do
  local front_of_line = redis.call('ZRANGE', WAITING, 0, room - let_in - 1, 'WITHSCORES')
  if #front_of_line == 0 then break end
  for i = 1, #front_of_line, 2 do
    local user, place = front_of_line[i], place_of(tonumber(front_of_line[i + 1]))
    looked_at = looked_at + 1
    if silent(place) then
      out_of_line(user, place, 'token_expired')
    else
      out_of_line(user, place)
      admit(user, place)
      let_in = let_in + 1
    end
  end
end
admitted(let_in, not forced)

local line = redis.call('ZCARD', WAITING)
local more = #ended == BATCH or (line > 0 and ((cut and let_in == room) or looked_at >= LOOKED_AT))
local pause = -1
if line > 0 and open and users and window_room() < 1 then pause = until_window_room() end
return { let_in, more and 1 or 0, line, active_now(), pause }

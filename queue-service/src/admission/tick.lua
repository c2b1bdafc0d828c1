-- tick.lua: one step of admission. Collects what has ended and lets people in, in order.
--
-- ARGV[4] '' = as the rate and the cap allow; a number = let up to that many in, also while
--         paused and outside the rate, inside the cap
-- Returns { admitted, more, waiting, active, pause }; more = 1 when another step would do something
--   now; pause = ms until the rate has room for those in line, -1 when it is not what they wait for.
-- A script because counting and admitting must be one step, whichever replica calls it and
--   however often. Every loop is bounded; what is left waits for the next step.

local BATCH = 500
local LOOKED_AT = 1000

local forced = tonumber(ARGV[4])

local ended = redis.call('ZRANGEBYSCORE', ACTIVE, '-inf', '(' .. int(now), 'LIMIT', 0, BATCH)
for _, user in ipairs(ended) do
  local a = admission_of(user)
  -- One that was not claimed goes back into the line while a loss is being mended (slots.lua).
  if a.iat > 0 or now > hold_until then end_admission(a, 'token_expired') end
end

-- Revocations are kept until their token would have ended by itself.
for _, entry in ipairs(redis.call('XRANGE', REVOKED, '-', '+', 'COUNT', 16)) do
  if now < tonumber(entry[2][4]) * 1000 then break end
  redis.call('XDEL', REVOKED, entry[1])
end

if state == 'closed' then close_line() end

-- Strings that lie wholly before a line are of no use any more. (A drawn score is negative, so none
-- is dropped while anybody drawn is in line; nor while a forgotten place may come back.)
local function forget_passed(lane)
  local first = tonumber(redis.call('ZRANGE', lane.waiting, 0, 0, 'WITHSCORES')[2]) or counted('place' .. lane.suffix)
  if now < recover_until then first = math.min(first, counted('lost_after' .. lane.suffix)) end
  local floor, front = counted('floor' .. lane.suffix), chunk_of(first)
  if front <= floor then return end
  front = math.min(front, floor + 32)
  for chunk = floor, front - 1 do
    local name = int(chunk_of(lane.base) + chunk)
    redis.call('UNLINK', STEM .. 'seen:' .. name, STEM .. 'gone:' .. name)
  end
  set_counter('floor' .. lane.suffix, front)
end
for number = 0, #lanes do forget_passed(lanes[number]) end

local open = opened and (state == 'open' or state == 'draining')
local room = 0
if forced and opened and state ~= 'closed' then room = math.min(forced, cap_room())
elseif not forced and open then room = math.min(window_room(), cap_room()) end
local cut = room > BATCH
room = math.min(room, BATCH)
if forced then let_in_how = 'hand' end

-- Whose turn it is: the lane that had fewest admissions for its share. Turns are counted in units of
-- a millionth, so that each lane with people in it gets its share of any run of admissions.
local TURN = 1000000
if #lanes > 0 and room > 0 then
  local turns = counted('turns')
  for number = 0, #lanes do
    local lane = lanes[number]
    lane.turn = counted('turn' .. lane.suffix)
    -- A share that was raised counts at once: nobody sits out the long turn of the old one.
    local latest = turns + math.floor(TURN / lane.weight)
    if lane.turn > latest then
      lane.turn = latest
      set_counter('turn' .. lane.suffix, latest)
    end
  end
end

local function next_in(lane, most)
  if lane.front and lane.at < #lane.front then return true end
  lane.front, lane.at = redis.call('ZRANGE', lane.waiting, 0, most - 1, 'WITHSCORES'), 0
  return #lane.front > 0
end

local function next_lane(most)
  if #lanes == 0 then return next_in(lanes[0], most) and lanes[0] end
  local best
  for number = 0, #lanes do
    local lane = lanes[number]
    if next_in(lane, most) and (not best or lane.turn < best.turn) then best = lane end
  end
  return best
end

local looked_at = 0
while #let_in < room and looked_at < LOOKED_AT do
  local lane = next_lane(room - #let_in)
  if not lane then break end
  local user, score = lane.front[lane.at + 1], tonumber(lane.front[lane.at + 2])
  local place = place_of(lane, score)
  lane.at = lane.at + 2
  looked_at = looked_at + 1
  if silent(place) then
    out_of_line(lane, user, place, 'token_expired')
  else
    out_of_line(lane, user, place)
    admit(user, place)
    if score < 0 then let_in_drawn[#let_in_drawn + 1] = int(place) end
    if #lanes > 0 then
      set_counter('turns', lane.turn)
      lane.turn = lane.turn + math.floor(TURN / lane.weight)
      lane.let_in = (lane.let_in or 0) + 1
    end
  end
end
for number = 0, #lanes do
  local lane = lanes[number]
  if lane.let_in then
    set_counter('turn' .. lane.suffix, lane.turn)
    count('admitted_of' .. lane.suffix, lane.let_in)
  end
end
admitted(#let_in, not forced)

local line = in_line()
local more = (#ended == BATCH and now >= hold_until) or (line > 0 and ((cut and #let_in == room) or looked_at >= LOOKED_AT))
local pause = -1
if line > 0 and open and users and now >= hold_until and window_room() < 1 then pause = until_window_room() end
return { #let_in, more and 1 or 0, line, active_now(), pause }

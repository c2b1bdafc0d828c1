-- prelude/loss.lua: a store that forgot.
--
--   restarted, failed over ─▶ a replica remembers a higher revision, or a signed token a later place
--        ─▶ new epoch: nobody is let in while a lease may exist that is not known here, places jump
--           over those that may have been handed out, and whoever proves a forgotten one gets it back
--
-- `revision` counts the calls that changed anything of weight. Every answer tells it, every replica
-- remembers it, and hands it back with the next call: a store that has a lower one forgot something.
-- What the last call before a crash did, whose answer nobody received, is noticed by nobody and was
-- told to nobody.

local GAP = 1048576               -- places that may have been handed out without a witness
local RECOVERY_MS = 600000        -- how long a forgotten place can be proven; below what departures are known

-- remembered[number of lane] = { last place, last drawn one }, of the lane's own numbers
local function recover(known_epoch, remembered)
  epoch = math.max(epoch, known_epoch) + 1
  hold_until = math.max(hold_until, now + math.max(claim_ms + (max_life_s + SLOT_LEEWAY_S) * 1000, every_ms or 0))
  local still_recovering = now < recover_until
  recover_until = math.max(hold_until, now + RECOVERY_MS)
  for number = 0, #lanes do
    local lane, known = lanes[number], remembered[number] or { 0, 0 }
    local last = counted('place' .. lane.suffix)
    local through = math.max(last, known[1]) + GAP
    if not still_recovering then set_counter('lost_after' .. lane.suffix, last) end
    set_counter('lost_through' .. lane.suffix, through)
    set_counter('place' .. lane.suffix, through)
    if known[2] > counted('drawn' .. lane.suffix) then set_counter('drawn' .. lane.suffix, known[2]) end
    all_gone(lane.base + last + 1, lane.base + through)
  end
  redis.call('HSET', COUNTERS, 'epoch', int(epoch), 'hold_until', int(hold_until), 'recover_until', int(recover_until))
  changed = true
end

if ARGV[3] ~= '' then
  local numbers = {}
  for number in string.gmatch(ARGV[3], '%d+') do numbers[#numbers + 1] = tonumber(number) end
  if numbers[1] > epoch or (numbers[1] == epoch and numbers[2] > revision) then
    local remembered = {}
    for at = 3, #numbers - 1, 2 do remembered[(at - 3) / 2] = { numbers[at], numbers[at + 1] } end
    recover(numbers[1], remembered)
  end
end

-- A signed token names a place that was never handed out, as far as this store knows.
local function heed_token(place)
  local lane = lane_of(place)
  if lane and place - lane.base > counted('place' .. lane.suffix) then
    recover(epoch, { [lane.number] = { place - lane.base, 0 } })
  end
end

-- Gives a forgotten place back to whom it was signed for; true when that was done.
local function restore(user, place)
  local lane = lane_of(place)
  if not lane or now >= recover_until or state == 'closed' then return false end
  local number = place - lane.base
  if number <= counted('lost_after' .. lane.suffix) or number > counted('lost_through' .. lane.suffix) then
    return false
  end
  into_line(lane, user, place, (lottery and not opened) or number <= counted('drawn' .. lane.suffix))
  redis.call('SETBIT', STEM .. 'gone:' .. int(chunk_of(place)), place % CHUNK, 0)
  left_line[#left_line + 1] = '+' .. int(place)
  return true
end

-- prelude/loss.lua: a store that forgot.
--
--   restarted, failed over ─▶ a replica remembers a higher revision, or a signed token a later place
--        ─▶ new epoch: nobody is let in while a lease may exist that is not known here, places jump
--           over those that may have been handed out, and whoever proves a forgotten one gets it back
--
-- `revision` counts the calls that changed anything of weight. Every answer tells it, every replica
-- remembers it, and hands it back with the next call: a store that has a lower one forgot something.
-- Whoever remembers must speak before a store that forgot has gone on: so when another server answers than
-- before, nobody is let in for LISTEN_MS, in which every replica calls many times; and all count as seen
-- then, since nobody could poll a server that was away. What the last call before a crash did, whose answer
-- nobody received, was told to nobody. A caller that does not trust this (`!`) has every new server treated
-- as one that forgot; tests/model_check shows what either needs.
--
-- While nobody is let in every lease ends that may exist, and everybody in line has the time to poll: all count
-- as seen at that moment, and a place that was let in and not claimed may still be.

local LISTEN_MS = 5000            -- longer than a replica takes to connect, ask and ask again
local SMALL_GAP = 65536           -- the same at a new server of which nothing bad is known yet
local GAP = 1048576               -- places that may have been handed out without a witness
local RECOVERY_MS = 600000        -- how long a forgotten place can be proven; below what departures are known

-- The places of a lane from after its last one to `through` are not handed out (any more).
local function leave_gap(lane, through, is_doubt_known)
  local last = counted('place' .. lane.suffix)
  if not is_doubt_known then set_counter('lost_after' .. lane.suffix, last) end
  set_counter('lost_through' .. lane.suffix, through)
  set_counter('place' .. lane.suffix, through)
  all_gone(lane.base + last + 1, lane.base + through)
end

-- remembered[number of lane] = { last place, last drawn one }, of the lane's own numbers
local function recover(known_epoch, remembered)
  epoch = math.max(epoch, known_epoch) + 1
  hold_until = math.max(hold_until, now + math.max(claim_ms + (max_life_s + SLOT_LEEWAY_S) * 1000,
    every_ms or 0, wait_ms + SILENCE_GRACE_MS)) + 1
  silence_from = now
  local still_recovering = now < recover_until
  recover_until = math.max(hold_until, now + RECOVERY_MS)
  for number = 0, #lanes do
    local lane, known = lanes[number], remembered[number] or { 0, 0 }
    leave_gap(lane, math.max(counted('place' .. lane.suffix), known[1]) + GAP, still_recovering or now < doubt_until)
    if known[2] > counted('drawn' .. lane.suffix) then set_counter('drawn' .. lane.suffix, known[2]) end
  end
  count('instants', GAP)
  redis.call('HSET', COUNTERS, 'epoch', int(epoch), 'hold_until', int(hold_until), 'recover_until', int(recover_until),
    'silence_from', int(now))
  changed = true
end

local distrust, server, told = string.match(ARGV[3], '^(!?)(%S+) ?(.*)$')
if server ~= '-' and server ~= kept[7] then
  kept[10] = revision
  redis.call('HSET', COUNTERS, 'server', server, 'server_revision', int(revision))
  if kept[7] and distrust == '!' then
    recover(epoch, {})
  elseif kept[7] then
    -- Who joins now gets no place that somebody else may prove later.
    local is_doubt_known = now < doubt_until or now < recover_until
    hold_until, silence_from, doubt_until = math.max(hold_until, now + LISTEN_MS), now, now + RECOVERY_MS
    redis.call('HSET', COUNTERS, 'hold_until', int(hold_until), 'silence_from', int(now),
      'doubt_until', int(doubt_until))
    for number = 0, #lanes do
      local lane = lanes[number]
      local last = counted('place' .. lane.suffix)
      leave_gap(lane, last + SMALL_GAP, is_doubt_known)
      left_line[#left_line + 1] = int(lane.base + last + 1) .. '-' .. int(lane.base + last + SMALL_GAP)
    end
    changed = true
  end
end
if told ~= '' then
  -- What was heard from an earlier server is compared with what this one began with: it may have gone on since.
  local teller, rest = string.match(told, '^(%S+) (.*)$')
  local mine = (teller == server or server == '-') and revision or tonumber(kept[10]) or revision
  local numbers = {}
  for number in string.gmatch(rest, '%d+') do numbers[#numbers + 1] = tonumber(number) end
  if numbers[1] > epoch or (numbers[1] == epoch and numbers[2] > mine) then
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

-- Whether the place, of which nothing else is known, is one that was forgotten and has not come back. The
-- first one behind a new server is the proof of the loss.
local function was_lost(place)
  local lane = lane_of(place)
  if not lane or now >= math.max(recover_until, doubt_until) or state == 'closed' then return false end
  local number = place - lane.base
  if number <= counted('lost_after' .. lane.suffix) or number > counted('lost_through' .. lane.suffix) then return false end
  if now >= recover_until then recover(epoch, {}) end
  return true
end

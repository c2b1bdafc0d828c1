-- prelude/line.lua: lanes, places, signs of life, departures.

-- Lanes ------------------------------------------------------------------------------------------
-- A lane is a line of its own. Lane 0 is everybody's; the named ones have a guaranteed share of the
-- admissions, lane 0 what they leave. A place is the lane's number times 2^40, plus the number that
-- the lane hands out in the order of joining: 1, 2, 3, … without a hole.

local LANE = 1099511627776

-- A lane that is not named any more is empty and stays known: its places are not handed out again.
local lanes, named = {}, 0
for number = 0, tonumber(raw[19]) or 0 do
  local suffix = number == 0 and '' or ':' .. number
  lanes[number] = { number = number, waiting = WAITING .. suffix, suffix = suffix, base = number * LANE,
    weight = 1 }
end
lanes[0].weight = 100
for name, share in string.gmatch(raw[16] or '', '(%S+) (%d+)') do
  named = named + 1
  lanes[named].name, lanes[named].weight = name, tonumber(share)
  lanes[0].weight = lanes[0].weight - tonumber(share)
end

local function lane_called(name)
  for number = 1, named do if lanes[number].name == name then return lanes[number] end end
  return lanes[0]
end

-- nil for a place of nobody's line: an admission that never stood in one has such a place.
local function lane_of(place) return lanes[math.floor(place / LANE)] end
local NO_LANE = 15 * LANE

local function in_line()
  local total = 0
  for number = 0, #lanes do total = total + redis.call('ZCARD', lanes[number].waiting) end
  return total
end

-- Order ------------------------------------------------------------------------------------------
-- The score in `waiting` is the number of the place. In a lottery, who joins before the opening has
-- instead a negative one: 24 drawn bits, then the number. So the draw needs no step of its own at the
-- opening, and whoever joins later stands behind. docs/FAIRNESS.md says how to check it.

local DRAWN_BELOW = 4503599627370496 -- 2^52
local NUMBERS = 134217728 -- 2^27

local function drawn_score(number)
  local lot = tonumber(string.sub(redis.sha1hex(seed .. ':' .. int(number)), 1, 6), 16)
  return lot * NUMBERS + number - DRAWN_BELOW
end

local function place_of(lane, score)
  if score < 0 then score = (score + DRAWN_BELOW) % NUMBERS end
  return lane.base + score
end

-- Signs of life: the last poll of each place, four bytes each -----------------------------------

local CHUNK = 65536               -- places in one string of `seen` and of `gone`
local SEEN_EPOCH_MS = 1735689600000 -- 2025-01-01; `seen` counts tenths of seconds from here
local SILENCE_GRACE_MS = 500      -- a poll that is still on its way to Redis counts

local function chunk_of(place) return math.floor(place / CHUNK) end

-- The place, or so many from it on within one string, were seen now.
local function touch(place, places)
  redis.call('SETRANGE', STEM .. 'seen:' .. int(chunk_of(place)), (place % CHUNK) * 4,
    string.rep(struct.pack('>I4', math.ceil((now - SEEN_EPOCH_MS) / 100)), places or 1))
end

local function silent(place)
  if wait_ms == 0 or not opened then return false end
  local at = (place % CHUNK) * 4
  local bytes = redis.call('GETRANGE', STEM .. 'seen:' .. int(chunk_of(place)), at, at + 3)
  if #bytes < 4 then return false end
  local seen = math.max(struct.unpack('>I4', bytes) * 100 + SEEN_EPOCH_MS, opens_at or 0, silence_from)
  return now > seen + wait_ms + SILENCE_GRACE_MS
end

-- Gone: a bit for each place that has left its line. The replicas' view is made of these --------

local function gone(place)
  redis.call('SETBIT', STEM .. 'gone:' .. int(chunk_of(place)), place % CHUNK, 1)
  left_line[#left_line + 1] = int(place)
end

-- All from `first` to `last` are gone, without an event: the caller sees to it that views hear of it.
local function all_gone(first, last)
  while first <= last do
    local key, bit = STEM .. 'gone:' .. int(chunk_of(first)), first % CHUNK
    local upto = math.min(last, first - bit + CHUNK - 1)
    if bit % 8 ~= 0 or upto - first < 7 then
      redis.call('SETBIT', key, bit, 1)
      first = first + 1
    else
      local bytes = math.floor((upto - first + 1) / 8)
      redis.call('SETRANGE', key, bit / 8, string.rep('\255', bytes))
      first = first + bytes * 8
    end
  end
end

-- Departures: why a place ended ------------------------------------------------------------------

local DEPARTED_MS = 600000        -- one hash of departures; two older ones are kept

local TOTALS = { token_expired = 'expired', token_left = 'left', token_completed = 'completed',
  token_replaced = 'replaced', queue_closed = 'closed' }

local function depart(place, reason)
  local key = STEM .. 'departed:' .. int(math.floor(now / DEPARTED_MS))
  redis.call('HSET', key, int(place), reason)
  redis.call('PEXPIRE', key, DEPARTED_MS * 3)
  count(TOTALS[reason])
  changed = true
end

-- nil when nothing is known of its end.
local function departure(place)
  local bucket = math.floor(now / DEPARTED_MS)
  for back = 0, 2 do
    local reason = redis.call('HGET', STEM .. 'departed:' .. int(bucket - back), int(place))
    if reason then return reason end
  end
  local lane = lane_of(place)
  if lane and place - lane.base <= counted('closed_through' .. lane.suffix) then return 'queue_closed' end
end

-- In and out -------------------------------------------------------------------------------------

local function out_of_line(lane, user, place, reason)
  redis.call('ZREM', lane.waiting, user)
  gone(place)
  changed = true
  if reason then depart(place, reason) end
end

local function into_line(lane, user, place, is_drawn)
  if redis.call('ZCARD', lane.waiting) == 0 then
    if in_line() == 0 then set_counter('line_since', now) end
    -- A lane that was empty has no turns saved up.
    if #lanes > 0 then
      set_counter('turn' .. lane.suffix, math.max(counted('turn' .. lane.suffix), counted('turns')))
    end
  end
  local number = place - lane.base
  redis.call('ZADD', lane.waiting, int(is_drawn and drawn_score(number) or number), user)
  touch(place)
  changed = true
end

local function join_line(lane, user)
  local number = count('place' .. lane.suffix)
  local is_drawn = lottery and not opened
  if is_drawn then set_counter('drawn' .. lane.suffix, number) end
  into_line(lane, user, lane.base + number, is_drawn)
  return lane.base + number
end

-- Gives a place back to whom it was signed for.
local function restore(user, place)
  local lane = lane_of(place)
  local number = place - lane.base
  into_line(lane, user, place, (lottery and not opened) or number <= counted('drawn' .. lane.suffix))
  redis.call('SETBIT', STEM .. 'gone:' .. int(chunk_of(place)), place % CHUNK, 0)
  left_line[#left_line + 1] = '+' .. int(place)
end

-- A closed queue has no line: it is unlinked whole, not one by one. Its places are known by the last.
local function close_line()
  for number = 0, #lanes do
    local lane = lanes[number]
    local line = redis.call('ZCARD', lane.waiting)
    if line > 0 then
      local last = counted('place' .. lane.suffix)
      set_counter('closed_through' .. lane.suffix, last)
      count('closed', line)
      redis.call('UNLINK', lane.waiting)
      all_gone(lane.base + counted('floor' .. lane.suffix) * CHUNK, lane.base + last)
      left_line[#left_line + 1] = '<' .. int(lane.base + last)
      changed = true
    end
  end
end

-- beat.lua: writes the signs of life that a replica has gathered.
--
-- ARGV[4] when the earliest of them was, tenths of seconds since `SEEN_EPOCH_MS`
-- ARGV[5..] for each string of `seen`: its number, how many places, and the places within it as `#place`
-- Returns nothing of interest.
-- A script because a string that lies before the line must not come into being again.

local ON_TIME = 5 -- tenths of seconds

-- What comes on time counts as of now: nothing that stands there is later, so nothing has to be read. What
-- comes late, from a replica that was away for a while, is compared: the later sign counts.
local seen, present = tonumber(ARGV[4]), math.ceil((now - SEEN_EPOCH_MS) / 100)
local is_late = seen < present - ON_TIME
local text = int(is_late and seen or math.max(seen, present))

local function those_known(key, first, last)
  local words, at = { key }, 1
  for i = first, last do
    words[at + 1], words[at + 2], words[at + 3] = 'GET', 'u32', ARGV[i]
    at = at + 3
  end
  return redis.call('BITFIELD', unpack(words, 1, at))
end

local function write(key, first, last)
  local known = is_late and those_known(key, first, last)
  local words, at = { key }, 1
  for i = first, last do
    if not known or known[i - first + 1] < seen then
      words[at + 1], words[at + 2], words[at + 3], words[at + 4] = 'SET', 'u32', ARGV[i], text
      at = at + 4
    end
  end
  if at > 1 then redis.call('BITFIELD', unpack(words, 1, at)) end
end

local i = 5
while i < #ARGV do
  local chunk, last = tonumber(ARGV[i]), i + 1 + tonumber(ARGV[i + 1])
  local lane = lane_of(chunk * CHUNK)
  if lane and chunk - chunk_of(lane.base) >= counted('floor' .. lane.suffix) then
    write(STEM .. 'seen:' .. int(chunk), i + 2, last)
  end
  i = last + 1
end
return 1

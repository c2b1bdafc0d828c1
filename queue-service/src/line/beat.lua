-- beat.lua: writes the signs of life that a replica has gathered.
--
-- ARGV[4] number of a string of `seen`
-- ARGV[5..] pairs: place within it, tenths of seconds since `SEEN_EPOCH_MS`
-- Returns nothing of interest.
-- A script because a string that lies before the line must not come into being again.

local chunk = tonumber(ARGV[4])
local lane = lane_of(chunk * CHUNK)
if lane and chunk - chunk_of(lane.base) >= counted('floor' .. lane.suffix) then
  local key = STEM .. 'seen:' .. int(chunk)
  local known, words = { key }, { key }
  for i = 5, #ARGV, 2 do
    known[#known + 1] = 'GET'
    known[#known + 1] = 'u32'
    known[#known + 1] = '#' .. ARGV[i]
  end
  -- A replica that was away for a while comes late with what it saw: the later sign counts.
  for at, seen in ipairs(redis.call('BITFIELD', unpack(known))) do
    local i = 3 + at * 2
    if tonumber(ARGV[i + 1]) > seen then
      words[#words + 1] = 'SET'
      words[#words + 1] = 'u32'
      words[#words + 1] = '#' .. ARGV[i]
      words[#words + 1] = ARGV[i + 1]
    end
  end
  if #words > 1 then redis.call('BITFIELD', unpack(words)) end
end
return 1

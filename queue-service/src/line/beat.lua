-- beat.lua: writes the signs of life that a replica has gathered.
--
-- ARGV[4] number of a string of `seen`
-- ARGV[5..] pairs: place within it, tenths of seconds since `SEEN_EPOCH_MS`
-- Returns nothing of interest.
-- A script because a string that lies before the line must not come into being again.

local chunk = tonumber(ARGV[4])
local lane = lane_of(chunk * CHUNK)
if lane and chunk - chunk_of(lane.base) >= counted('floor' .. lane.suffix) then
  local words = { STEM .. 'seen:' .. int(chunk) }
  for i = 5, #ARGV, 2 do
    words[#words + 1] = 'SET'
    words[#words + 1] = 'u32'
    words[#words + 1] = '#' .. ARGV[i]
    words[#words + 1] = ARGV[i + 1]
  end
  redis.call('BITFIELD', unpack(words))
end
return 1

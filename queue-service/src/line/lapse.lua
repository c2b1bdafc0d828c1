-- lapse.lua: takes silent people out of line.
--
-- ARGV[4..] places that looked silent to a replica, at most a few hundred
-- Returns how many were.
-- A script because a poll may have come in the meantime: silence is judged again, here.

local lapsed = 0
for i = 4, #ARGV do
  local place = tonumber(ARGV[i])
  local lane = lane_of(place)
  if lane then
    local score = int(place - lane.base)
    local user = redis.call('ZRANGEBYSCORE', lane.waiting, score, score)[1]
    if not user and seed then
      score = int(drawn_score(place - lane.base))
      user = redis.call('ZRANGEBYSCORE', lane.waiting, score, score)[1]
    end
    if user and silent(place) then
      out_of_line(lane, user, place, 'token_expired')
      lapsed = lapsed + 1
    end
  end
end
return lapsed

-- lapse.lua: takes silent people out of line.
--
-- ARGV[3..] places that looked silent to a replica, at most a few hundred
-- Returns how many were.
-- A script because a poll may have come in the meantime: silence is judged again, here.

local lapsed = 0
for i = 3, #ARGV do
  local place = tonumber(ARGV[i])
  local user = redis.call('ZRANGEBYSCORE', WAITING, place, place)[1]
  if not user and seed then
    local score = int(drawn_score(place))
    user = redis.call('ZRANGEBYSCORE', WAITING, score, score)[1]
  end
  if not user then
    -- Nobody is in line there: what is left of a place that was let in or lost.
    local key, at = seen_slot(place)
    redis.call('SETRANGE', key, at, '\0\0\0\0')
  elseif silent(place) then
    out_of_line(user, place, 'token_expired')
    lapsed = lapsed + 1
  end
end
return lapsed

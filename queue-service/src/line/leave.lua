-- leave.lua: ends the stay of one person.
--
-- ARGV[4] user
-- ARGV[5] place ('' = whatever place the user has)
-- Returns 2 when a place in line was ended, 1 when an admission was, 0 when there was none: leaving
--   twice is leaving once.
-- A script because the line, the slot and the revocation change together.

local user, place = ARGV[4], tonumber(ARGV[5])
local kind, stay, lane = stay_of(user)
if kind == 'waiting' and (not place or place == stay) then
  out_of_line(lane, user, stay, 'token_left')
  return 2
end
if kind == 'active' and (not place or place == stay.place) then
  revoke(stay)
  end_admission(stay, 'token_left')
  return 1
end
return 0

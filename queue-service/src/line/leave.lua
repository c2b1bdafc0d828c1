-- leave.lua: ends the stay of one person.
--
-- ARGV[3] user
-- ARGV[4] place ('' = whatever place the user has)
-- Returns 1 when a stay was ended, 0 when there was none: leaving twice is leaving once.
-- A script because the line, the slot and the revocation change together.

local user, place = ARGV[3], tonumber(ARGV[4])
local kind, stay = stay_of(user)
if kind == 'waiting' and (not place or place == stay) then
  out_of_line(user, stay, 'token_left')
  return 1
end
if kind == 'active' and (not place or place == stay.place) then
  revoke(stay)
  end_admission(stay, 'token_left')
  return 1
end
return 0

-- look.lua: answers the polls that a view cannot. A poll is also the sign of life that keeps a place,
-- and the first one after being let in claims the admission.
--
-- ARGV[4..] pairs: user, place ('' = whatever place the user has)
-- Returns { header, answers }, one answer per pair in order: kind, place, position, jti,
--   admitted_at, iat, exp. Kinds: scheduled, waiting, active, none (no live place), and the
--   reasons why a place has ended.
-- A script because position, sign of life and claim must be of one moment: two polls at once
--   cannot fix two different entry tokens.

local function look(user, place)
  if place then heed_token(place) end
  local kind, stay, lane = stay_of(user)
  if kind == 'waiting' and (not place or place == stay) then
    touch(stay)
    return waiting_answer(lane, user, stay)
  end
  if kind == 'active' and (not place or place == stay.place) then
    claim(stay)
    return active_answer(stay)
  end
  if not place then return gone_answer(0, 'none') end
  -- Ended, but not collected yet: also when its user is in line again.
  local a = admission_of(user)
  if a and a.place == place then return gone_answer(place, 'token_expired') end
  local reason = departure(place)
  if reason or not was_lost(place) or kind == 'active' or (kind and stay > place) then
    return gone_answer(place, reason or 'token_expired')
  end
  -- A later place than the one that the store knows is the one that the person had.
  if kind then out_of_line(lane, user, stay, 'token_replaced') end
  restore(user, place)
  return waiting_answer(lane_of(place), user, place)
end

local answers = {}
for i = 4, #ARGV, 2 do answers[#answers + 1] = look(ARGV[i], tonumber(ARGV[i + 1])) end
return { header(), answers }

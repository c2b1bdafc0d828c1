-- regain.lua: puts admissions back that a replica remembers and the store has forgotten. One that has ended
-- meanwhile is ended: its person, whom the store may know in line, is not let in a second time.
--
-- ARGV[4..] sixes: user, place, jti, admitted_at ms, iat s, exp s
-- Returns how many were put back.
-- A script because a person has one stay: who is in line at that place leaves the line for the slot.

local regained = 0
for i = 4, #ARGV, 6 do
  local user, place, exp = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 5])
  local kind, stay, lane = stay_of(user)
  local stands = kind == 'waiting' and stay == place
  local known = admission_of(user)
  -- A claim that was forgotten is given its times again, also when they are over.
  local unclaimed = known and known.place == place and known.iat == 0
  if (known and not unclaimed) or departure(place) then
    -- The store knows better.
  elseif unclaimed or now < exp * 1000 then
    if stands or unclaimed or not kind then
      if stands then out_of_line(lane, user, place) end
      local a = { user = user, place = place, jti = ARGV[i + 2], admitted_at = tonumber(ARGV[i + 3]),
        iat = tonumber(ARGV[i + 4]), exp = exp }
      if not known then
        let_in_how = 'regained'
        let_in[#let_in + 1] = int(place)
      end
      redis.call('HSET', JTIS, a.jti, user)
      keep_admission(a, (exp + SLOT_LEEWAY_S) * 1000)
      regained = regained + 1
    end
  elseif stands then
    out_of_line(lane, user, place, 'token_expired')
  else
    depart(place, 'token_expired')
  end
end
return regained

-- join.lua: puts people in line, or finds the place they have.
--
-- ARGV[4..] pairs: user, lane ('' = everybody's; an unknown one counts as that)
-- Returns { header, answers }, one answer per pair in order: kind, place, position, jti,
--   admitted_at, iat, exp, fresh (1 = a new place, 2 = one that replaces another). Kinds: scheduled, waiting, active, and the
--   refusals already_in_queue, queue_closed, queue_draining.
-- A script because finding, ending and taking a place must be one step: fifty joins of one user
--   at once get one place, and nobody is let in past a line that is not empty.

local function new_stay(user, lane)
  local free = instant and opened and state == 'open' and in_line() == 0
  if free and window_room() >= 1 and cap_room() >= 1 then
    let_in_how = 'instant'
    local a = admit(user, NO_LANE + count('instants'))
    claim(a)
    admitted(1, true)
    return active_answer(a)
  end
  return waiting_answer(lane, user, join_line(lane, user))
end

local function join(user, lane)
  local kind, stay, in_lane = stay_of(user)
  if kind and rejoin == 'reject' then return gone_answer(0, 'already_in_queue') end
  if kind == 'waiting' and rejoin == 'keep' then
    touch(stay)
    return waiting_answer(in_lane, user, stay)
  end
  if kind == 'active' and rejoin == 'keep' then
    claim(stay)
    return active_answer(stay)
  end
  if state == 'closed' then return gone_answer(0, 'queue_closed') end
  if state == 'draining' then return gone_answer(0, 'queue_draining') end
  if kind == 'waiting' then out_of_line(in_lane, user, stay, 'token_replaced') end
  if kind == 'active' then
    revoke(stay)
    end_admission(stay, 'token_replaced')
  end
  local answer = new_stay(user, lane)
  answer[8] = kind and 2 or 1
  return answer
end

local answers = {}
for i = 4, #ARGV, 2 do
  local answer = join(ARGV[i], lane_called(ARGV[i + 1]))
  answer[8] = answer[8] or 0
  answers[#answers + 1] = answer
end
return { header(), answers }

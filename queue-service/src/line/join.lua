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

-- Newcomers ---------------------------------------------------------------------------------------
-- In a crowd nearly everybody is somebody of whom nothing is known, and stands behind others. Such people go
-- into their line together, in the order in which they came; whoever is not one goes alone, after them.

local answers, crowds = {}, {}

-- The users that a line or an admission knows.
local function known_ones()
  local users, known = {}, {}
  for i = 4, #ARGV, 2 do users[#users + 1] = ARGV[i] end
  local function note(found)
    for at, user in ipairs(users) do if found[at] then known[user] = true end end
  end
  for number = 0, #lanes do note(redis.call('ZMSCORE', lanes[number].waiting, unpack(users))) end
  note(redis.call('HMGET', ADMISSIONS, unpack(users)))
  return known
end

-- The crowd that gathers behind a lane's line; nil while nobody is in that, so that the first may be let in.
local function crowd_of(lane)
  local crowd = crowds[lane.number]
  if not crowd then
    local line = redis.call('ZCARD', lane.waiting)
    if line == 0 then return nil end
    crowd = { lane = lane, line = line, members = {} }
    crowds[lane.number] = crowd
  end
  return crowd
end

local function touch_all(first, last)
  while first <= last do
    local upto = math.min(last, first - first % CHUNK + CHUNK - 1)
    touch(first, upto - first + 1)
    first = upto + 1
  end
end

local function into_lines()
  for _, crowd in pairs(crowds) do
    local lane, people = crowd.lane, #crowd.members
    if people > 0 then
      local last, is_drawn, scored = count('place' .. lane.suffix, people), lottery and not opened, {}
      if is_drawn then set_counter('drawn' .. lane.suffix, last) end
      for at, member in ipairs(crowd.members) do
        local number = last - people + at
        scored[2 * at - 1], scored[2 * at] = int(is_drawn and drawn_score(number) or number), member.user
        local kind, position = opened and 'waiting' or 'scheduled', opened and crowd.line + at or 0
        answers[member.at] = { kind, lane.base + number, position, '', 0, 0, 0, 1 }
      end
      redis.call('ZADD', lane.waiting, unpack(scored))
      touch_all(lane.base + last - people + 1, lane.base + last)
      changed = true
    end
  end
  crowds = {}
end

local takes_newcomers = #ARGV > 5 and state ~= 'closed' and state ~= 'draining'
local known = takes_newcomers and known_ones()
for i = 4, #ARGV, 2 do
  local user, lane, at = ARGV[i], lane_called(ARGV[i + 1]), i / 2 - 1
  local crowd = takes_newcomers and not known[user] and crowd_of(lane)
  if crowd then
    crowd.members[#crowd.members + 1] = { user = user, at = at }
    known[user] = true
  else
    into_lines()
    answers[at] = join(user, lane)
    answers[at][8] = answers[at][8] or 0
    if known then known[user] = true end
  end
end
into_lines()
return { header(), answers }

-- exchange.lua: one round of a replica at the registry of the keys that entry tokens are signed with.
--
-- KEYS[1]    hash: kid → x|first ms|held ms|exp s|mac. x = the public half; first = when a replica first
--            had its file; held = when one last had it; exp = until when tokens of it may live;
--            mac = by which a replica knows that another one wrote x
-- ARGV[1]    what to add to the time of Redis, ms
-- ARGV[2]    for how long a key stays that no replica has the file of, ms
-- ARGV[3…]   six for each key that the replica knows: kid, x, first ms ('' = new), held ms ('' = it
--            has the file), exp s, mac
-- Returns { now ms, kid, entry, kid, entry, … }, what is over left out and deleted.
-- A script because replicas merge into the same entries: the earliest first, the latest held and exp.

local entries = KEYS[1]
local function int(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + assert(tonumber(ARGV[1]))
local keep = assert(tonumber(ARGV[2]))
assert((#ARGV - 2) % 6 == 0)

local function times(entry)
  local first, held, exp = string.match(entry, '^[^|]+|(%d+)|(%d+)|(%d+)|[^|]+$')
  return tonumber(first), tonumber(held), tonumber(exp)
end

-- A hash that is not there is one that Redis has forgotten: only then is the word of a replica enough
-- for a key that it has no file of. What an operator deletes so stays deleted.
local forgotten = redis.call('EXISTS', entries) == 0
for at = 3, #ARGV, 6 do
  local kid, x, held = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3])
  local first, exp = tonumber(ARGV[at + 2]) or now, assert(tonumber(ARGV[at + 4]))
  local known = redis.call('HGET', entries, kid)
  if known or forgotten or not held then
    held = held or now
    local known_first, known_held, known_exp = times(known or '')
    if known_first then
      first, held, exp = math.min(first, known_first), math.max(held, known_held), math.max(exp, known_exp)
    end
    redis.call('HSET', entries, kid, table.concat({ x, int(first), int(held), int(exp), ARGV[at + 5] }, '|'))
  end
end

local answer = { int(now) }
local all = redis.call('HGETALL', entries)
for at = 1, #all, 2 do
  local first, held, exp = times(all[at + 1])
  if not first or (held + keep < now and exp * 1000 <= now) then
    redis.call('HDEL', entries, all[at])
  else
    answer[#answer + 1] = all[at]
    answer[#answer + 1] = all[at + 1]
  end
end
return answer

-- prelude/head.lua: what every script begins with: the queue's settings, its time and its state.
--
-- The parts of the prelude stand in front of every script, in the order of `redis.rs`, and
-- `prelude/tail.lua` behind it:
--   head   settings, time, state, counters
--   limits the rate's window, the cap, the outflow
--   line   lanes, places, signs of life, departures
--   slots  admissions
--   loss   what a store that forgot does
--   answer what scripts tell
--
-- KEYS, the same twelve for every script, all in one hash slot (see keys.rs for types and members):
--   1 settings  2 counters  3 waiting  4 active  5 admissions  6 jtis  7 window  8 pace  9 revoked
--   10 departures  11 log  12 followers
--   and, built from their common stem, `waiting:<lane>`, `seen:<n>`, `gone:<n>`, `departed:<n>`, `pressure`.
-- ARGV[1] offset added to the time of Redis, ms (zero in production; tests move it); or `@` and a
--         moment, ms since 1970, that is taken instead (the reference model alone does that)
-- ARGV[2] nonce, hex: makes the jti of an admission unknown to anybody before it is signed
-- ARGV[3] which run of which server the caller speaks to (`-` = not known; `!` before it = do not trust a
--         new one), and what the caller remembers of this queue (see loss.lua): the server it heard it from, epoch, revision, and for each
--         lane the last place and the last drawn one
-- Returns an error NOQUEUE when the queue has no settings; else defines the local words below.
-- A script because each step must see and change the line, the slots and the limits at once.

assert(#KEYS == 12, 'twelve keys')
local SETTINGS, COUNTERS, WAITING, ACTIVE, ADMISSIONS, JTIS, WINDOW, PACE, REVOKED, DEPARTURES, LOG, FOLLOWERS = unpack(KEYS)
local STEM = string.sub(SETTINGS, 1, -(#'settings' + 1))
local NONCE = ARGV[2]

local raw = redis.call('HMGET', SETTINGS, 'users', 'every_ms', 'max_active', 'entry_ttl_s', 'max_life_s',
  'claim_ms', 'wait_ms', 'rejoin', 'instant', 'opens_at', 'closes_at', 'stopped', 'redirect_url', 'order', 'seed',
  'lanes', 'adaptive', 'closes_sold_out', 'lanes_ever')
-- In a cluster whose slot of this queue is on its way, a call of two keys of which one is missing is refused:
-- here, before anything is changed, and not half-way.
redis.call('EXISTS', SETTINGS, STEM .. 'nothing')
if not raw[4] then return redis.error_reply('NOQUEUE there is no such queue') end

local function int(number) return string.format('%.0f', number) end

-- Counters ---------------------------------------------------------------------------------------
-- What most scripts ask for is read at once; the rest when it is asked for. All go through these three, so that
-- what was read stays true; a script that writes to COUNTERS by itself must not ask for that afterwards.

local KEPT = { 'clock', 'epoch', 'revision', 'hold_until', 'recover_until', 'outflow', 'server', 'silence_from',
  'called_at', 'server_revision', 'doubt_until', 'line_since', 'admitted', 'pace_floor', 'windowed', 'window_floor',
  'stock_heard', 'remaining' }
local kept, counters = redis.call('HMGET', COUNTERS, unpack(KEPT)), {}
for at, name in ipairs(KEPT) do counters[name] = kept[at] end

local function counted(name)
  if counters[name] == nil then counters[name] = redis.call('HGET', COUNTERS, name) end
  return tonumber(counters[name] or 0)
end
local function count(name, by)
  counters[name] = redis.call('HINCRBY', COUNTERS, name, by or 1)
  return counters[name]
end
local function set_counter(name, value)
  counters[name] = int(value)
  redis.call('HSET', COUNTERS, name, counters[name])
end

local epoch, revision = tonumber(kept[2]) or 0, tonumber(kept[3]) or 0
local doubt_until = tonumber(kept[11]) or 0
local hold_until, recover_until = tonumber(kept[4]) or 0, tonumber(kept[5]) or 0
local outflow, silence_from = tonumber(kept[6]) or 1000, tonumber(kept[8]) or 0

-- Time is that of Redis and never goes back: a step of the clock must not refill the rate.
local time = redis.call('TIME')
local called_at = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now = tonumber(string.match(ARGV[1], '^@(%d+)$')) or called_at + tonumber(ARGV[1])
local latest = tonumber(kept[1]) or 0
if now < latest then now = latest end
if now > latest then redis.call('HSET', COUNTERS, 'clock', int(now), 'called_at', int(called_at)) end

-- Every replica calls at least once a second. When none did, nobody in line could be heard, and silence
-- is counted from here. (By the server's own time: the one that tests move would look like that.)
local UNHEARD_MS = 3000
if kept[9] and called_at - tonumber(kept[9]) > UNHEARD_MS then
  silence_from = now
  set_counter('silence_from', now)
end

local users, every_ms, max_active = tonumber(raw[1]), tonumber(raw[2]), tonumber(raw[3])
local entry_ttl_s, max_life_s = tonumber(raw[4]), tonumber(raw[5])
local claim_ms, wait_ms = tonumber(raw[6]), tonumber(raw[7])
local rejoin, instant = raw[8], raw[9] == '1'
local opens_at, closes_at, stopped, redirect_url = tonumber(raw[10]), tonumber(raw[11]), raw[12], raw[13]
local lottery, seed = raw[14] == 'lottery', raw[15]
local closes_sold_out = raw[18] == '1'

local opened = not opens_at or now >= opens_at
local state = 'open'
if stopped == 'closed' or (closes_at and now >= closes_at) then state = 'closed'
elseif stopped == 'draining' or stopped == 'paused' then state = stopped
elseif not opened then state = 'scheduled' end

-- What this call changes; written down once, by the tail.
local changed = false
local left_line, let_in, let_in_drawn, slots_ended = {}, {}, {}, {}
local let_in_how = 'rate'

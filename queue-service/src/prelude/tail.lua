-- prelude/tail.lua: stands behind every script and writes down, once a call, what the call has done.
--
-- departures  what left the lines (answer.lua)
-- log         the admission log: places let in, how (rate, instant, hand, regained), the limits in force, slots
--             ended and when, how many are active after it, the epoch, and which of the places were drawn by lot
--             and with what commitment; `queue-service audit` reads it
-- Returns { answer, what the caller shall remember }.

local LOG_ENTRIES = 100000

local answer = body()
tell_departures()
if #let_in > 0 or #slots_ended > 0 then
  redis.call('XADD', LOG, 'MAXLEN', '~', LOG_ENTRIES, int(now) .. '-*', 'in', table.concat(let_in, ' '),
    'how', let_in_how, 'users', users and int(users) or '', 'every_ms', every_ms and int(every_ms) or '',
    'max_active', max_active and int(max_active) or '', 'out', table.concat(slots_ended, ' '),
    'active', active_now(), 'epoch', int(epoch), 'drawn', table.concat(let_in_drawn, ' '),
    'commitment', lottery and redis.call('HGET', SETTINGS, 'commitment') or '')
end
if changed then revision = count('revision') end
local memory = { server, int(epoch), int(revision) }
for number = 0, #lanes do
  memory[#memory + 1] = int(counted('place' .. lanes[number].suffix))
  memory[#memory + 1] = int(counted('drawn' .. lanes[number].suffix))
end
return { answer, table.concat(memory, ' ') }

-- stop.lua: pauses, drains, closes or resumes a queue.
--
-- ARGV[4] paused | draining | closed | '' (resume; ends also the waiting after a loss, loss.lua)
-- Returns nothing of interest. A script because the queue must exist, and because a resumed
-- queue must not find the line it was closed on.

assert(ARGV[4] == '' or ARGV[4] == 'paused' or ARGV[4] == 'draining' or ARGV[4] == 'closed')
if state == 'closed' or ARGV[4] == 'closed' then close_line() end
redis.call('HSET', SETTINGS, 'stopped', ARGV[4])
redis.call('HINCRBY', SETTINGS, 'version', 1)
if ARGV[4] == '' then set_counter('hold_until', 0) end
return 1

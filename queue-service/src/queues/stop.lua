-- stop.lua: pauses, drains, closes or resumes a queue.
--
-- ARGV[3] paused | draining | closed | '' (resume)
-- Returns nothing of interest. A script because the queue must exist, and because a resumed
-- queue must not find the line it was closed on.

assert(ARGV[3] == '' or ARGV[3] == 'paused' or ARGV[3] == 'draining' or ARGV[3] == 'closed')
if state == 'closed' or ARGV[3] == 'closed' then close_line() end
redis.call('HSET', SETTINGS, 'stopped', ARGV[3])
return 1

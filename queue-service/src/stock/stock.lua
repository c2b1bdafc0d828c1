-- stock.lua: takes note of what is left to buy, as the booking service counted it.
--
-- ARGV[4] remaining    ARGV[5] 1 = all sold, nothing held    ARGV[6] when it was counted, ms since 1970
-- Returns 1 when it was taken, 0 when a later count is known, 2 when it has closed the queue.
-- A script because counts may arrive out of order, and because the count that says sold out closes once.

local as_of = tonumber(ARGV[6])
if as_of < counted('stock_at') then return 0 end
local was_sold_out = counted('sold_out') == 1
redis.call('HSET', COUNTERS, 'remaining', ARGV[4], 'sold_out', ARGV[5], 'stock_at', int(as_of),
  'stock_heard', int(now))
if ARGV[5] == '1' and not was_sold_out and closes_sold_out and stopped ~= 'closed' then
  redis.call('HSET', SETTINGS, 'stopped', 'closed')
  redis.call('HINCRBY', SETTINGS, 'version', 1)
  state = 'closed'
  close_line()
  return 2
end
return 1

-- complete.lua: frees the slots of admissions whose purchase is done.
--
-- ARGV[4..] jtis
-- Returns how many slots were freed: unknown and repeated ones free nothing.
-- A script because a slot must be freed once, however often the other service repeats itself.

local released = 0
for i = 4, #ARGV do
  local user = redis.call('HGET', JTIS, ARGV[i])
  if user then
    end_admission(admission_of(user), 'token_completed')
    released = released + 1
  end
end
return released

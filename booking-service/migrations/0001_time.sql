-- The one clock that judges deadlines. `offset_ms` is zero in production; tests move it.
--
-- clock_timestamp(), not now(): a statement that waited for a lock must see the later time. Cut to
-- milliseconds, which is what clients are told: a deadline of 12:00:00.123 is over at 12:00:00.123.
create function db_now(offset_ms bigint) returns timestamptz
    language sql volatile parallel safe
    as $$ select date_trunc('milliseconds', clock_timestamp() + offset_ms * interval '1 millisecond') $$;

-- Messages that the queue service refuses for good stand aside, so that they hold up nobody; and the
-- messages of one queue are told oldest first, whatever happens to those of another.

alter table outbox add column refused_at timestamptz;
comment on column outbox.refused_at is 'null: in line; else when the queue service last refused this message alone';

-- One short look per queue finds its oldest message; next_attempt_at is in no index, so that a lease
-- is an update within the page (HOT).
drop index outbox_due;
create index outbox_in_line on outbox (queue, id) where refused_at is null;
create index outbox_aside on outbox (queue, id) where refused_at is not null;

-- Which seats have changed, so that replicas keep their seat maps right without reading whole halls.
--
-- Written by the database itself, whoever changes a seat and why. `change` is the transaction: a
-- reader asks for what has become visible since the snapshot of its last question, and so misses
-- nothing, in whatever order transactions commit. Rows are of use for a moment; they are swept.
create table seat_changes (
    change       xid8         not null default pg_current_xact_id(),
    schedule_id  uuid         not null,
    numbers      integer[]    not null,
    at           timestamptz  not null default clock_timestamp()
);
create index seat_changes_by_change on seat_changes (change);

create function note_seat_changes() returns trigger language plpgsql
    as $$
begin
    insert into seat_changes (schedule_id, numbers)
    select schedule_id, array_agg(number) from changed group by schedule_id;
    return null;
end
$$;
create trigger seats_note_changes after update on seats
    referencing new table as changed
    for each statement execute function note_seat_changes();

-- Dates that do not take place, what is left to do about them; and price tiers.

alter table schedules add column cancelled_at timestamptz;
-- Nobody un-cancels a date whose money is on its way back.
create trigger schedules_cancelled_once before update on schedules
    for each row when (old.cancelled_at is not null and new.cancelled_at is distinct from old.cancelled_at)
    execute function refuse_change();

-- One per cancelled date: how far its undoing is. Settled once nothing was left for longer than any
-- payment that began before the cancellation can take.
create table cancellations (
    schedule_id        uuid         constraint cancellations_pkey primary key
                                    constraint cancellations_schedule_fkey references schedules (id),
    holds_released     integer      not null default 0,
    payments_refunded  integer      not null default 0,
    settled_at         timestamptz
);
create index cancellations_open on cancellations (schedule_id) where settled_at is null;

-- Refunds that cannot be made now, by a row that is broken or a balance that is full: they wait, and
-- the others go on.
create table refunds_put_aside (
    payment_id  uuid         constraint refunds_put_aside_pkey primary key
                             constraint refunds_put_aside_payment_fkey references payments (id),
    reason      text         not null,
    since       timestamptz  not null,
    again_at    timestamptz  not null
);

alter table seats add column tier text constraint seats_tier_length check (length(tier) between 1 and 40);
comment on column seats.tier is 'the name of its price; null: it has none';

-- The hold: an immutable header and one status that moves.
--
-- schedule_id is no foreign key on purpose: its check would lock the schedule's row in every hold,
-- and that one row would be shared by the whole sale. The statement that makes the hold reads it.
create table reservations (
    id            uuid         constraint reservations_pkey primary key,
    user_id       text         not null,
    schedule_id   uuid         not null,
    queue         text         not null,
    entry_jti     text,
    entry_queue   text,
    entry_exp     bigint,
    seat_numbers  integer[]    not null,
    prices        bigint[]     not null,
    seat_count    integer      not null,
    amount        bigint       not null constraint reservations_amount_not_negative check (amount >= 0),
    held_at       timestamptz  not null,
    expires_at    timestamptz  not null,
    status        text         not null constraint reservations_status_known
        check (status in ('held', 'confirmed', 'cancelled', 'refunded', 'expired')),
    constraint reservations_header_fits check (
        seat_count > 0 and seat_count = cardinality(seat_numbers) and seat_count = cardinality(prices)
        and expires_at > held_at
    ),
    constraint reservations_entry_whole check (
        (entry_jti is null) = (entry_queue is null) and (entry_jti is null) = (entry_exp is null)
    ),
    -- What a payment refers to: a wrong amount or somebody else's hold finds nothing here.
    constraint reservations_header_key unique (id, schedule_id, user_id, seat_count, amount)
) with (fillfactor = 80);
comment on column reservations.queue is 'the schedule''s queue when the hold was made';
comment on column reservations.entry_jti is 'the entry token that made the hold; null: a user token did';
create index reservations_of_user on reservations (user_id, id desc);
-- For the sweeper alone.
create index reservations_due on reservations (expires_at) where status = 'held';

-- A row to queue up at where a schedule limits the seats of one user.
create table buyers (
    schedule_id  uuid not null,
    user_id      text not null,
    constraint buyers_pkey primary key (schedule_id, user_id)
);

-- What was paid, what was given for it, and what was paid back.

create table payments (
    id              uuid         constraint payments_pkey primary key,
    reservation_id  uuid         not null constraint payments_reservation_once unique,
    schedule_id     uuid         not null,
    user_id         text         not null,
    seat_count      integer      not null,
    amount          bigint       not null,
    paid_at         timestamptz  not null,
    -- The last guard: the payment is of this hold, by its owner, for its amount; or it is not.
    constraint payments_reservation_fkey foreign key (reservation_id, schedule_id, user_id, seat_count, amount)
        references reservations (id, schedule_id, user_id, seat_count, amount)
);

-- One per sold seat. The index over the live ones is the second, independent guard against selling
-- a seat twice; those that are no longer live are the history.
create table tickets (
    payment_id   uuid     not null constraint tickets_payment_fkey references payments (id),
    schedule_id  uuid     not null,
    number       integer  not null,
    price        bigint   not null,
    live         boolean  not null default true,
    constraint tickets_pkey primary key (payment_id, number),
    constraint tickets_seat_fkey foreign key (schedule_id, number) references seats (schedule_id, number)
);
create unique index tickets_live_once on tickets (schedule_id, number) where live;

create table refunds (
    id           uuid         constraint refunds_pkey primary key,
    payment_id   uuid         not null constraint refunds_payment_once unique
                              constraint refunds_payment_fkey references payments (id),
    user_id      text         not null,
    amount       bigint       not null,
    refunded_at  timestamptz  not null
);

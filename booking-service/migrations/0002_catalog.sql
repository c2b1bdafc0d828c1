-- What is for sale: concerts, their dates, and one row per seat per date.

create table concerts (
    id          uuid        constraint concerts_pkey primary key,
    title       text        not null constraint concerts_title_length check (length(title) between 1 and 200),
    queue       text        not null constraint concerts_queue_slug check (queue ~ '^[a-z0-9-]{1,64}$'),
    created_at  timestamptz not null
);

create table schedules (
    id                  uuid        constraint schedules_pkey primary key,
    concert_id          uuid        not null constraint schedules_concert_fkey references concerts (id),
    queue               text        constraint schedules_queue_slug check (queue ~ '^[a-z0-9-]{1,64}$'),
    starts_at           timestamptz not null,
    sales_open_at       timestamptz not null,
    sales_close_at      timestamptz not null,
    max_seats_per_user  integer     constraint schedules_limit_positive check (max_seats_per_user > 0),
    created_at          timestamptz not null,
    constraint schedules_sale_in_order check (sales_open_at < sales_close_at and sales_close_at <= starts_at)
);
comment on column schedules.queue is 'null: the concert''s';
create index schedules_by_date on schedules (concert_id, starts_at, id);

-- The state is in the row, so that a hold or a sale is one update of it. No other index: every
-- update stays in its page (HOT). A hold past held_until is worth nothing, swept or not: the next
-- holder overwrites it. hold_id names the reservation; it is no foreign key, the audit checks it.
create table seats (
    schedule_id  uuid     not null constraint seats_schedule_fkey references schedules (id),
    number       integer  not null constraint seats_number_positive check (number > 0),
    section      text,
    row          text,
    price        bigint   not null constraint seats_price_not_negative check (price >= 0),
    state        text     not null default 'free',
    hold_id      uuid,
    held_by      text,
    held_until   timestamptz,
    constraint seats_pkey primary key (schedule_id, number),
    constraint seats_state_columns check (
        (state = 'free' and hold_id is null and held_by is null and held_until is null)
        or (state = 'held' and hold_id is not null and held_by is not null and held_until is not null)
        or (state = 'sold' and hold_id is not null and held_by is not null and held_until is null)
    )
) with (fillfactor = 70);

-- Entry tokens that were spent, and the messages that tell the queue service so. Both are written
-- by the transaction that spends: the payment, or the hold under RELEASE_ON=hold. Their times are
-- the database's own, without a test's offset: replicas follow each other by them.

create table spent_entries (
    jti       text         constraint spent_entries_pkey primary key,
    queue     text         not null,
    exp       bigint       not null,
    spent_at  timestamptz  not null default clock_timestamp()
);
create index spent_entries_by_time on spent_entries (spent_at);

-- A row is deleted once the queue service has heard. next_attempt_at is also the lease of the
-- replica that is sending it.
create table outbox (
    id               uuid         constraint outbox_pkey primary key,
    queue            text         not null,
    jti              text         not null,
    exp              bigint       not null,
    created_at       timestamptz  not null default clock_timestamp(),
    attempts         integer      not null default 0,
    next_attempt_at  timestamptz  not null default clock_timestamp()
) with (fillfactor = 70);
create index outbox_due on outbox (next_attempt_at);

-- Refunds seat by seat. A payment may have many; each ends tickets, and a ticket ends once.
--
-- A binary from before this migration can no longer refund: `live` is not its to write any more.

-- A ticket names the refund that ended it. `live` follows, so the two cannot disagree.
alter table refunds
    drop constraint refunds_payment_once,
    add column seat_numbers integer[],
    add column reason text not null default 'request'
        constraint refunds_reason_known check (reason in ('request', 'cancellation')),
    add constraint refunds_amount_not_negative check (amount >= 0),
    -- What a ticket refers to: the refund of another payment finds nothing here.
    add constraint refunds_payment_key unique (id, payment_id);
comment on column refunds.reason is 'request: the owner wanted it; cancellation: the date was cancelled';

alter table tickets add column refund_id uuid;
update tickets k set refund_id = f.id from refunds f where f.payment_id = k.payment_id;
update refunds f set seat_numbers = array(
    select number from tickets k where k.payment_id = f.payment_id order by number
);
drop index tickets_live_once;
alter table tickets
    drop column live,
    add column live boolean not null generated always as (refund_id is null) stored,
    add constraint tickets_refund_fkey foreign key (refund_id, payment_id) references refunds (id, payment_id);
create unique index tickets_live_once on tickets (schedule_id, number) where live;
alter table refunds
    alter column seat_numbers set not null,
    alter column reason drop default,
    add constraint refunds_have_seats check (cardinality(seat_numbers) > 0);
create index refunds_of_payment on refunds (payment_id);

-- What ended stays ended.
create trigger tickets_end_once before update or delete on tickets
    for each row when (old.refund_id is not null) execute function refuse_change();
create trigger refunds_append_only before update or delete on refunds
    for each row execute function refuse_change();

-- How much of a reservation was given back: never more than was paid, all of it when the last seat
-- is, and the status says so. The amount is the payment's: payments_reservation_fkey.
alter table reservations
    add column refunded_count integer not null default 0,
    add column refunded_amount bigint not null default 0;
update reservations set refunded_count = seat_count, refunded_amount = amount where status = 'refunded';
alter table reservations add constraint reservations_refunded_fits check (
    refunded_count between 0 and seat_count
    and refunded_amount between 0 and amount
    and (refunded_count > 0 or refunded_amount = 0)
    and (refunded_count < seat_count or refunded_amount = amount)
    and (refunded_count = 0 or status in ('confirmed', 'refunded'))
    and (status = 'refunded') = (refunded_count = seat_count)
);

-- What may happen only once is the refund; a payment may have several.
alter table ledger disable trigger user;
update ledger l set cause = f.id from refunds f where l.kind = 'refund' and l.payment_id = f.payment_id;
alter table ledger enable trigger user;

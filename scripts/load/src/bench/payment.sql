-- One payment of one hold: the statements of payments/store.rs, points/store.rs and outbox/store.rs before they were
-- batched. The holds are those that hall.rs makes.
\set i :i + 1
\set n :i * :clients + :client_id + 1
begin;
select r.schedule_id, r.queue, r.status, r.amount, r.seat_numbers, r.prices,
    r.entry_jti, r.entry_queue, r.entry_exp,
    exists (
        select 1 from spent_entries where jti = md5('j' || :prefix::text || :n::text)::uuid::text
    ) as shown_is_spent,
    exists (select 1 from schedules where id = r.schedule_id and cancelled_at is not null) as is_cancelled
from reservations r
where r.id = (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid
    and r.user_id = md5(:prefix::text || :n::text)::uuid::text
for update;
with ours as materialized (
    select number from seats
    where schedule_id = :schedule::uuid and number = any(array[:n::integer])
        and hold_id = (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid and state = 'held'
        and held_until > (select db_now(0))
    order by number
    for update
), sold as (
    update seats s set state = 'sold', held_until = null
    from ours o
    where s.schedule_id = :schedule::uuid and s.number = o.number
        and s.hold_id = (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid and s.state = 'held'
    returning 1
)
select count(*) from sold;
with account as (
    update accounts set balance = balance - 1000, last_seq = last_seq + 1
    where user_id = md5(:prefix::text || :n::text)::uuid::text and balance >= 1000
    returning balance, last_seq
)
insert into ledger (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause,
    payment_id, memo, at)
select md5(:prefix::text || :n::text)::uuid::text, last_seq,
    (:prefix::text || lpad(to_hex(:n::bigint + 268435456), 20, '0'))::uuid, 'payment', 'revenue', -1000, balance,
    (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid,
    (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid, null, db_now(0)
from account
returning balance_after;
with t as materialized (
    select db_now(0) as now
), confirmed as (
    update reservations r set status = 'confirmed' from t
    where r.id = (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid and r.status = 'held'
        and r.expires_at > t.now
    returning r.id, r.schedule_id, r.user_id, r.seat_count, r.amount, r.seat_numbers, r.prices, t.now
), paid as (
    insert into payments (id, reservation_id, schedule_id, user_id, seat_count, amount, paid_at)
    select (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid, id, schedule_id, user_id, seat_count,
        amount, now
    from confirmed
    returning paid_at
), issued as (
    insert into tickets (payment_id, schedule_id, number, price)
    select (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid, c.schedule_id, seat.number, seat.price
    from confirmed c cross join unnest(c.seat_numbers, c.prices) as seat (number, price)
)
select paid_at from paid;
with given as (
    select * from unnest(
        array[md5('j' || :prefix::text || :n::text)::uuid::text], array[:queue::text], array[4000000000::bigint],
        array[(:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid]
    ) as g (jti, queue, exp, id)
), spent as (
    insert into spent_entries (jti, queue, exp)
    select jti, queue, exp from given order by jti
    on conflict on constraint spent_entries_pkey do nothing
    returning jti
), told as (
    insert into outbox (id, queue, jti, exp)
    select g.id, g.queue, g.jti, g.exp from given g join spent s on s.jti = g.jti
)
select jti from spent;
commit;

-- One payment of one hold: the statement of payments/store.rs, with one of each. The holds are those that hall.rs makes.
\set i :i + 1
\set n :i * :clients + :client_id + 1
with given as materialized (
    select * from unnest(array[(:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid],
        array[md5(:prefix::text || :n::text)::uuid::text],
        array[md5('j' || :prefix::text || :n::text)::uuid::text],
        array[:queue::text], array[4000000000::bigint], array[:queue::text],
        array[(:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid],
        array[(:prefix::text || lpad(to_hex(:n::bigint + 268435456), 20, '0'))::uuid],
        array[(:prefix::text || lpad(to_hex(:n::bigint + 536870912), 20, '0'))::uuid],
        array[(:prefix::text || lpad(to_hex(:n::bigint + 805306368), 20, '0'))::uuid])
    as g (reservation_id, user_id, jti, queue, exp, confined_to, payment_id, entry_id, shown_message,
        made_message)
), reserved as materialized (
    select g.payment_id, g.reservation_id, g.user_id, g.entry_id, g.shown_message, g.made_message,
    r.reservation_place, r.schedule_id, r.queue, r.seat_count, r.amount, r.seat_numbers, r.prices,
    r.expires_at, g.exp as shown_exp, r.entry_exp as made_exp,
    case when g.queue = r.queue then g.jti end as shown_jti,
    case when r.entry_queue = r.queue and r.entry_jti is distinct from g.jti
    then r.entry_jti end as made_jti
    from (select * from given order by reservation_id) g
    cross join lateral (
        select ctid as place from reservations where id = g.reservation_id offset 0
    ) seen
    cross join lateral (
        select ctid as reservation_place, schedule_id, queue, seat_count, amount, seat_numbers, prices,
        expires_at, entry_jti, entry_queue, entry_exp
        from reservations where id = g.reservation_id and user_id = g.user_id and status = 'held'
        for update
    ) r
    where r.reservation_place = seen.place
    and (g.confined_to is null or g.confined_to = r.queue)
    and (select cancelled_at from schedules where id = r.schedule_id) is null
    and (select true from spent_entries where jti = g.jti) is null
), wanted as materialized (
    select r.payment_id, r.reservation_id, r.schedule_id, seat.number, seat.price
    from reserved r cross join unnest(r.seat_numbers, r.prices) as seat (number, price)
), ours as materialized (
    select w.*, s.seat_place, s.held_until
    from (select * from wanted order by schedule_id, number) w
    cross join lateral (
        select ctid as place from seats where schedule_id = w.schedule_id and number = w.number offset 0
    ) seen
    cross join lateral (
        select ctid as seat_place, held_until from seats
        where schedule_id = w.schedule_id and number = w.number and hold_id = w.reservation_id
        and state = 'held'
        for update
    ) s
    where s.seat_place = seen.place
), whole as materialized (
    select payment_id, count(*) as seats, min(held_until) as held_until from ours group by payment_id
), movements as materialized (
    select r.*, r.payment_id as cause, null::text as memo, least(r.expires_at, w.held_until) as until
    from reserved r join whole w on w.payment_id = r.payment_id and w.seats = r.seat_count
), able as materialized (
    select a.place, m.* from (select * from movements order by user_id) m
    cross join lateral (
        select ctid as place from accounts where user_id = m.user_id offset 0
    ) seen
    cross join lateral (
        select ctid as place from accounts where user_id = m.user_id and balance >= m.amount
        for update
    ) a
    where a.place = seen.place
), t as materialized (
    select db_now(0) as now from (select count(*) from able) after_the_last_lock
), in_time as materialized (
    select a.*, t.now from able a cross join t where a.until > t.now
), shown as materialized (
    select shown_jti as jti, queue, shown_exp as exp, shown_message as id from in_time
    where shown_jti is not null
), shown_spent as (
    insert into spent_entries (jti, queue, exp)
    select jti, queue, exp from shown order by jti
    on conflict on constraint spent_entries_pkey do nothing
    returning jti
), shown_told as (
    insert into outbox (id, queue, jti, exp)
    select e.id, e.queue, e.jti, e.exp from shown e join shown_spent s on s.jti = e.jti
), clear as materialized (
    select p.* from in_time p left join shown_spent s on s.jti = p.shown_jti
    where p.shown_jti is null or s.jti is not null
), made as materialized (
    select made_jti as jti, queue, made_exp as exp, made_message as id from clear
    where made_jti is not null
), made_spent as (
    insert into spent_entries (jti, queue, exp)
    select jti, queue, exp from made order by jti
    on conflict on constraint spent_entries_pkey do nothing
    returning jti
), made_told as (
    insert into outbox (id, queue, jti, exp)
    select e.id, e.queue, e.jti, e.exp from made e join made_spent s on s.jti = e.jti
), debited as (
    update accounts a set balance = a.balance - b.amount, last_seq = a.last_seq + 1
    from clear b
    where a.ctid = b.place
    returning b.*, a.balance, a.last_seq
), entered as (
    insert into ledger (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause,
        payment_id, memo, at)
    select user_id, last_seq, entry_id, 'payment'::text, 'revenue'::text, -amount, balance, cause,
    payment_id, memo, db_now(0)
    from debited
), confirmed as (
    update reservations r set status = 'confirmed' from debited d
    where r.ctid = d.reservation_place
    returning d.payment_id, d.now
), sold as (
    update seats s set state = 'sold', held_until = null
    from debited d join ours o on o.payment_id = d.payment_id
    where s.ctid = o.seat_place
    returning o.payment_id, o.schedule_id, o.number, o.price
), counted as (
    select payment_id, count(*) as seats from sold group by payment_id
), paid as (
    insert into payments (id, reservation_id, schedule_id, user_id, seat_count, amount, paid_at)
    select d.payment_id, d.reservation_id, d.schedule_id, d.user_id, n.seats, d.amount, c.now
    from debited d
    left join confirmed c on c.payment_id = d.payment_id
    left join counted n on n.payment_id = d.payment_id
), issued as (
    insert into tickets (payment_id, schedule_id, number, price)
    select payment_id, schedule_id, number, price from sold
)
select payment_id as id, reservation_id, schedule_id, queue, amount, balance, now as paid_at, seat_numbers,
prices, made_jti, made_exp
from debited;

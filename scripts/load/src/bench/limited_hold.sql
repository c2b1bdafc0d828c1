-- One hold of one seat of a date with a limit: `line_up`, `look` and `take` of holds/store.rs before they were batched,
-- with the mended question whether the hall has seats.
\set i :i + 1
\set n :i * :clients + :client_id + 1
begin;
insert into buyers (schedule_id, user_id) values (:schedule::uuid, md5(:prefix::text || :n::text)::uuid::text)
on conflict on constraint buyers_pkey do update set user_id = excluded.user_id;
select 1 from reservations
where user_id = md5(:prefix::text || :n::text)::uuid::text and schedule_id = :schedule::uuid and status = 'held'
for share;
with t as materialized (select db_now(0) as now)
select exists (
        select 1 from spent_entries where jti = md5('j' || :prefix::text || :n::text)::uuid::text
    ) as spent,
    coalesce(s.queue, c.queue) as queue,
    s.sales_open_at <= t.now and t.now < s.sales_close_at and s.cancelled_at is null as on_sale,
    s.max_seats_per_user as seat_limit,
    (select true from seats where schedule_id = s.id order by number limit 1) is not null as has_seats,
    case when s.max_seats_per_user is null then 0 else (
        select coalesce(sum(r.seat_count - r.refunded_count), 0) from reservations r
        where r.user_id = md5(:prefix::text || :n::text)::uuid::text and r.schedule_id = s.id
            and (r.status = 'confirmed' or (r.status = 'held' and r.expires_at > t.now))
    ) end as owned,
    array(
        select number from seats where schedule_id = s.id and number = any(array[:n::integer]) order by number
    ) as known,
    array(
        select number from seats
        where schedule_id = s.id and number = any(array[:n::integer])
            and (state = 'sold' or (state = 'held' and held_until > t.now))
        order by number
    ) as taken
from t left join schedules s on s.id = :schedule::uuid left join concerts c on c.id = s.concert_id;
with clock as materialized (
    select db_now(0) as now
), t as materialized (
    select now, now + make_interval(secs => 7200) as until from clock
), sale as materialized (
    select s.id from schedules s cross join t
    where s.id = :schedule::uuid and s.sales_open_at <= t.now and t.now < s.sales_close_at
        and s.cancelled_at is null
        and not exists (
            select 1 from spent_entries where jti = md5('j' || :prefix::text || :n::text)::uuid::text
        )
), picked as materialized (
    select number, price from seats
    where schedule_id = (select id from sale) and number = any(array[:n::integer])
        and (state = 'free' or (state = 'held' and held_until <= (select now from t)))
    order by number
    for update skip locked
), held as (
    update seats s set state = 'held', hold_id = (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid,
        held_by = md5(:prefix::text || :n::text)::uuid::text, held_until = t.until
    from picked p, t
    where s.schedule_id = :schedule::uuid and s.number = p.number
        and (select count(*) from picked) = 1
    returning s.number, s.price
)
insert into reservations (id, user_id, schedule_id, queue, entry_jti, entry_queue, entry_exp,
    seat_numbers, prices, seat_count, amount, held_at, expires_at, status)
select (:prefix::text || lpad(to_hex(:n::bigint), 20, '0'))::uuid, md5(:prefix::text || :n::text)::uuid::text,
    :schedule::uuid, :queue::text, md5('j' || :prefix::text || :n::text)::uuid::text, :queue::text, 4000000000,
    array_agg(h.number order by h.number), array_agg(h.price order by h.number), count(*), sum(h.price), t.now,
    t.until, 'held'
from held h cross join t
group by t.now, t.until
having count(*) = 1
returning seat_numbers, prices, amount, held_at, expires_at;
commit;

//! `cancellations`, `refunds_put_aside`, and what is left of cancelled dates.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::model::Progress;
use crate::db::{Conn, Result};
use crate::payments::Refundable;

/// Marks a date; answers it unless it was cancelled before.
pub async fn mark_schedule(conn: &mut Conn, offset_ms: i64, id: Uuid) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(
        r"
        with marked as (
            update schedules set cancelled_at = db_now($1) where id = $2 and cancelled_at is null
            returning id
        )
        insert into cancellations (schedule_id) select id from marked
        returning schedule_id
        ",
    )
    .bind(offset_ms)
    .bind(id)
    .fetch_all(conn)
    .await?)
}

/// Marks the dates of a concert that are to come, all at the same moment; answers those that were not
/// cancelled before.
pub async fn mark_concert(conn: &mut Conn, offset_ms: i64, concert: Uuid) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(
        r"
        with t as materialized (
            select db_now($1) as now
        ), dates as materialized (
            select id from schedules
            where concert_id = $2 and cancelled_at is null and starts_at > (select now from t)
            order by id
            for update
        ), marked as (
            update schedules s set cancelled_at = t.now from dates d cross join t where s.id = d.id
            returning s.id
        )
        insert into cancellations (schedule_id) select id from marked
        returning schedule_id
        ",
    )
    .bind(offset_ms)
    .bind(concert)
    .fetch_all(conn)
    .await?)
}

#[derive(FromRow)]
struct ProgressRow {
    id: Uuid,
    cancelled_at: DateTime<Utc>,
    holds_released: i32,
    payments_refunded: i32,
    payments_left: i64,
    put_aside: i64,
    holds_left: bool,
}

impl From<ProgressRow> for Progress {
    fn from(row: ProgressRow) -> Self {
        Self {
            schedule_id: row.id,
            cancelled_at: row.cancelled_at,
            holds_released: row.holds_released,
            payments_refunded: row.payments_refunded,
            payments_left: row.payments_left,
            payments_put_aside: row.put_aside,
            done: row.payments_left == 0 && !row.holds_left,
        }
    }
}

/// How far a date is; `None` when it is not cancelled.
pub async fn progress(conn: &mut Conn, offset_ms: i64, id: Uuid) -> Result<Option<Progress>> {
    Ok(progress_of(conn, offset_ms, Some(id), None).await?.into_iter().next())
}

/// How far the cancelled dates of a concert are, the earliest first.
pub async fn progress_of_concert(conn: &mut Conn, offset_ms: i64, concert: Uuid) -> Result<Vec<Progress>> {
    progress_of(conn, offset_ms, None, Some(concert)).await
}

async fn progress_of(
    conn: &mut Conn,
    offset_ms: i64,
    id: Option<Uuid>,
    concert: Option<Uuid>,
) -> Result<Vec<Progress>> {
    let rows: Vec<ProgressRow> = sqlx::query_as(
        r"
        with t as materialized (select db_now($1) as now)
        select s.id, s.cancelled_at, c.holds_released, c.payments_refunded, n.payments_left, n.put_aside,
            exists (
                select 1 from reservations
                where status = 'held' and schedule_id = s.id and expires_at > t.now
            ) as holds_left
        from schedules s
        join cancellations c on c.schedule_id = s.id
        cross join t
        cross join lateral (
            select count(distinct k.payment_id) as payments_left, count(distinct a.payment_id) as put_aside
            from tickets k left join refunds_put_aside a on a.payment_id = k.payment_id
            where k.schedule_id = s.id and k.live
        ) n
        where s.id = $2 or s.concert_id = $3
        order by s.starts_at, s.id
        ",
    )
    .bind(offset_ms)
    .bind(id)
    .bind(concert)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Progress::from).collect())
}

/// Cancelled dates that are not settled.
pub async fn open(conn: &mut Conn) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(r"select schedule_id from cancellations where settled_at is null")
        .fetch_all(conn)
        .await?)
}

/// Ends up to `limit` live holds of a cancelled date and frees their seats; answers how many. Holds
/// that are being paid or released are locked and passed over.
pub async fn release(conn: &mut Conn, offset_ms: i64, schedule: Uuid, limit: i64) -> Result<i64> {
    Ok(sqlx::query_scalar(
        r"
        with due as materialized (
            select id, schedule_id, seat_numbers from reservations
            where status = 'held' and schedule_id = $2 and expires_at > (select db_now($1))
            order by id
            limit $3
            for update skip locked
        ), gone as (
            update reservations r set status = 'cancelled' from due d where r.id = d.id
        ), ours as materialized (
            select s.number, s.hold_id from seats s
            join (select id, unnest(seat_numbers) as number from due) d on d.number = s.number and d.id = s.hold_id
            where s.schedule_id = $2 and s.state = 'held'
            order by s.number
            for update of s
        ), freed as (
            update seats s set state = 'free', hold_id = null, held_by = null, held_until = null
            from ours o
            where s.schedule_id = $2 and s.number = o.number and s.hold_id = o.hold_id and s.state = 'held'
        ), counted as (
            update cancellations set holds_released = holds_released + d.count
            from (select count(*)::integer as count from due) d
            where schedule_id = $2 and d.count > 0
        )
        select count(*) from due
        ",
    )
    .bind(offset_ms)
    .bind(schedule)
    .bind(limit)
    .fetch_one(conn)
    .await?)
}

/// Payments of a cancelled date with live tickets, their reservations locked until the transaction
/// ends, in the order of users; what others have locked or was put aside is passed over.
pub async fn lock_payments(
    conn: &mut Conn,
    offset_ms: i64,
    schedule: Uuid,
    limit: i64,
) -> Result<Vec<Refundable>> {
    let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
        r"
        with waiting as materialized (
            select payment_id from refunds_put_aside where again_at > (select db_now($1))
        ), next as materialized (
            select k.payment_id from tickets k
            where k.schedule_id = $2 and k.live
                and not exists (select 1 from waiting w where w.payment_id = k.payment_id)
            order by k.number
            limit 16 * $3
        )
        select p.id, r.id, p.user_id
        from payments p join reservations r on r.id = p.reservation_id
        where p.id in (select payment_id from next) and r.status = 'confirmed'
        order by p.user_id, p.id
        limit $3
        for update of r skip locked
        ",
    )
    .bind(offset_ms)
    .bind(schedule)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let refundable = |(payment_id, reservation_id, user)| Refundable {
        payment_id,
        reservation_id,
        schedule_id: schedule,
        user,
    };
    Ok(rows.into_iter().map(refundable).collect())
}

/// Counts payments as refunded, and forgets that any of them was put aside.
pub async fn refunded(conn: &mut Conn, schedule: Uuid, payments: &[Uuid]) -> Result<()> {
    sqlx::query(
        r"
        with found as (
            delete from refunds_put_aside where payment_id = any($2)
        )
        update cancellations set payments_refunded = payments_refunded + cardinality($2::uuid[])
        where schedule_id = $1
        ",
    )
    .bind(schedule)
    .bind(payments)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a refund aside for so long; answers whether it was not before.
pub async fn put_aside(
    conn: &mut Conn,
    offset_ms: i64,
    payment: Uuid,
    reason: &str,
    seconds: i64,
) -> Result<bool> {
    Ok(sqlx::query_scalar(
        r"
        insert into refunds_put_aside as a (payment_id, reason, since, again_at)
        select $2, $3, t.now, t.now + $4 * interval '1 second' from (select db_now($1) as now) t
        on conflict on constraint refunds_put_aside_pkey do update
            set reason = excluded.reason, again_at = excluded.again_at
        returning a.since = a.again_at - $4 * interval '1 second'
        ",
    )
    .bind(offset_ms)
    .bind(payment)
    .bind(reason)
    .bind(seconds)
    .fetch_one(conn)
    .await?)
}

/// Settles the dates of which nothing is left `seconds` after they were cancelled, and forgets refunds
/// that were put aside and made in another way.
pub async fn settle(conn: &mut Conn, offset_ms: i64, seconds: i64) -> Result<()> {
    sqlx::query(
        r"
        with t as materialized (select db_now($1) as now), made as (
            delete from refunds_put_aside a
            where not exists (select 1 from tickets k where k.payment_id = a.payment_id and k.live)
        )
        update cancellations c set settled_at = t.now
        from t, schedules s
        where c.settled_at is null and s.id = c.schedule_id
            and s.cancelled_at <= t.now - $2 * interval '1 second'
            and not exists (select 1 from tickets where schedule_id = s.id and live)
            and not exists (
                select 1 from reservations
                where status = 'held' and schedule_id = s.id and expires_at > t.now
            )
        ",
    )
    .bind(offset_ms)
    .bind(seconds)
    .execute(conn)
    .await?;
    Ok(())
}

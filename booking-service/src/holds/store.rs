//! `reservations` that are made, and the seats they hold.

use chrono::{DateTime, Utc};
use shared::page::PageOf;
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{Reservation, Standing, Status, remaining_seconds, reserved};
use crate::db::{Conn, Result};

#[derive(FromRow)]
struct ReservationRow {
    id: Uuid,
    schedule_id: Uuid,
    seat_numbers: Vec<i32>,
    prices: Vec<i64>,
    amount: i64,
    held_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    extended: bool,
    status: String,
    now: DateTime<Utc>,
    payment_id: Option<Uuid>,
}

impl From<ReservationRow> for Reservation {
    fn from(row: ReservationRow) -> Self {
        // The CHECK on the column knows the same words.
        let status = Status::parse(&row.status).unwrap_or(Status::Expired);
        let written = Standing { status, expires_at: row.expires_at, extended: row.extended };
        let status = written.at(row.now).status;
        Self {
            reservation_id: row.id,
            status,
            schedule_id: row.schedule_id,
            seats: reserved(row.seat_numbers, row.prices),
            amount: row.amount,
            held_at: row.held_at,
            expires_at: row.expires_at,
            extended: row.extended,
            remaining_seconds: remaining_seconds(status, row.expires_at, row.now),
            payment_id: row.payment_id,
            seen_at: row.now,
        }
    }
}

/// Reservations of a user, the newest first; `only` one, of one status, after a cursor.
pub async fn reservations(
    conn: &mut Conn,
    offset_ms: i64,
    user: &str,
    only: Option<Uuid>,
    status: Option<Status>,
    page: &PageOf<Uuid>,
) -> Result<Vec<Reservation>> {
    let rows: Vec<ReservationRow> = sqlx::query_as(
        r"
        with t as materialized (select db_now($1) as now), shown as (
            select r.*, t.now,
                case when r.status = 'held' and r.expires_at <= t.now then 'expired' else r.status end as shown
            from reservations r cross join t
            where r.user_id = $2 and ($3::uuid is null or r.id = $3) and ($5::uuid is null or r.id < $5)
        )
        select s.id, s.schedule_id, s.seat_numbers, s.prices, s.amount, s.held_at, s.expires_at, s.extended,
            s.status, s.now, p.id as payment_id
        from shown s left join payments p on p.reservation_id = s.id
        where $4::text is null or s.shown = $4
        order by s.id desc
        limit $6
        ",
    )
    .bind(offset_ms)
    .bind(user)
    .bind(only)
    .bind(status.map(Status::word))
    .bind(page.after)
    .bind(page.rows())
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Reservation::from).collect())
}

/// The queue that was in front of a reservation when it was made.
pub async fn queue_of(conn: &mut Conn, id: Uuid) -> Result<Option<String>> {
    Ok(sqlx::query_scalar(r"select queue from reservations where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// Ends a hold before its deadline and frees its seats; answers its date, `None` when there is no such live hold.
pub async fn cancel(conn: &mut Conn, offset_ms: i64, user: &str, id: Uuid) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar(
        r"
        with gone as (
            update reservations set status = 'cancelled'
            where id = $2 and user_id = $3 and status = 'held' and expires_at > db_now($1)
            returning id, schedule_id, seat_numbers
        ), locked as materialized (
            select s.schedule_id, s.number, s.hold_id from seats s join gone g
                on s.schedule_id = g.schedule_id and s.number = any(g.seat_numbers) and s.hold_id = g.id
            order by s.number
            for update of s
        ), freed as (
            update seats s set state = 'free', hold_id = null, held_by = null, held_until = null
            from locked l
            where s.schedule_id = l.schedule_id and s.number = l.number
                and s.hold_id = l.hold_id and s.state = 'held'
        )
        select schedule_id from gone
        ",
    )
    .bind(offset_ms)
    .bind(id)
    .bind(user)
    .fetch_optional(conn)
    .await?)
}

/// Moves the deadline of a hold, once and before it; `None` when there is no such hold. The seats' locks
/// may be waited for: all must still be its own, and the deadline ahead, when the last is won.
pub async fn extend(
    conn: &mut Conn,
    offset_ms: i64,
    user: &str,
    id: Uuid,
    seconds: u32,
) -> Result<Option<Reservation>> {
    let row: Option<ReservationRow> = sqlx::query_as(
        r"
        with ours as materialized (
            select id, schedule_id, seat_numbers, seat_count from reservations
            where id = $2 and user_id = $3 and status = 'held' and not extended and expires_at > db_now($1)
            for update
        ), locked as materialized (
            select s.schedule_id, s.number from seats s join ours o
                on s.schedule_id = o.schedule_id and s.number = any(o.seat_numbers) and s.hold_id = o.id
            where s.state = 'held'
            order by s.number
            for update of s
        ), t as materialized (
            select count(*) as seats, db_now($1) as now from locked
        ), longer as (
            update reservations r
            set expires_at = r.expires_at + make_interval(secs => $4), extended = true
            from ours o, t
            where r.id = o.id and o.seat_count = t.seats and r.expires_at > t.now
            returning r.*, t.now
        ), kept as (
            update seats s set held_until = r.expires_at
            from locked l, longer r
            where s.schedule_id = l.schedule_id and s.number = l.number and s.hold_id = r.id
        )
        select id, schedule_id, seat_numbers, prices, amount, held_at, expires_at, extended, status, now,
            null::uuid as payment_id
        from longer
        ",
    )
    .bind(offset_ms)
    .bind(id)
    .bind(user)
    .bind(f64::from(seconds))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Reservation::from))
}

/// Ends up to `limit` holds past their deadline and frees their seats; answers the date of each. A hold
/// that is being paid is locked and passed over; a seat that has a new holder is not touched.
pub async fn sweep(conn: &mut Conn, offset_ms: i64, limit: i64) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(
        r"
        with due as materialized (
            select id, schedule_id, seat_numbers from reservations
            where status = 'held' and expires_at <= (select db_now($1))
            order by expires_at
            limit $2
            for update skip locked
        ), gone as (
            update reservations r set status = 'expired' from due d where r.id = d.id
        ), freed as (
            update seats s set state = 'free', hold_id = null, held_by = null, held_until = null
            from (select id, schedule_id, unnest(seat_numbers) as number from due) d
            where s.schedule_id = d.schedule_id and s.number = d.number
                and s.hold_id = d.id and s.state = 'held'
        )
        select schedule_id from due
        ",
    )
    .bind(offset_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

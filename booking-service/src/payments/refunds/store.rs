//! `refunds`, and what a refund does to tickets, reservation and seats.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{Reason, RefundLine, Refundable, Ticket};
use crate::db::{Conn, Result};

/// A user's own payment, its reservation locked until the transaction ends.
pub async fn lock(conn: &mut Conn, user: &str, payment: Uuid) -> Result<Option<Refundable>> {
    let row: Option<(Uuid, Uuid)> = sqlx::query_as(
        r"
        select r.id, r.schedule_id from payments p join reservations r on r.id = p.reservation_id
        where p.id = $1 and p.user_id = $2
        for update of r
        ",
    )
    .bind(payment)
    .bind(user)
    .fetch_optional(conn)
    .await?;
    let user = user.to_owned();
    Ok(row.map(|(reservation_id, schedule_id)| Refundable {
        payment_id: payment,
        reservation_id,
        schedule_id,
        user,
    }))
}

/// What was paid, seat by seat.
pub async fn tickets(conn: &mut Conn, payment: Uuid) -> Result<Vec<Ticket>> {
    let rows: Vec<(i32, i64, bool)> =
        sqlx::query_as(r"select number, price, live from tickets where payment_id = $1 order by number")
            .bind(payment)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(number, price, live)| Ticket { number, price, live }).collect())
}

/// A refund to be made.
pub struct NewRefund<'a> {
    pub id: Uuid,
    pub of: &'a Refundable,
    pub numbers: &'a [i32],
    pub amount: i64,
    pub reason: Reason,
}

/// Writes the refund down: tickets ended, reservation counted down, `refunded` with the last seat;
/// answers when that was and how many tickets. `None` once the show has started, which is no matter
/// to a cancellation.
pub async fn record(
    conn: &mut Conn,
    offset_ms: i64,
    new: &NewRefund<'_>,
) -> Result<Option<(DateTime<Utc>, i64)>> {
    Ok(sqlx::query_as(
        r"
        with t as materialized (
            select db_now($1) as now
        ), refunded as (
            insert into refunds (id, payment_id, user_id, amount, refunded_at, seat_numbers, reason)
            select $2, p.id, p.user_id, $5, t.now, $4, $6
            from payments p join schedules s on s.id = p.schedule_id cross join t
            where p.id = $3 and (s.starts_at > t.now or $6 = 'cancellation')
            returning id, payment_id, refunded_at
        ), ended as (
            update tickets k set refund_id = f.id from refunded f
            where k.payment_id = f.payment_id and k.number = any($4) and k.refund_id is null
            returning k.price
        ), counted as (
            select count(*) as seats, sum(price) as points from ended
        ), moved as (
            update reservations r
            set refunded_count = r.refunded_count + c.seats,
                refunded_amount = r.refunded_amount + c.points,
                status = case when r.refunded_count + c.seats = r.seat_count then 'refunded' else r.status end
            from refunded f join payments p on p.id = f.payment_id cross join counted c
            where r.id = p.reservation_id and r.status = 'confirmed' and c.seats > 0
        )
        select f.refunded_at, c.seats from refunded f cross join counted c
        ",
    )
    .bind(offset_ms)
    .bind(new.id)
    .bind(new.of.payment_id)
    .bind(new.numbers)
    .bind(new.amount)
    .bind(new.reason.word())
    .fetch_optional(conn)
    .await?)
}

/// Frees those of the seats that the reservation bought; answers how many.
pub async fn free(conn: &mut Conn, of: &Refundable, numbers: &[i32]) -> Result<i64> {
    Ok(sqlx::query_scalar(
        r"
        with ours as materialized (
            select number from seats
            where schedule_id = $2 and number = any($3) and hold_id = $1 and state = 'sold'
            order by number
            for update
        ), freed as (
            update seats s set state = 'free', hold_id = null, held_by = null
            from ours o
            where s.schedule_id = $2 and s.number = o.number and s.hold_id = $1 and s.state = 'sold'
            returning 1
        )
        select count(*) from freed
        ",
    )
    .bind(of.reservation_id)
    .bind(of.schedule_id)
    .bind(numbers)
    .fetch_one(conn)
    .await?)
}

#[derive(FromRow)]
struct LineRow {
    id: Uuid,
    amount: i64,
    seat_numbers: Vec<i32>,
    reason: String,
    refunded_at: DateTime<Utc>,
}

/// The refunds of a payment, in the order in which they were made.
pub async fn lines(conn: &mut Conn, payment: Uuid) -> Result<Vec<RefundLine>> {
    let rows: Vec<LineRow> = sqlx::query_as(
        r"
        select id, amount, seat_numbers, reason, refunded_at from refunds
        where payment_id = $1
        order by refunded_at, id
        ",
    )
    .bind(payment)
    .fetch_all(conn)
    .await?;
    let line = |row: LineRow| RefundLine {
        refund_id: row.id,
        amount: row.amount,
        seat_numbers: row.seat_numbers,
        // The CHECK on the column knows the same words.
        reason: Reason::parse(&row.reason).unwrap_or(Reason::Request),
        refunded_at: row.refunded_at,
    };
    Ok(rows.into_iter().map(line).collect())
}

//! `payments`, `tickets`, and what a payment does to seats and reservation.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{Paid, Payable};
use crate::admitted::Entry;
use crate::db::{Conn, Result};
use crate::holds::{Status, reserved};

#[derive(FromRow)]
struct PayableRow {
    schedule_id: Uuid,
    queue: String,
    status: String,
    amount: i64,
    seat_numbers: Vec<i32>,
    prices: Vec<i64>,
    entry_jti: Option<String>,
    entry_queue: Option<String>,
    entry_exp: Option<i64>,
    is_cancelled: bool,
    shown_is_spent: bool,
}

/// A user's own reservation, locked until the transaction ends; `jti` of the entry token shown.
pub async fn lock_payable(
    conn: &mut Conn,
    user: &str,
    reservation: Uuid,
    jti: Option<&str>,
) -> Result<Option<Payable>> {
    let row: Option<PayableRow> = sqlx::query_as(
        r"
        select r.schedule_id, r.queue, r.status, r.amount, r.seat_numbers, r.prices,
            r.entry_jti, r.entry_queue, r.entry_exp,
            exists (select 1 from spent_entries where jti = $3) as shown_is_spent,
            exists (select 1 from schedules where id = r.schedule_id and cancelled_at is not null) as is_cancelled
        from reservations r
        where r.id = $1 and r.user_id = $2
        for update
        ",
    )
    .bind(reservation)
    .bind(user)
    .bind(jti)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let entry = row.entry_jti.zip(row.entry_queue).zip(row.entry_exp);
        Payable {
            reservation_id: reservation,
            schedule_id: row.schedule_id,
            queue: row.queue,
            status: Status::parse(&row.status).unwrap_or(Status::Expired),
            amount: row.amount,
            seats: reserved(row.seat_numbers, row.prices),
            entry: entry.map(|((jti, queue), exp)| Entry { jti, queue, exp }),
            is_cancelled: row.is_cancelled,
            shown_is_spent: row.shown_is_spent,
        }
    }))
}

/// Whether an entry token was spent.
pub async fn is_spent(conn: &mut Conn, jti: Option<&str>) -> Result<bool> {
    Ok(sqlx::query_scalar(r"select exists (select 1 from spent_entries where jti = $1)")
        .bind(jti)
        .fetch_one(conn)
        .await?)
}

/// The payment of a reservation.
pub async fn payment_of(conn: &mut Conn, reservation: Uuid) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar(r"select id from payments where reservation_id = $1")
        .bind(reservation)
        .fetch_optional(conn)
        .await?)
}

/// Sells the seats that the hold still has, before its deadline; answers how many that were.
pub async fn sell(conn: &mut Conn, offset_ms: i64, payable: &Payable) -> Result<usize> {
    let numbers: Vec<i32> = payable.seats.iter().map(|seat| seat.number).collect();
    let sold: i64 = sqlx::query_scalar(
        r"
        with ours as materialized (
            select number from seats
            where schedule_id = $2 and number = any($3) and hold_id = $4 and state = 'held'
                and held_until > (select db_now($1))
            order by number
            for update
        ), sold as (
            update seats s set state = 'sold', held_until = null
            from ours o
            where s.schedule_id = $2 and s.number = o.number and s.hold_id = $4 and s.state = 'held'
            returning 1
        )
        select count(*) from sold
        ",
    )
    .bind(offset_ms)
    .bind(payable.schedule_id)
    .bind(numbers)
    .bind(payable.reservation_id)
    .fetch_one(conn)
    .await?;
    Ok(usize::try_from(sold).unwrap_or_default())
}

/// Writes the payment down: reservation confirmed, payment, tickets. The deadline is compared once
/// more, after every lock was won: `None` when it has passed meanwhile.
pub async fn record(
    conn: &mut Conn,
    offset_ms: i64,
    payment: Uuid,
    payable: &Payable,
    balance_after: i64,
) -> Result<Option<Paid>> {
    let paid_at: Option<DateTime<Utc>> = sqlx::query_scalar(
        r"
        with t as materialized (
            select db_now($1) as now
        ), confirmed as (
            update reservations r set status = 'confirmed' from t
            where r.id = $3 and r.status = 'held' and r.expires_at > t.now
            returning r.id, r.schedule_id, r.user_id, r.seat_count, r.amount, r.seat_numbers, r.prices, t.now
        ), paid as (
            insert into payments (id, reservation_id, schedule_id, user_id, seat_count, amount, paid_at)
            select $2, id, schedule_id, user_id, seat_count, amount, now from confirmed
            returning paid_at
        ), issued as (
            insert into tickets (payment_id, schedule_id, number, price)
            select $2, c.schedule_id, seat.number, seat.price
            from confirmed c cross join unnest(c.seat_numbers, c.prices) as seat (number, price)
        )
        select paid_at from paid
        ",
    )
    .bind(offset_ms)
    .bind(payment)
    .bind(payable.reservation_id)
    .fetch_optional(conn)
    .await?;
    Ok(paid_at.map(|paid_at| Paid {
        payment_id: payment,
        reservation_id: payable.reservation_id,
        amount: payable.amount,
        balance_after,
        paid_at,
        seats: payable.seats.clone(),
    }))
}

#[derive(FromRow)]
struct ReceiptRow {
    id: Uuid,
    reservation_id: Uuid,
    schedule_id: Uuid,
    amount: i64,
    paid_at: DateTime<Utc>,
    seat_numbers: Vec<i32>,
    prices: Vec<i64>,
    balance_after: i64,
}

/// A user's own payment as it was made, and its date.
pub async fn paid(conn: &mut Conn, user: &str, payment: Uuid) -> Result<Option<(Paid, Uuid)>> {
    let row: Option<ReceiptRow> = sqlx::query_as(
        r"
        select p.id, p.reservation_id, p.schedule_id, p.amount, p.paid_at, r.seat_numbers, r.prices,
            l.balance_after
        from payments p
        join reservations r on r.id = p.reservation_id
        join ledger l on l.user_id = p.user_id and l.kind = 'payment' and l.cause = p.id
        where p.id = $1 and p.user_id = $2
        ",
    )
    .bind(payment)
    .bind(user)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let paid = Paid {
            payment_id: row.id,
            reservation_id: row.reservation_id,
            amount: row.amount,
            balance_after: row.balance_after,
            paid_at: row.paid_at,
            seats: reserved(row.seat_numbers, row.prices),
        };
        (paid, row.schedule_id)
    }))
}

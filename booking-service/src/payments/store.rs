//! `payments`, `tickets`, and what a payment does to seats and reservation.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{Paid, Payable};
use crate::admitted::Entry;
use crate::db::{Conn, Result};
use crate::holds::{Status, reserved};
use crate::outbox::spend_parts;
use crate::points::{Bill, Kind, debit_parts};

/// Which hold is to be paid, by whom.
pub struct Claim<'a> {
    pub reservation: Option<Uuid>,
    pub user: &'a str,
    /// Of the entry token shown.
    pub jti: Option<&'a str>,
}

/// What a claim meets.
pub struct Met {
    /// `None`: the user has no such reservation.
    pub payable: Option<Payable>,
    /// Whether the entry token that is shown was spent before.
    pub shown_is_spent: bool,
}

#[derive(FromRow)]
struct MetRow {
    shown_is_spent: bool,
    #[sqlx(flatten)]
    payable: PayableRow,
}

/// All null where there is none.
#[derive(FromRow)]
struct PayableRow {
    id: Option<Uuid>,
    schedule_id: Option<Uuid>,
    queue: Option<String>,
    status: Option<String>,
    amount: Option<i64>,
    seat_numbers: Option<Vec<i32>>,
    prices: Option<Vec<i64>>,
    entry_jti: Option<String>,
    entry_queue: Option<String>,
    entry_exp: Option<i64>,
    is_cancelled: bool,
    seats_held: i64,
}

/// Users' own reservations and the seats that these still hold, before their deadline; all of it locked until
/// the transaction ends. One answer for each claim, in their order.
pub async fn lock_payable(conn: &mut Conn, offset_ms: i64, claims: &[Claim<'_>]) -> Result<Vec<Met>> {
    let rows: Vec<MetRow> = sqlx::query_as(
        r"
        with given as materialized (
            select * from unnest($2::uuid[], $3::text[], $4::text[]) with ordinality
                as g (reservation_id, user_id, jti, ord)
        ), locked as materialized (
            select g.ord, r.* from (select * from given order by reservation_id) g
            cross join lateral (
                select id, schedule_id, queue, status, amount, seat_numbers, prices, entry_jti, entry_queue,
                    entry_exp
                from reservations where id = g.reservation_id and user_id = g.user_id
                for update
            ) r
        ), wanted as materialized (
            select ord, id, schedule_id, unnest(seat_numbers) as number from locked where status = 'held'
        ), seats_held as materialized (
            select w.ord from (select * from wanted order by schedule_id, number) w
            cross join lateral (
                select 1 from seats
                where schedule_id = w.schedule_id and number = w.number and hold_id = w.id and state = 'held'
                    and held_until > (select db_now($1))
                for update
            ) s
        ), counted as (
            select ord, count(*) as seats from seats_held group by ord
        )
        select l.id, l.schedule_id, l.queue, l.status, l.amount, l.seat_numbers, l.prices, l.entry_jti,
            l.entry_queue, l.entry_exp,
            coalesce((select true from spent_entries where jti = g.jti), false) as shown_is_spent,
            (select cancelled_at from schedules where id = l.schedule_id) is not null as is_cancelled,
            coalesce(c.seats, 0) as seats_held
        from given g left join locked l on l.ord = g.ord left join counted c on c.ord = g.ord
        order by g.ord
        ",
    )
    .bind(offset_ms)
    .bind(claims.iter().map(|claim| claim.reservation).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.user).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.jti).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let met = |row: MetRow| Met { payable: row.payable.payable(), shown_is_spent: row.shown_is_spent };
    Ok(rows.into_iter().map(met).collect())
}

impl PayableRow {
    fn payable(self) -> Option<Payable> {
        let (seat_numbers, prices) = (self.seat_numbers?, self.prices?);
        let entry = self.entry_jti.zip(self.entry_queue).zip(self.entry_exp);
        Some(Payable {
            reservation_id: self.id?,
            schedule_id: self.schedule_id?,
            queue: self.queue?,
            status: Status::parse(&self.status?).unwrap_or(Status::Expired),
            amount: self.amount?,
            has_its_seats: usize::try_from(self.seats_held) == Ok(seat_numbers.len()),
            seats: reserved(seat_numbers, prices),
            entry: entry.map(|((jti, queue), exp)| Entry { jti, queue, exp }),
            is_cancelled: self.is_cancelled,
        })
    }
}

/// The payment of a reservation.
pub async fn payment_of(conn: &mut Conn, reservation: Uuid) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar(r"select id from payments where reservation_id = $1")
        .bind(reservation)
        .fetch_optional(conn)
        .await?)
}

/// A payment that is to be made, of a reservation that is locked.
pub struct NewPayment<'a> {
    pub id: Uuid,
    pub bill: Bill<'a>,
    pub reservation: Uuid,
    /// The entry tokens that end with it, each with the id of the message that says so.
    pub ending: Vec<(Entry, Uuid)>,
}

/// What became of it: it was debited, at least.
pub struct Exchanged {
    pub payment: Uuid,
    pub balance_after: i64,
    /// When it was made; `None`: the deadline has overtaken it.
    pub paid_at: Option<DateTime<Utc>>,
    pub seats_sold: i64,
}

type ExchangedRow = (Option<Uuid>, Option<i64>, Option<DateTime<Utc>>, Option<i64>, Option<Vec<String>>);

const EXCHANGE: &str = concat!(
    r"
    with movements as materialized (
        select *, payment_id as cause, null::text as memo
        from unnest($4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::uuid[])
            as m (payment_id, reservation_id, user_id, amount, entry_id)
    ),",
    debit_parts!(),
    r", t as materialized (
        select db_now($1) as now from (select count(*) from debited) after_the_last_lock
    ), confirmed as (
        update reservations r set status = 'confirmed'
        from debited d cross join lateral (
            select ctid as place from reservations where id = d.reservation_id offset 0
        ) p cross join t
        where r.ctid = p.place and r.status = 'held' and r.expires_at > t.now
        returning d.payment_id, r.id, r.schedule_id, r.user_id, r.seat_count, r.amount, r.seat_numbers,
            r.prices, t.now
    ), wanted as materialized (
        select payment_id, id, schedule_id, seat.number, seat.price
        from confirmed cross join unnest(seat_numbers, prices) as seat (number, price)
    ), sold as (
        update seats s set state = 'sold', held_until = null
        from wanted w cross join lateral (
            select ctid as place from seats where schedule_id = w.schedule_id and number = w.number offset 0
        ) p
        where s.ctid = p.place and s.hold_id = w.id and s.state = 'held'
        returning w.payment_id
    ), paid as (
        insert into payments (id, reservation_id, schedule_id, user_id, seat_count, amount, paid_at)
        select payment_id, id, schedule_id, user_id, seat_count, amount, now from confirmed
    ), issued as (
        insert into tickets (payment_id, schedule_id, number, price)
        select payment_id, schedule_id, number, price from wanted
    ), counted as (
        select payment_id, count(*) as seats from sold group by payment_id
    ), ending as materialized (
        select e.jti, e.queue, e.exp, e.id
        from unnest($9::uuid[], $10::text[], $11::text[], $12::bigint[], $13::uuid[])
            as e (payment_id, jti, queue, exp, id)
        join debited d on d.payment_id = e.payment_id
    ),",
    spend_parts!(),
    r"
    select d.payment_id, d.balance, c.now, coalesce(n.seats, 0), null
    from debited d
    left join confirmed c on c.payment_id = d.payment_id
    left join counted n on n.payment_id = d.payment_id
    union all
    select null, null, null, null, array_agg(jti) from spent
    "
);

/// Makes payments of locked reservations, each of another user: points taken, confirmed, seats sold, payments, tickets,
/// entry tokens spent and told. Answers those that could be debited, and the `jti`s that were not spent before. The
/// deadline is compared once more, after every lock was won.
pub async fn exchange(
    conn: &mut Conn,
    offset_ms: i64,
    payments: &[NewPayment<'_>],
) -> Result<(Vec<Exchanged>, HashSet<String>)> {
    let ending: Vec<_> = payments
        .iter()
        .flat_map(|payment| payment.ending.iter().map(move |(entry, message)| (payment.id, entry, *message)))
        .collect();
    let rows: Vec<ExchangedRow> = sqlx::query_as(EXCHANGE)
        .bind(offset_ms)
        .bind(Kind::Payment.word())
        .bind(Kind::Payment.counter_account().word())
        .bind(payments.iter().map(|payment| payment.id).collect::<Vec<_>>())
        .bind(payments.iter().map(|payment| payment.reservation).collect::<Vec<_>>())
        .bind(payments.iter().map(|payment| payment.bill.user).collect::<Vec<_>>())
        .bind(payments.iter().map(|payment| payment.bill.amount.get()).collect::<Vec<_>>())
        .bind(payments.iter().map(|payment| payment.bill.entry_id).collect::<Vec<_>>())
        .bind(ending.iter().map(|(payment, ..)| *payment).collect::<Vec<_>>())
        .bind(ending.iter().map(|(_, entry, _)| entry.jti.as_str()).collect::<Vec<_>>())
        .bind(ending.iter().map(|(_, entry, _)| entry.queue.as_str()).collect::<Vec<_>>())
        .bind(ending.iter().map(|(_, entry, _)| entry.exp).collect::<Vec<_>>())
        .bind(ending.iter().map(|(.., message)| *message).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let (mut exchanged, mut spent) = (Vec::with_capacity(payments.len()), HashSet::new());
    for (payment, balance_after, paid_at, seats_sold, jtis) in rows {
        if let (Some(payment), Some(balance_after), Some(seats_sold)) = (payment, balance_after, seats_sold) {
            exchanged.push(Exchanged { payment, balance_after, paid_at, seats_sold });
        }
        spent.extend(jtis.into_iter().flatten());
    }
    Ok((exchanged, spent))
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

//! `payments`, `tickets`, and what a payment does to seats and reservation.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{Met, Paid, Payable};
use crate::admitted::Entry;
use crate::db::{Conn, Result};
use crate::holds::{Status, reserved};
use crate::outbox::spend_parts;
use crate::points::{Kind, able_parts, debit_parts};

/// Which hold is to be paid, by whom.
pub struct Claim<'a> {
    pub reservation: Option<Uuid>,
    pub user: &'a str,
    /// The entry token shown.
    pub entry: Option<&'a Entry>,
    /// The only queue behind which the user may pay; `None`: any.
    pub confined_to: Option<&'a str>,
}

/// A payment to be made, with the ids of what is written for it.
pub struct NewPayment<'a> {
    pub id: Uuid,
    pub claim: Claim<'a>,
    pub ledger_entry: Uuid,
    /// Of the messages that the entry token shown, and the one that made the hold, have ended.
    pub messages: [Uuid; 2],
}

/// A payment that was made.
pub struct Made {
    pub paid: Paid,
    pub schedule: Uuid,
    /// The queue in front of its date; an entry token of this one has ended, if it was shown.
    pub queue: String,
    /// The entry token that made the hold, where it was another.
    pub held_by: Option<Entry>,
}

/// What is to be done about a lock that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    Wait,
    /// It is not paid, then.
    PassOver,
}

macro_rules! pay {
    ($wait:literal) => {
        concat!(
            r"
    with given as materialized (
        select * from unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[],
            $11::uuid[], $12::uuid[], $13::uuid[], $14::uuid[])
            as g (reservation_id, user_id, jti, queue, exp, confined_to, payment_id, entry_id, shown_message,
                made_message)
    ), reserved as materialized (
        select g.payment_id, g.reservation_id, g.user_id, g.entry_id, g.shown_message, g.made_message,
            r.reservation_place, r.schedule_id, r.queue, r.seat_count, r.amount, r.seat_numbers, r.prices,
            r.expires_at, g.exp as shown_exp, r.entry_exp as made_exp,
            case when $4 and g.queue = r.queue then g.jti end as shown_jti,
            case when $4 and r.entry_queue = r.queue and r.entry_jti is distinct from g.jti
                then r.entry_jti end as made_jti
        from (select * from given order by reservation_id) g
        cross join lateral (
            select ctid as place from reservations where id = g.reservation_id offset 0
        ) seen
        cross join lateral (
            select ctid as reservation_place, schedule_id, queue, seat_count, amount, seat_numbers, prices,
                expires_at, entry_jti, entry_queue, entry_exp
            from reservations where id = g.reservation_id and user_id = g.user_id and status = 'held'
            for update ",
            $wait,
            r"
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
            for update ",
            $wait,
            r"
        ) s
        where s.seat_place = seen.place
    ), whole as materialized (
        select payment_id, count(*) as seats, min(held_until) as held_until from ours group by payment_id
    ), movements as materialized (
        select r.*, r.payment_id as cause, null::text as memo, least(r.expires_at, w.held_until) as until
        from reserved r join whole w on w.payment_id = r.payment_id and w.seats = r.seat_count
    ),",
            able_parts!($wait),
            r", t as materialized (
        select db_now($1) as now from (select count(*) from able) after_the_last_lock
    ), in_time as materialized (
        select a.*, t.now from able a cross join t where a.until > t.now
    ), shown as materialized (
        select shown_jti as jti, queue, shown_exp as exp, shown_message as id from in_time
        where shown_jti is not null
    ), ",
            spend_parts!("shown", "shown_spent", "shown_told"),
            r", clear as materialized (
        select p.* from in_time p left join shown_spent s on s.jti = p.shown_jti
        where p.shown_jti is null or s.jti is not null
    ), made as materialized (
        select made_jti as jti, queue, made_exp as exp, made_message as id from clear
        where made_jti is not null
    ), ",
            spend_parts!("made", "made_spent", "made_told"),
            ", ",
            debit_parts!("clear"),
            r", confirmed as (
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
    from debited
    "
        )
    };
}

const PAY: &str = pay!("");
const PAY_AT_ONCE: &str = pay!("skip locked");

#[derive(FromRow)]
struct MadeRow {
    id: Uuid,
    reservation_id: Uuid,
    schedule_id: Uuid,
    queue: String,
    amount: i64,
    balance: i64,
    paid_at: DateTime<Utc>,
    seat_numbers: Vec<i32>,
    prices: Vec<i64>,
    made_jti: Option<String>,
    made_exp: Option<i64>,
}

/// Makes the payments that can be made, each of another user, and answers them, in no order. Of one that cannot be made
/// nothing is written, and why that is, [`look`] says.
///
/// Everything is judged before anything is written: reservations, seats and accounts are locked, in this order and each in
/// its own; the time is read after the last lock was won. A row that somebody has written since the statement
/// began counts as not there: a lock finds its newest version, an update of that place would not. So what
/// is judged well is also written. Should it not be, the constraints of `payments` undo the statement: without a
/// confirmation there is no time, with fewer seats sold it is no payment of this reservation.
///
/// `tokens_end`: the entry token shown ends with it, and must not have ended before; so does the one that made the hold.
/// Each only if it is of the reservation's queue: while the gate is open one of another queue is a credential
/// and nothing more, and stays good for what it is for.
pub async fn pay(
    conn: &mut Conn,
    locked: Locked,
    offset_ms: i64,
    tokens_end: bool,
    new: &[NewPayment<'_>],
) -> Result<Vec<Made>> {
    let statement = match locked {
        Locked::Wait => PAY,
        Locked::PassOver => PAY_AT_ONCE,
    };
    let claims = || new.iter().map(|payment| &payment.claim);
    let shown = |of: fn(&Entry) -> &str| claims().map(|claim| claim.entry.map(of)).collect::<Vec<_>>();
    let rows: Vec<MadeRow> = sqlx::query_as(statement)
        .bind(offset_ms)
        .bind(Kind::Payment.word())
        .bind(Kind::Payment.counter_account().word())
        .bind(tokens_end)
        .bind(claims().map(|claim| claim.reservation).collect::<Vec<_>>())
        .bind(claims().map(|claim| claim.user).collect::<Vec<_>>())
        .bind(shown(|entry| &entry.jti))
        .bind(shown(|entry| &entry.queue))
        .bind(claims().map(|claim| claim.entry.map(|entry| entry.exp)).collect::<Vec<_>>())
        .bind(claims().map(|claim| claim.confined_to).collect::<Vec<_>>())
        .bind(new.iter().map(|payment| payment.id).collect::<Vec<_>>())
        .bind(new.iter().map(|payment| payment.ledger_entry).collect::<Vec<_>>())
        .bind(new.iter().map(|payment| payment.messages[0]).collect::<Vec<_>>())
        .bind(new.iter().map(|payment| payment.messages[1]).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(MadeRow::made).collect())
}

impl MadeRow {
    fn made(self) -> Made {
        let paid = Paid {
            payment_id: self.id,
            reservation_id: self.reservation_id,
            amount: self.amount,
            balance_after: self.balance,
            paid_at: self.paid_at,
            seats: reserved(self.seat_numbers, self.prices),
        };
        let queue = self.queue;
        let held_by = self.made_jti.zip(self.made_exp);
        let held_by = held_by.map(|(jti, exp)| Entry { jti, queue: queue.clone(), exp });
        Made { paid, schedule: self.schedule_id, queue, held_by }
    }
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
    queue: Option<String>,
    status: Option<String>,
    amount: Option<i64>,
    is_cancelled: bool,
    has_its_seats: bool,
}

/// What claims meet, without a lock; in their order.
pub async fn look(conn: &mut Conn, offset_ms: i64, claims: &[Claim<'_>]) -> Result<Vec<Met>> {
    let rows: Vec<MetRow> = sqlx::query_as(
        r"
        select r.id, r.queue, r.status, r.amount,
            coalesce((select true from spent_entries where jti = g.jti), false) as shown_is_spent,
            (select cancelled_at from schedules where id = r.schedule_id) is not null as is_cancelled,
            (
                select count(*) from unnest(r.seat_numbers) as wanted (number) cross join lateral (
                    select 1 from seats
                    where schedule_id = r.schedule_id and number = wanted.number and hold_id = r.id
                        and state = 'held' and held_until > (select db_now($1))
                ) s
            ) is not distinct from r.seat_count as has_its_seats
        from unnest($2::uuid[], $3::text[], $4::text[]) with ordinality as g (reservation_id, user_id, jti, ord)
        left join lateral (
            select id, schedule_id, queue, status, amount, seat_numbers, seat_count from reservations
            where id = g.reservation_id and user_id = g.user_id
            offset 0
        ) r on true
        order by g.ord
        ",
    )
    .bind(offset_ms)
    .bind(claims.iter().map(|claim| claim.reservation).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.user).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.entry.map(|entry| entry.jti.as_str())).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let met = |row: MetRow| Met { payable: row.payable.payable(), shown_is_spent: row.shown_is_spent };
    Ok(rows.into_iter().map(met).collect())
}

impl PayableRow {
    fn payable(self) -> Option<Payable> {
        Some(Payable {
            reservation_id: self.id?,
            queue: self.queue?,
            status: Status::parse(&self.status?).unwrap_or(Status::Expired),
            amount: self.amount?,
            is_cancelled: self.is_cancelled,
            has_its_seats: self.has_its_seats,
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

//! `reservations`, `buyers`, and the seats they hold.

use chrono::{DateTime, Utc};
use shared::page::PageOf;
use sqlx::FromRow;
use uuid::Uuid;

use super::best::{Left, Seat};
use super::model::{Reservation, Standing, Status, remaining_seconds, reserved};
use super::wish::{DateLook, Look, Wanted};
use crate::admitted::Entry;
use crate::db::{Conn, Result};

#[derive(FromRow)]
struct LookRow {
    spent: bool,
    queue: Option<String>,
    has_seats: Option<bool>,
    on_sale: Option<bool>,
    seat_limit: Option<i32>,
    owned: Option<i64>,
    has_section: Option<bool>,
    known: Vec<i32>,
    taken: Vec<i32>,
}

/// Everything that decides about a wish, seen in one moment, without a lock.
pub async fn look(
    conn: &mut Conn,
    offset_ms: i64,
    user: &str,
    schedule: Option<Uuid>,
    wanted: &Wanted,
    jti: Option<&str>,
) -> Result<Look> {
    let row: LookRow = sqlx::query_as(
        r"
        with t as materialized (select db_now($1) as now)
        select exists (select 1 from spent_entries where jti = $5) as spent,
            coalesce(s.queue, c.queue) as queue,
            s.sales_open_at <= t.now and t.now < s.sales_close_at and s.cancelled_at is null as on_sale,
            s.max_seats_per_user as seat_limit,
            exists (select 1 from seats where schedule_id = s.id) as has_seats,
            case when s.max_seats_per_user is null then 0 else (
                select coalesce(sum(r.seat_count - r.refunded_count), 0) from reservations r
                where r.user_id = $2 and r.schedule_id = s.id
                    and (r.status = 'confirmed' or (r.status = 'held' and r.expires_at > t.now))
            ) end as owned,
            $6::text is null or exists (
                select 1 from seats where schedule_id = s.id and section = $6
            ) as has_section,
            array(
                select number from seats where schedule_id = s.id and number = any($4) order by number
            ) as known,
            array(
                select number from seats
                where schedule_id = s.id and number = any($4)
                    and (state = 'sold' or (state = 'held' and held_until > t.now))
                order by number
            ) as taken
        from t left join schedules s on s.id = $3 left join concerts c on c.id = s.concert_id
        ",
    )
    .bind(offset_ms)
    .bind(user)
    .bind(schedule)
    .bind(wanted.named())
    .bind(jti)
    .bind(wanted.section())
    .fetch_one(conn)
    .await?;
    let date = row.queue.map(|queue| DateLook {
        queue,
        has_seats: row.has_seats.unwrap_or_default(),
        on_sale: row.on_sale.unwrap_or_default(),
        limit: row.seat_limit.map(i64::from),
        owned: row.owned.unwrap_or_default(),
        has_section: row.has_section.unwrap_or_default(),
        known: row.known,
        taken: row.taken,
    });
    Ok(Look { spent: row.spent, date })
}

/// Makes one user's wishes for one date wait for each other, until the transaction ends; and for what
/// is half-way with the user's holds: a payment or an extension that began in time makes a hold count
/// that a look without a lock takes for lapsed.
pub async fn line_up(conn: &mut Conn, schedule: Uuid, user: &str) -> Result<()> {
    sqlx::query(
        r"
        insert into buyers (schedule_id, user_id) values ($1, $2)
        on conflict on constraint buyers_pkey do update set user_id = excluded.user_id
        ",
    )
    .bind(schedule)
    .bind(user)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"select 1 from reservations where user_id = $2 and schedule_id = $1 and status = 'held' for share",
    )
    .bind(schedule)
    .bind(user)
    .execute(conn)
    .await?;
    Ok(())
}

/// A seat that can be held now.
#[derive(FromRow)]
pub struct FreeSeat {
    pub number: i32,
    section: Option<String>,
    row: Option<String>,
}

impl<'a> From<&'a FreeSeat> for Seat<'a> {
    fn from(seat: &'a FreeSeat) -> Self {
        let (section, row) = (seat.section.as_deref(), seat.row.as_deref());
        Self { number: seat.number, section, row, available: true }
    }
}

/// Until the transaction ends, the planner walks along an index. Of a new hall, which nobody has analyzed, it
/// would rather fetch all seats and sort them.
pub async fn walk_in_order(conn: &mut Conn) -> Result<()> {
    sqlx::query("set local enable_bitmapscan = off").execute(conn).await?;
    Ok(())
}

/// The first `most` seats of a date, or of one section, behind the seat number `after` that nobody visibly
/// has, in the order of their numbers.
pub async fn free_seats(
    conn: &mut Conn,
    offset_ms: i64,
    schedule: Uuid,
    section: Option<&str>,
    after: i32,
    most: i64,
) -> Result<Vec<FreeSeat>> {
    Ok(sqlx::query_as(
        r"
        select number, section, row from seats
        where schedule_id = $2 and number > $4 and ($3::text is null or section = $3)
            and (state = 'free' or (state = 'held' and held_until <= (select db_now($1))))
        order by number
        limit $5
        ",
    )
    .bind(offset_ms)
    .bind(schedule)
    .bind(section)
    .bind(after)
    .bind(most)
    .fetch_all(conn)
    .await?)
}

/// All that is left, seen in one moment: pieces that are read one after the other prove nothing, because a
/// seat may be freed behind the reader while another is taken before him.
pub async fn left(conn: &mut Conn, offset_ms: i64, schedule: Uuid, section: Option<&str>) -> Result<Left> {
    let (available, longest_run) = sqlx::query_as(
        r"
        with free as (
            select section, row,
                number - row_number() over (partition by section, row order by number) as run
            from seats
            where schedule_id = $2 and ($3::text is null or section = $3)
                and (state = 'free' or (state = 'held' and held_until <= (select db_now($1))))
        ), runs as (
            select count(*) as length from free group by section, row, run
        )
        select coalesce(sum(length), 0)::bigint as available, coalesce(max(length), 0) as longest_run from runs
        ",
    )
    .bind(offset_ms)
    .bind(schedule)
    .bind(section)
    .fetch_one(conn)
    .await?;
    Ok(Left { available, longest_run })
}

/// A hold to be made.
pub struct NewHold<'a> {
    pub id: Uuid,
    pub user: &'a str,
    pub schedule: Uuid,
    pub queue: &'a str,
    pub entry: Option<&'a Entry>,
    pub numbers: &'a [i32],
    pub ttl_seconds: u32,
}

/// Takes all seats or none: `None` when one could not be had at this moment. Seats are locked in
/// the order of their numbers, those that somebody is about to take are passed over.
pub async fn take(conn: &mut Conn, offset_ms: i64, new: &NewHold<'_>) -> Result<Option<Reservation>> {
    type Row = (Vec<i32>, Vec<i64>, i64, DateTime<Utc>, DateTime<Utc>);
    let row: Option<Row> = sqlx::query_as(
        r"
        with clock as materialized (
            select db_now($1) as now
        ), t as materialized (
            select now, now + make_interval(secs => $2) as until from clock
        ), sale as materialized (
            select s.id from schedules s cross join t
            where s.id = $3 and s.sales_open_at <= t.now and t.now < s.sales_close_at
                and s.cancelled_at is null
                and not exists (select 1 from spent_entries where jti = $7)
        ), picked as materialized (
            select number, price from seats
            where schedule_id = (select id from sale) and number = any($4)
                and (state = 'free' or (state = 'held' and held_until <= (select now from t)))
            order by number
            for update skip locked
        ), held as (
            update seats s set state = 'held', hold_id = $5, held_by = $6, held_until = t.until
            from picked p, t
            where s.schedule_id = $3 and s.number = p.number
                and (select count(*) from picked) = cardinality($4::integer[])
            returning s.number, s.price
        )
        insert into reservations (id, user_id, schedule_id, queue, entry_jti, entry_queue, entry_exp,
            seat_numbers, prices, seat_count, amount, held_at, expires_at, status)
        select $5, $6, $3, $8, $7, $9, $10, array_agg(h.number order by h.number),
            array_agg(h.price order by h.number), count(*), sum(h.price), t.now, t.until, 'held'
        from held h cross join t
        group by t.now, t.until
        having count(*) = cardinality($4::integer[])
        returning seat_numbers, prices, amount, held_at, expires_at
        ",
    )
    .bind(offset_ms)
    .bind(f64::from(new.ttl_seconds))
    .bind(new.schedule)
    .bind(new.numbers)
    .bind(new.id)
    .bind(new.user)
    .bind(new.entry.map(|entry| &entry.jti))
    .bind(new.queue)
    .bind(new.entry.map(|entry| &entry.queue))
    .bind(new.entry.map(|entry| entry.exp))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(numbers, prices, amount, held_at, expires_at)| Reservation {
        reservation_id: new.id,
        status: Status::Held,
        schedule_id: new.schedule,
        seats: reserved(numbers, prices),
        amount,
        held_at,
        expires_at,
        extended: false,
        remaining_seconds: remaining_seconds(Status::Held, expires_at, held_at),
        payment_id: None,
        seen_at: held_at,
    }))
}

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

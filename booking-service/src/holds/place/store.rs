//! What a wish meets, and the making of a hold: `reservations`, `buyers`, `seats`. The statements take many
//! wishes at once, of which no two want the same seat or are of the same user.
//!
//! Rows are looked up one by one, `cross join lateral (… for update)` or `(… offset 0)`, and updated by their
//! place: such a statement walks an index whatever the planner believes. Its plan is made once and kept, maybe
//! of a time when the tables were empty. Whether there is a row at all is asked with `order by … limit 1` for the same
//! reason: `exists` may believe that any page will do, and read a million seats of other halls first.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use crate::admitted::Entry;
use crate::db::{Conn, Result};
use crate::holds::best::{Left, Seat};
use crate::holds::model::{Reservation, Status, remaining_seconds, reserved};
use crate::holds::wish::{DateLook, Look, Wanted};

/// Whose wish is looked at, and for what.
pub struct Question<'a> {
    pub user: &'a str,
    pub schedule: Option<Uuid>,
    pub wanted: &'a Wanted,
    /// Of the entry token shown.
    pub jti: Option<&'a str>,
}

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

/// Everything that decides about wishes, seen in one moment, without a lock; in their order.
pub async fn look(conn: &mut Conn, offset_ms: i64, questions: &[Question<'_>]) -> Result<Vec<Look>> {
    let (wishes, numbers) = flat(questions.iter().map(|question| question.wanted.named()));
    let rows: Vec<LookRow> = sqlx::query_as(
        r"
        with t as materialized (
            select db_now($1) as now
        ), wish as materialized (
            select * from unnest($2::text[], $3::uuid[], $4::text[], $5::text[]) with ordinality
                as w (user_id, schedule_id, jti, section, ord)
        ), seen as materialized (
            select w.ord, s.number,
                s.state = 'sold' or (s.state = 'held' and s.held_until > t.now) as is_taken
            from unnest($6::bigint[], $7::integer[]) as n (ord, number)
            join wish w on w.ord = n.ord
            cross join lateral (
                select * from seats where schedule_id = w.schedule_id and number = n.number offset 0
            ) s
            cross join t
        ), by_wish as (
            select ord, array_agg(number order by number) as known,
                array_agg(number order by number) filter (where is_taken) as taken
            from seen group by ord
        )
        select coalesce((select true from spent_entries where jti = w.jti), false) as spent,
            coalesce(s.queue, c.queue) as queue,
            s.sales_open_at <= t.now and t.now < s.sales_close_at and s.cancelled_at is null as on_sale,
            s.max_seats_per_user as seat_limit,
            (select true from seats where schedule_id = s.id order by number limit 1) is not null as has_seats,
            case when s.max_seats_per_user is null then 0 else (
                select coalesce(sum(r.seat_count - r.refunded_count), 0) from reservations r
                where r.user_id = w.user_id and r.schedule_id = s.id
                    and (r.status = 'confirmed' or (r.status = 'held' and r.expires_at > t.now))
            ) end as owned,
            w.section is null or (
                select true from seats where schedule_id = s.id and section = w.section order by number limit 1
            ) is not null as has_section,
            coalesce(b.known, '{}') as known, coalesce(b.taken, '{}') as taken
        from wish w
        cross join t
        left join by_wish b on b.ord = w.ord
        left join schedules s on s.id = w.schedule_id
        left join concerts c on c.id = s.concert_id
        order by w.ord
        ",
    )
    .bind(offset_ms)
    .bind(questions.iter().map(|question| question.user).collect::<Vec<_>>())
    .bind(questions.iter().map(|question| question.schedule).collect::<Vec<_>>())
    .bind(questions.iter().map(|question| question.jti).collect::<Vec<_>>())
    .bind(questions.iter().map(|question| question.wanted.section()).collect::<Vec<_>>())
    .bind(wishes)
    .bind(numbers)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Look::from).collect())
}

impl From<LookRow> for Look {
    fn from(row: LookRow) -> Self {
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
        Self { spent: row.spent, date }
    }
}

/// The numbers of many wishes one after the other, each beside the ordinal of its wish, from 1 on.
fn flat(numbers: impl Iterator<Item = Vec<i32>>) -> (Vec<i64>, Vec<i32>) {
    (1..)
        .zip(numbers)
        .flat_map(|(wish, numbers)| numbers.into_iter().map(move |number| (wish, number)))
        .unzip()
}

/// Makes one user's wishes for one date wait for each other, until the transaction ends; and for what
/// is half-way with the user's holds: a payment or an extension that began in time makes a hold count
/// that a look without a lock takes for lapsed.
pub async fn line_up(conn: &mut Conn, buyers: &[(Uuid, &str)]) -> Result<()> {
    let (schedules, users): (Vec<Uuid>, Vec<&str>) = buyers.iter().copied().unzip();
    sqlx::query(
        r"
        insert into buyers (schedule_id, user_id)
        select * from unnest($1::uuid[], $2::text[]) as b (schedule_id, user_id) order by 1, 2
        on conflict on constraint buyers_pkey do update set user_id = excluded.user_id
        ",
    )
    .bind(&schedules)
    .bind(&users)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"
        select 1 from (select * from unnest($1::uuid[], $2::text[]) order by 1, 2) as b (schedule_id, user_id)
        cross join lateral (
            select 1 from reservations
            where user_id = b.user_id and schedule_id = b.schedule_id and status = 'held'
            order by id
            for share
        ) r
        ",
    )
    .bind(&schedules)
    .bind(&users)
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
    /// The only queue behind which the user may take seats; `None`: any.
    pub confined_to: Option<&'a str>,
    pub entry: Option<&'a Entry>,
    pub numbers: Vec<i32>,
    /// Whether the user has lined up: where seats are limited, nobody else takes any.
    pub lined_up: bool,
}

/// A hold that was made.
pub struct Taken {
    pub reservation: Reservation,
    /// The queue in front of its date.
    pub queue: String,
}

type TakenRow = (Uuid, Uuid, String, Vec<i32>, Vec<i64>, i64, DateTime<Utc>, DateTime<Utc>);

const TAKE: &str = r"
    with clock as materialized (
        select db_now($1) as now
    ), t as materialized (
        select now, now + make_interval(secs => $2) as until from clock
    ), wish as materialized (
        select w.*, coalesce(s.queue, c.queue) as queue
        from unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::bigint[],
            $10::integer[], $11::boolean[]) with ordinality
            as w (id, user_id, schedule_id, confined_to, jti, entry_queue, exp, seats, lined_up, ord)
        join schedules s on s.id = w.schedule_id
        join concerts c on c.id = s.concert_id
        cross join t
        where s.sales_open_at <= t.now and t.now < s.sales_close_at and s.cancelled_at is null
            and (w.confined_to is null or w.confined_to = coalesce(s.queue, c.queue))
            and (select true from spent_entries where jti = w.jti) is null
            and (s.max_seats_per_user is null or (w.lined_up and w.seats + (
                select coalesce(sum(r.seat_count - r.refunded_count), 0) from reservations r
                where r.user_id = w.user_id and r.schedule_id = s.id
                    and (r.status = 'confirmed' or (r.status = 'held' and r.expires_at > t.now))
            ) <= s.max_seats_per_user))
    ), wanted as (
        select w.*, n.number from unnest($12::bigint[], $13::integer[]) as n (ord, number)
        join wish w on w.ord = n.ord
        order by w.schedule_id, n.number
    ), picked as materialized (
        select w.*, s.place, s.price from wanted w cross join lateral (
            select ctid as place from seats where schedule_id = w.schedule_id and number = w.number offset 0
        ) seen cross join lateral (
            select ctid as place, price from seats
            where schedule_id = w.schedule_id and number = w.number
                and (state = 'free' or (state = 'held' and held_until <= (select now from t)))
            for update skip locked
        ) s
        where s.place = seen.place
    ), whole as materialized (
        select * from (select *, count(*) over (partition by ord) as got from picked) p where got = seats
    ), held as (
        update seats s set state = 'held', hold_id = w.id, held_by = w.user_id, held_until = t.until
        from whole w cross join t
        where s.ctid = w.place
    )
    insert into reservations (id, user_id, schedule_id, queue, entry_jti, entry_queue, entry_exp,
        seat_numbers, prices, seat_count, amount, held_at, expires_at, status)
    select w.id, w.user_id, w.schedule_id, w.queue, w.jti, w.entry_queue, w.exp,
        array_agg(w.number order by w.number), array_agg(w.price order by w.number), count(*), sum(w.price),
        t.now, t.until, 'held'
    from whole w cross join t
    group by w.id, w.user_id, w.schedule_id, w.queue, w.jti, w.entry_queue, w.exp, t.now, t.until
    returning id, schedule_id, queue, seat_numbers, prices, amount, held_at, expires_at
";

/// Takes all seats of a hold or none; answers the holds that could be made at this moment, in no order.
/// Seats are locked in the order of their numbers, those that somebody is about to take are passed over. So are those
/// that somebody has written since the statement began: a lock finds the row's newest version, where it now lies, and an
/// update of that place finds nothing, because the statement does not see what lies there.
pub async fn take(
    conn: &mut Conn,
    offset_ms: i64,
    ttl_seconds: u32,
    new: &[NewHold<'_>],
) -> Result<Vec<Taken>> {
    let (wishes, numbers) = flat(new.iter().map(|hold| hold.numbers.clone()));
    let count = |hold: &NewHold<'_>| i32::try_from(hold.numbers.len()).unwrap_or(i32::MAX);
    let entry = |of: fn(&Entry) -> &str| new.iter().map(|hold| hold.entry.map(of)).collect::<Vec<_>>();
    let rows: Vec<TakenRow> = sqlx::query_as(TAKE)
        .bind(offset_ms)
        .bind(f64::from(ttl_seconds))
        .bind(new.iter().map(|hold| hold.id).collect::<Vec<_>>())
        .bind(new.iter().map(|hold| hold.user).collect::<Vec<_>>())
        .bind(new.iter().map(|hold| hold.schedule).collect::<Vec<_>>())
        .bind(new.iter().map(|hold| hold.confined_to).collect::<Vec<_>>())
        .bind(entry(|entry| &entry.jti))
        .bind(entry(|entry| &entry.queue))
        .bind(new.iter().map(|hold| hold.entry.map(|entry| entry.exp)).collect::<Vec<_>>())
        .bind(new.iter().map(count).collect::<Vec<_>>())
        .bind(new.iter().map(|hold| hold.lined_up).collect::<Vec<_>>())
        .bind(wishes)
        .bind(numbers)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(taken).collect())
}

fn taken(row: TakenRow) -> Taken {
    let (id, schedule_id, queue, numbers, prices, amount, held_at, expires_at) = row;
    let reservation = Reservation {
        reservation_id: id,
        status: Status::Held,
        schedule_id,
        seats: reserved(numbers, prices),
        amount,
        held_at,
        expires_at,
        extended: false,
        remaining_seconds: remaining_seconds(Status::Held, expires_at, held_at),
        payment_id: None,
        seen_at: held_at,
    };
    Taken { reservation, queue }
}

//! `concerts`, `schedules`, `seats`, read.

use chrono::{DateTime, Utc};
use shared::page::PageOf;
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{Concert, Dates, Report, Schedule, TierReport};
use crate::db::{Conn, Result};

#[derive(FromRow)]
struct ConcertRow {
    id: Uuid,
    title: String,
    queue: String,
    created_at: DateTime<Utc>,
}

impl From<ConcertRow> for Concert {
    fn from(row: ConcertRow) -> Self {
        Self { concert_id: row.id, title: row.title, queue: row.queue, created_at: row.created_at }
    }
}

/// One concert.
pub async fn concert(conn: &mut Conn, id: Uuid) -> Result<Option<Concert>> {
    let row: Option<ConcertRow> =
        sqlx::query_as(r"select id, title, queue, created_at from concerts where id = $1")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(Concert::from))
}

/// Concerts after a cursor; `current_only`: those with a date whose sale has not ended.
pub async fn concerts(
    conn: &mut Conn,
    offset_ms: i64,
    page: &PageOf<Uuid>,
    current_only: bool,
) -> Result<Vec<Concert>> {
    let rows: Vec<ConcertRow> = sqlx::query_as(
        r"
        with t as materialized (select db_now($1) as now)
        select c.id, c.title, c.queue, c.created_at
        from concerts c cross join t
        where ($2::uuid is null or c.id > $2)
            and (not $3 or exists (
                select 1 from schedules s
                where s.concert_id = c.id and s.sales_close_at > t.now and s.starts_at > t.now
                    and s.cancelled_at is null
            ))
        order by c.id
        limit $4
        ",
    )
    .bind(offset_ms)
    .bind(page.after)
    .bind(current_only)
    .bind(page.rows())
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Concert::from).collect())
}

#[derive(FromRow)]
struct ScheduleRow {
    id: Uuid,
    concert_id: Uuid,
    queue: String,
    starts_at: DateTime<Utc>,
    sales_open_at: DateTime<Utc>,
    sales_close_at: DateTime<Utc>,
    max_seats_per_user: Option<i32>,
    cancelled_at: Option<DateTime<Utc>>,
    total: i64,
    remaining: i64,
}

impl From<ScheduleRow> for Schedule {
    fn from(row: ScheduleRow) -> Self {
        Self {
            schedule_id: row.id,
            concert_id: row.concert_id,
            queue: row.queue,
            starts_at: row.starts_at,
            sales_open_at: row.sales_open_at,
            sales_close_at: row.sales_close_at,
            max_seats_per_user: row.max_seats_per_user,
            cancelled_at: row.cancelled_at,
            seats_total: row.total,
            remaining: row.remaining,
            sold_out: row.total > 0 && row.remaining == 0,
        }
    }
}

/// Dates of a concert after a cursor, the earliest first.
pub async fn schedules(
    conn: &mut Conn,
    offset_ms: i64,
    concert: Uuid,
    dates: &Dates,
    page: &PageOf<(DateTime<Utc>, Uuid)>,
) -> Result<Vec<Schedule>> {
    let (after_start, after_id) = page.after.unzip();
    let rows: Vec<ScheduleRow> = sqlx::query_as(
        r"
        with t as materialized (select db_now($1) as now)
        select s.id, s.concert_id, coalesce(s.queue, c.queue) as queue, s.starts_at, s.sales_open_at,
            s.sales_close_at, s.max_seats_per_user, s.cancelled_at, n.total, n.remaining
        from schedules s
        join concerts c on c.id = s.concert_id
        cross join t
        cross join lateral (
            select count(*) as total,
                count(*) filter (
                    where s.cancelled_at is null and (state = 'free' or (state = 'held' and held_until <= t.now))
                ) as remaining
            from seats where schedule_id = s.id
        ) n
        where s.concert_id = $2
            and ($3::timestamptz is null or s.starts_at >= $3)
            and ($4::timestamptz is null or s.starts_at < $4)
            and (not $5 or (
                s.starts_at > t.now and s.sales_open_at <= t.now and t.now < s.sales_close_at
                and s.cancelled_at is null and n.remaining > 0
            ))
            and ($6::timestamptz is null or (s.starts_at, s.id) > ($6, $7::uuid))
        order by s.starts_at, s.id
        limit $8
        ",
    )
    .bind(offset_ms)
    .bind(concert)
    .bind(dates.from)
    .bind(dates.until)
    .bind(dates.bookable_only)
    .bind(after_start)
    .bind(after_id)
    .bind(page.rows())
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Schedule::from).collect())
}

/// One date.
pub async fn schedule(conn: &mut Conn, offset_ms: i64, id: Uuid) -> Result<Option<Schedule>> {
    let row: Option<ScheduleRow> = sqlx::query_as(
        r"
        with t as materialized (select db_now($1) as now)
        select s.id, s.concert_id, coalesce(s.queue, c.queue) as queue, s.starts_at, s.sales_open_at,
            s.sales_close_at, s.max_seats_per_user, s.cancelled_at, n.total, n.remaining
        from schedules s
        join concerts c on c.id = s.concert_id
        cross join t
        cross join lateral (
            select count(*) as total,
                count(*) filter (
                    where s.cancelled_at is null and (state = 'free' or (state = 'held' and held_until <= t.now))
                ) as remaining
            from seats where schedule_id = s.id
        ) n
        where s.id = $2
        ",
    )
    .bind(offset_ms)
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Schedule::from))
}

/// The queue in front of a date.
pub async fn queue_of_schedule(conn: &mut Conn, id: Uuid) -> Result<Option<String>> {
    Ok(sqlx::query_scalar(
        r"
        select coalesce(s.queue, c.queue) from schedules s join concerts c on c.id = s.concert_id
        where s.id = $1
        ",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?)
}

/// The queues that dates of a concert have of their own.
pub async fn own_queues(conn: &mut Conn, concert: Uuid) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        r"select distinct queue from schedules where concert_id = $1 and queue is not null",
    )
    .bind(concert)
    .fetch_all(conn)
    .await?)
}

/// How a date sells, and each of its prices, the dearest first; `None`: there is no such date.
pub async fn report(conn: &mut Conn, offset_ms: i64, schedule: Uuid) -> Result<Option<Report>> {
    type Row = (Option<String>, Option<i64>, i64, i64, i64, i64);
    let rows: Vec<Row> = sqlx::query_as(
        r"
        with t as materialized (select db_now($1) as now)
        select n.tier, n.price, count(n.number), count(*) filter (where n.state = 'sold'),
            count(*) filter (where n.state = 'held' and n.held_until > t.now),
            coalesce(sum(k.price), 0)::bigint
        from schedules s
        cross join t
        left join seats n on n.schedule_id = s.id
        left join tickets k on k.schedule_id = n.schedule_id and k.number = n.number and k.live
        where s.id = $2
        group by n.tier, n.price
        order by n.price desc, n.tier
        ",
    )
    .bind(offset_ms)
    .bind(schedule)
    .fetch_all(conn)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let tier = |(tier, price, seats_total, sold, held, revenue): Row| {
        // A date without seats is one row without a price.
        let free = seats_total - sold - held;
        price.map(|price| TierReport { tier, price, seats_total, sold, held, free, revenue })
    };
    Ok(Some(Report::new(schedule, rows.into_iter().filter_map(tier).collect())))
}

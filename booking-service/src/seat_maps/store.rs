//! `seats` read whole, and `seat_changes`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::hall::{DateLine, Loaded, SeatLine, State};
use crate::db::{Conn, Result};

#[derive(FromRow)]
struct SeatRow {
    number: i32,
    section: Option<String>,
    row: Option<String>,
    tier: Option<String>,
    price: i64,
    state: String,
    held_until: Option<DateTime<Utc>>,
}

/// A date and all its seats, and the snapshot that saw them; `None`: no such date.
pub async fn load(conn: &mut Conn, schedule: Uuid) -> Result<Option<Loaded>> {
    // The first statement's snapshot is the older one: changes between the two are heard of twice.
    let date: Option<(String, bool, String, DateTime<Utc>)> = sqlx::query_as(
        r"
        select coalesce(s.queue, c.queue), s.cancelled_at is not null, pg_current_snapshot()::text, db_now(0)
        from schedules s join concerts c on c.id = s.concert_id
        where s.id = $1
        ",
    )
    .bind(schedule)
    .fetch_optional(&mut *conn)
    .await?;
    let Some((queue, is_cancelled, snapshot, now)) = date else { return Ok(None) };
    let date = DateLine { queue, is_cancelled };
    let rows: Vec<SeatRow> = sqlx::query_as(
        r"
        select number, section, row, tier, price, state, held_until
        from seats where schedule_id = $1
        order by number
        ",
    )
    .bind(schedule)
    .fetch_all(conn)
    .await?;
    let seat = |row: SeatRow| SeatLine {
        number: row.number,
        section: row.section,
        row: row.row,
        tier: row.tier,
        price: row.price,
        state: state(&row.state, row.held_until),
    };
    Ok(Some(Loaded { date, snapshot, now, seats: rows.into_iter().map(seat).collect() }))
}

/// What a round brings.
pub struct News {
    /// The snapshot that it saw; the next round asks for what is not visible to it.
    pub snapshot: String,
    /// The database's time.
    pub now: DateTime<Utc>,
    /// The dates, as they are now.
    pub dates: Vec<(Uuid, DateLine)>,
    /// Seats that changed, as they are now.
    pub seats: Vec<(Uuid, i32, State)>,
}

#[derive(FromRow)]
struct NewsRow {
    snapshot: String,
    now: DateTime<Utc>,
    id: Uuid,
    queue: String,
    is_cancelled: bool,
    number: Option<i32>,
    state: Option<String>,
    held_until: Option<DateTime<Utc>>,
}

/// What has become visible of these dates since any of these snapshots; `None`: none of them exists.
pub async fn news(conn: &mut Conn, of: &[Uuid], since: &[String]) -> Result<Option<News>> {
    let (from, running) = unseen(since);
    let rows: Vec<NewsRow> = sqlx::query_as(
        r"
        with changed as materialized (
            select distinct c.schedule_id, n.number
            from seat_changes c cross join unnest(c.numbers) as n (number)
            where (c.change >= $2::text::xid8 or c.change = any($3::text[]::xid8[])) and c.schedule_id = any($1)
        ), seen as (
            select c.schedule_id, s.number, s.state, s.held_until
            from changed c join seats s on s.schedule_id = c.schedule_id and s.number = c.number
        )
        select pg_current_snapshot()::text as snapshot, db_now(0) as now, d.id,
            coalesce(d.queue, k.queue) as queue, d.cancelled_at is not null as is_cancelled, s.number, s.state, s.held_until
        from schedules d
        join concerts k on k.id = d.concert_id
        left join seen s on s.schedule_id = d.id
        where d.id = any($1)
        ",
    )
    .bind(of)
    .bind(from.to_string())
    .bind(running)
    .fetch_all(conn)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let (snapshot, now) = (first.snapshot.clone(), first.now);
    let (mut dates, mut seats): (Vec<(Uuid, DateLine)>, _) = (Vec::new(), Vec::new());
    for row in rows {
        if let (Some(number), Some(word)) = (row.number, row.state) {
            seats.push((row.id, number, state(&word, row.held_until)));
        }
        if dates.last().is_none_or(|(id, _)| *id != row.id) {
            dates.push((row.id, DateLine { queue: row.queue, is_cancelled: row.is_cancelled }));
        }
    }
    Ok(Some(News { snapshot, now, dates, seats }))
}

/// Up to `limit` of the oldest changes go when every replica has read them or begun anew; answers how
/// many went.
pub async fn sweep(conn: &mut Conn, limit: i64, age_seconds: f64) -> Result<u64> {
    let done = sqlx::query(
        r"
        delete from seat_changes where ctid = any(array(
            select ctid from seat_changes order by change limit $1
        )) and at < clock_timestamp() - make_interval(secs => $2)
        ",
    )
    .bind(limit)
    .bind(age_seconds)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn state(word: &str, held_until: Option<DateTime<Utc>>) -> State {
    match (word, held_until) {
        ("free", _) => State::Free,
        ("held", Some(until)) => State::Held { until },
        _ => State::Sold,
    }
}

/// What one of these snapshots did not see: every transaction from a number on, and those that ran when
/// it was taken. A snapshot is `xmin:xmax:xip,xip,…`.
fn unseen(since: &[String]) -> (u64, Vec<String>) {
    let parts = since.iter().map(|snapshot| snapshot.split(':').skip(1));
    let from = parts.clone().filter_map(|mut parts| parts.next()?.parse().ok()).min().unwrap_or_default();
    let running = parts.filter_map(|mut parts| parts.nth(1)).flat_map(|list| list.split(','));
    (from, running.filter(|xid| !xid.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_did_not_see_is_what_ran_and_what_came_later() {
        let of = |snapshots: &[&str]| unseen(&snapshots.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["731:735:732,734"]), (735, vec!["732".to_owned(), "734".to_owned()]));
        assert_eq!(of(&["731:731:"]), (731, vec![]));
        assert_eq!(of(&["731:740:732", "730:735:"]), (735, vec!["732".to_owned()]));
        assert_eq!(of(&["18446744073709551610:18446744073709551615:"]).0, u64::MAX);
        assert_eq!(of(&[]), (0, vec![]));
    }
}

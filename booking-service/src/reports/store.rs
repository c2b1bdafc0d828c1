//! `schedules` and `seats`, counted by queue.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::model::Left;
use crate::db::{Conn, Result};

/// What the queues of these dates have left, or all queues; and when that was. Queues without seats
/// on sale are left out; a cancelled date has seats and nothing left.
///
/// Seats are counted by which of their columns are null, as `seats_state_columns` wants it: less than
/// half the work of comparing states.
pub async fn left(
    conn: &mut Conn,
    offset_ms: i64,
    of: Option<&[Uuid]>,
) -> Result<Option<(DateTime<Utc>, Vec<Left>)>> {
    let rows: Vec<(DateTime<Utc>, String, i64, i64)> = sqlx::query_as(
        r"
        with t as materialized (
            select db_now($1) as now
        ), dates as materialized (
            select s.id, coalesce(s.queue, c.queue) as queue, s.sales_close_at, s.cancelled_at is null as takes_place
            from schedules s join concerts c on c.id = s.concert_id
        ), asked as materialized (
            select distinct queue from dates where $2::uuid[] is null or id = any($2)
        ), counted as (
            select d.queue, n.seats,
                case when d.takes_place then n.seats - n.sold - n.held else 0 end as free,
                case when d.takes_place then n.held else 0 end as held
            from dates d
            join asked using (queue)
            join t on d.sales_close_at > t.now
            cross join lateral (
                select count(*) as seats,
                    count(hold_id) - count(held_until) as sold,
                    count(*) filter (where held_until > (select now from t)) as held
                from seats where schedule_id = d.id
            ) n
        )
        select (select now from t), queue, sum(free)::bigint, sum(held)::bigint
        from counted
        group by queue
        having sum(seats) > 0
        order by queue
        ",
    )
    .bind(offset_ms)
    .bind(of)
    .fetch_all(conn)
    .await?;
    let as_of = rows.first().map(|(as_of, ..)| *as_of);
    let left = rows.into_iter().map(|(_, queue, remaining, held)| Left::new(queue, remaining, held));
    Ok(as_of.map(|as_of| (as_of, left.collect())))
}

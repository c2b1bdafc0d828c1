//! `concerts`, `schedules`, `seats`, written.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Setup;
use crate::catalog::hall::Block;
use crate::catalog::model::{Concert, Times};
use crate::db::{Conn, Result};

type ConcertRow = (Uuid, String, String, DateTime<Utc>);

fn concert((concert_id, title, queue, created_at): ConcertRow) -> Concert {
    Concert { concert_id, title, queue, created_at }
}

pub async fn insert_concert(
    conn: &mut Conn,
    offset_ms: i64,
    id: Uuid,
    title: &str,
    queue: &str,
) -> Result<Concert> {
    let row: ConcertRow = sqlx::query_as(
        r"
        insert into concerts (id, title, queue, created_at) values ($1, $2, $3, db_now($4))
        returning id, title, queue, created_at
        ",
    )
    .bind(id)
    .bind(title)
    .bind(queue)
    .bind(offset_ms)
    .fetch_one(conn)
    .await?;
    Ok(concert(row))
}

pub async fn update_concert(
    conn: &mut Conn,
    id: Uuid,
    title: Option<String>,
    queue: Option<String>,
) -> Result<Option<Concert>> {
    let row: Option<ConcertRow> = sqlx::query_as(
        r"
        update concerts set title = coalesce($2, title), queue = coalesce($3, queue) where id = $1
        returning id, title, queue, created_at
        ",
    )
    .bind(id)
    .bind(title)
    .bind(queue)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(concert))
}

pub async fn insert_schedule(
    conn: &mut Conn,
    offset_ms: i64,
    id: Uuid,
    concert: Uuid,
    new: &Setup,
) -> Result<()> {
    sqlx::query(
        r"
        insert into schedules (id, concert_id, queue, starts_at, sales_open_at, sales_close_at,
            max_seats_per_user, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, db_now($8))
        ",
    )
    .bind(id)
    .bind(concert)
    .bind(&new.queue)
    .bind(new.times.starts_at)
    .bind(new.times.sales_open_at)
    .bind(new.times.sales_close_at)
    .bind(new.max_seats_per_user)
    .bind(offset_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// A date as it is, locked until the transaction ends.
pub async fn lock_schedule(conn: &mut Conn, id: Uuid) -> Result<Option<(Setup, bool)>> {
    type Row = (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>, Option<i32>, Option<String>, bool);
    let row: Option<Row> = sqlx::query_as(
        r"
        select starts_at, sales_open_at, sales_close_at, max_seats_per_user, queue, cancelled_at is not null
        from schedules where id = $1 for update
        ",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(starts_at, sales_open_at, sales_close_at, max_seats_per_user, queue, is_cancelled)| {
        let times = Times { starts_at, sales_open_at, sales_close_at };
        (Setup { times, max_seats_per_user, queue }, is_cancelled)
    }))
}

pub async fn update_schedule(conn: &mut Conn, id: Uuid, new: &Setup) -> Result<()> {
    sqlx::query(
        r"
        update schedules
        set queue = $2, starts_at = $3, sales_open_at = $4, sales_close_at = $5, max_seats_per_user = $6
        where id = $1
        ",
    )
    .bind(id)
    .bind(&new.queue)
    .bind(new.times.starts_at)
    .bind(new.times.sales_open_at)
    .bind(new.times.sales_close_at)
    .bind(new.max_seats_per_user)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn has_seats(conn: &mut Conn, schedule: Uuid) -> Result<bool> {
    Ok(sqlx::query_scalar(r"select exists (select 1 from seats where schedule_id = $1)")
        .bind(schedule)
        .fetch_one(conn)
        .await?)
}

pub async fn insert_seats(conn: &mut Conn, schedule: Uuid, blocks: &[Block]) -> Result<()> {
    let sections: Vec<_> = blocks.iter().map(|block| block.section.as_deref()).collect();
    let rows: Vec<_> = blocks.iter().map(|block| block.row.as_deref()).collect();
    let froms: Vec<_> = blocks.iter().map(|block| block.from).collect();
    let tos: Vec<_> = blocks.iter().map(|block| block.to).collect();
    let prices: Vec<_> = blocks.iter().map(|block| block.price).collect();
    let tiers: Vec<_> = blocks.iter().map(|block| block.tier.as_deref()).collect();
    sqlx::query(
        r"
        insert into seats (schedule_id, number, section, row, price, tier)
        select $1, n, b.section, b.row, b.price, b.tier
        from unnest($2::text[], $3::text[], $4::integer[], $5::integer[], $6::bigint[], $7::text[])
            as b (section, row, first, last, price, tier)
        cross join generate_series(b.first, b.last) as n
        ",
    )
    .bind(schedule)
    .bind(sections)
    .bind(rows)
    .bind(froms)
    .bind(tos)
    .bind(prices)
    .bind(tiers)
    .execute(conn)
    .await?;
    Ok(())
}

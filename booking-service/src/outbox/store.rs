//! `outbox`, and the writing of `spent_entries`: the two are written together or not at all.

use std::time::Duration;

use uuid::Uuid;

use crate::admitted::Entry;
use crate::db::{Conn, Result};

/// The most messages that are counted for a gauge: a look, not a reading of the whole table.
const COUNTED: i64 = 100_000;

/// A completion the queue service has not heard yet.
pub struct Message {
    pub id: Uuid,
    pub jti: String,
    /// Since it was written.
    pub age_seconds: f64,
}

/// A queue that must still hear something.
pub struct Waiting {
    pub queue: String,
    /// Age of its oldest message in line; `None`: only one that stands aside is due.
    pub oldest_seconds: Option<f64>,
}

/// The part of a statement that spends entry tokens and writes the messages that say so. Before it stands
/// `$ending (jti, queue, exp, id)`, the id being the message's; behind it `$spent (jti)` has those that were not spent before.
macro_rules! spend_parts {
    ($ending:literal, $spent:literal, $told:literal) => {
        concat!(
            $spent,
            r" as (
            insert into spent_entries (jti, queue, exp)
            select jti, queue, exp from ",
            $ending,
            r" order by jti
            on conflict on constraint spent_entries_pkey do nothing
            returning jti
        ), ",
            $told,
            r" as (
            insert into outbox (id, queue, jti, exp)
            select e.id, e.queue, e.jti, e.exp from ",
            $ending,
            " e join ",
            $spent,
            " s on s.jti = e.jti
        )"
        )
    };
}
pub(crate) use spend_parts;

/// Spends entry tokens and writes the messages that say so; answers the `jti`s that were not spent
/// before. `ids` are for the messages, one per entry.
pub async fn spend(conn: &mut Conn, entries: &[Entry], ids: &[Uuid]) -> Result<Vec<String>> {
    let jtis: Vec<&str> = entries.iter().map(|entry| entry.jti.as_str()).collect();
    let queues: Vec<&str> = entries.iter().map(|entry| entry.queue.as_str()).collect();
    let exps: Vec<i64> = entries.iter().map(|entry| entry.exp).collect();
    let spent = sqlx::query_scalar(concat!(
        r"
        with ending as materialized (
            select * from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[]) as e (jti, queue, exp, id)
        ),",
        spend_parts!("ending", "spent", "told"),
        "select jti from spent"
    ))
    .bind(jtis)
    .bind(queues)
    .bind(exps)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(spent)
}

/// The queues that have messages in line, or one aside that is due; those that wait longest first. Walks from queue to
/// queue through the indexes: the table is mostly rows that were deleted a moment ago.
pub async fn queues(conn: &mut Conn) -> Result<Vec<Waiting>> {
    let rows: Vec<(String, Option<f64>)> = sqlx::query_as(
        r"
        with recursive line as (
            (select queue, created_at from outbox where refused_at is null order by queue, id limit 1)
            union all
            select next.* from line cross join lateral (
                select queue, created_at from outbox
                where refused_at is null and queue > line.queue
                order by queue, id
                limit 1
            ) next
        ), aside as (
            (
                select queue from outbox
                where refused_at is not null and next_attempt_at <= (select clock_timestamp())
                order by queue, id
                limit 1
            )
            union all
            select next.* from aside cross join lateral (
                select queue from outbox
                where refused_at is not null and next_attempt_at <= (select clock_timestamp())
                    and queue > aside.queue
                order by queue, id
                limit 1
            ) next
        )
        select queue, max(extract(epoch from clock_timestamp() - created_at))::double precision
        from (select queue, created_at from line union all select queue, null from aside) all_of_them
        group by queue
        order by 2 desc nulls last
        ",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(queue, oldest_seconds)| Waiting { queue, oldest_seconds }).collect())
}

/// Takes the oldest messages that are in line for `queue` and not leased, for `lease`. Until it is
/// over no other replica takes them.
pub async fn lease(conn: &mut Conn, queue: &str, limit: u16, lease: Duration) -> Result<Vec<Message>> {
    let rows: Vec<(Uuid, String, f64)> = sqlx::query_as(
        r"
        with due as (
            select id from outbox
            where queue = $1 and refused_at is null and next_attempt_at <= (select clock_timestamp())
            order by id
            limit $2
            for update skip locked
        ), leased as (
            update outbox o
            set attempts = o.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $3)
            from due
            where o.id = due.id
            returning o.id, o.jti, extract(epoch from clock_timestamp() - o.created_at)::double precision as age
        )
        select id, jti, age from leased order by id
        ",
    )
    .bind(queue)
    .bind(i64::from(limit))
    .bind(lease.as_secs_f64())
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id, jti, age_seconds)| Message { id, jti, age_seconds }).collect())
}

/// Takes one message of `queue` that stands aside and is due, for `lease`.
pub async fn lease_aside(conn: &mut Conn, queue: &str, lease: Duration) -> Result<Option<Message>> {
    let row: Option<(Uuid, String, f64)> = sqlx::query_as(
        r"
        with due as (
            select id from outbox
            where queue = $1 and refused_at is not null and next_attempt_at <= (select clock_timestamp())
            order by id
            limit 1
            for update skip locked
        )
        update outbox o
        set attempts = o.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $2)
        from due
        where o.id = due.id
        returning o.id, o.jti, extract(epoch from clock_timestamp() - o.created_at)::double precision
        ",
    )
    .bind(queue)
    .bind(lease.as_secs_f64())
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(id, jti, age_seconds)| Message { id, jti, age_seconds }))
}

/// The queue service has heard these; nobody else touches them while they are leased. Each is found through the key,
/// whatever the planner believes of a table that is mostly rows that were deleted a moment ago.
pub async fn delivered(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    sqlx::query(
        r"
        delete from outbox where ctid = any(array(
            select told.ctid
            from unnest($1::uuid[]) as g (id)
            cross join lateral (select ctid from outbox where id = g.id limit 1) told
        ))
        ",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives these back before their lease is over.
pub async fn release(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    sqlx::query(r"update outbox set next_attempt_at = clock_timestamp() where id = any($1)")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// This one stands aside, to be tried again after `pause`.
pub async fn put_aside(conn: &mut Conn, id: Uuid, pause: Duration) -> Result<()> {
    sqlx::query(
        r"
        update outbox
        set refused_at = clock_timestamp(), next_attempt_at = clock_timestamp() + make_interval(secs => $2)
        where id = $1
        ",
    )
    .bind(id)
    .bind(pause.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops messages about tokens that expired more than a day ago: their slots ended by themselves.
/// Answers how many.
pub async fn drop_moot(conn: &mut Conn, offset_ms: i64) -> Result<u64> {
    let done = sqlx::query(
        r"delete from outbox where exp < extract(epoch from (select db_now($1)))::bigint - 86400",
    )
    .bind(offset_ms)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// How many messages are in line, and how many stand aside; counted up to [`COUNTED`].
pub async fn counts(conn: &mut Conn) -> Result<(u64, u64)> {
    let (waiting, aside): (i64, i64) = sqlx::query_as(
        r"
        select
            (select count(*) from (select from outbox where refused_at is null limit $1) in_line),
            (select count(*) from (select from outbox where refused_at is not null limit $1) aside)
        ",
    )
    .bind(COUNTED)
    .fetch_one(conn)
    .await?;
    Ok((waiting.cast_unsigned(), aside.cast_unsigned()))
}

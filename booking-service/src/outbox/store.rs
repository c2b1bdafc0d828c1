//! `outbox`, and the writing of `spent_entries`: the two are written together or not at all.

use std::time::Duration;

use uuid::Uuid;

use crate::admitted::Entry;
use crate::db::{Conn, Result};

/// A completion the queue service has not heard yet.
pub struct Message {
    pub id: Uuid,
    pub queue: String,
    pub jti: String,
    /// Since it was written.
    pub age_seconds: f64,
}

/// Spends entry tokens and writes the messages that say so; answers the `jti`s that were not spent
/// before. `ids` are for the messages, one per entry.
pub async fn spend(conn: &mut Conn, entries: &[Entry], ids: &[Uuid]) -> Result<Vec<String>> {
    let jtis: Vec<&str> = entries.iter().map(|entry| entry.jti.as_str()).collect();
    let queues: Vec<&str> = entries.iter().map(|entry| entry.queue.as_str()).collect();
    let exps: Vec<i64> = entries.iter().map(|entry| entry.exp).collect();
    let spent = sqlx::query_scalar(
        r"
        with given as (
            select * from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[]) as g (jti, queue, exp, id)
        ), spent as (
            insert into spent_entries (jti, queue, exp)
            select jti, queue, exp from given order by jti
            on conflict on constraint spent_entries_pkey do nothing
            returning jti
        ), told as (
            insert into outbox (id, queue, jti, exp)
            select g.id, g.queue, g.jti, g.exp from given g join spent s on s.jti = g.jti
        )
        select jti from spent
        ",
    )
    .bind(jtis)
    .bind(queues)
    .bind(exps)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(spent)
}

/// Takes the oldest due messages for `lease`, those of the queues in `resting` left out. Until the
/// lease is over no other replica takes them.
pub async fn lease(conn: &mut Conn, limit: i64, lease: Duration, resting: &[String]) -> Result<Vec<Message>> {
    let rows: Vec<(Uuid, String, String, f64)> = sqlx::query_as(
        r"
        with due as (
            select id from outbox
            where next_attempt_at <= (select clock_timestamp()) and queue <> all($3)
            order by next_attempt_at
            limit $1
            for update skip locked
        )
        update outbox o
        set attempts = o.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $2)
        from due
        where o.id = due.id
        returning o.id, o.queue, o.jti,
            extract(epoch from clock_timestamp() - o.created_at)::double precision
        ",
    )
    .bind(limit)
    .bind(lease.as_secs_f64())
    .bind(resting)
    .fetch_all(conn)
    .await?;
    let message = |(id, queue, jti, age_seconds)| Message { id, queue, jti, age_seconds };
    Ok(rows.into_iter().map(message).collect())
}

/// The queue service has heard these.
pub async fn delivered(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    sqlx::query(r"delete from outbox where id = any($1)").bind(ids).execute(conn).await?;
    Ok(())
}

/// These wait for `pause`.
pub async fn put_off(conn: &mut Conn, ids: &[Uuid], pause: Duration) -> Result<()> {
    sqlx::query(
        r"
        update outbox set next_attempt_at = clock_timestamp() + make_interval(secs => $2)
        where id = any($1)
        ",
    )
    .bind(ids)
    .bind(pause.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// A queue answers again: what was put off is due now.
pub async fn hasten(conn: &mut Conn, queue: &str) -> Result<()> {
    sqlx::query(
        r"
        update outbox set next_attempt_at = clock_timestamp()
        where queue = $1 and attempts > 0 and next_attempt_at > clock_timestamp()
        ",
    )
    .bind(queue)
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

/// How many messages wait.
pub async fn waiting(conn: &mut Conn) -> Result<i64> {
    Ok(sqlx::query_scalar(r"select count(*) from outbox").fetch_one(conn).await?)
}

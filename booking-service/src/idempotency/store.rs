//! `idempotency` and `claim_key`.

use super::model::{Intent, Remembered};
use crate::db::{Conn, Result};

/// What is known of a key.
pub enum Known {
    /// Nothing; inside a transaction, the key is now this transaction's.
    Free,
    /// A request with it is running.
    Running,
    /// It was answered, for the body with this fingerprint.
    Answered { fingerprint: Vec<u8>, remembered: Remembered },
}

/// Asks, and in a transaction claims.
pub async fn claim(conn: &mut Conn, offset_ms: i64, intent: &Intent) -> Result<Known> {
    let (free, fingerprint, status, body): (bool, Option<Vec<u8>>, Option<i16>, Option<String>) =
        sqlx::query_as(r"select free, fingerprint, status, response from claim_key($1, $2, $3, $4)")
            .bind(&intent.user)
            .bind(&intent.endpoint)
            .bind(&intent.key)
            .bind(offset_ms)
            .fetch_one(conn)
            .await?;
    Ok(match (free, fingerprint, status, body) {
        (true, Some(fingerprint), Some(status), Some(body)) => {
            let status = u16::try_from(status).unwrap_or_default();
            Known::Answered { fingerprint, remembered: Remembered { status, body } }
        }
        (free, ..) if free => Known::Free,
        _ => Known::Running,
    })
}

/// Remembers an answer; `false` when another request with the key was faster.
pub async fn remember(conn: &mut Conn, offset_ms: i64, intent: &Intent, answer: &Remembered) -> Result<bool> {
    let done = sqlx::query(
        r"
        insert into idempotency (user_id, endpoint, key, fingerprint, status, response, created_at)
        values ($1, $2, $3, $4, $5, $6::json, db_now($7))
        on conflict on constraint idempotency_pkey do update
            set fingerprint = excluded.fingerprint, status = excluded.status,
                response = excluded.response, created_at = excluded.created_at
            where idempotency.created_at <= excluded.created_at - interval '24 hours'
        ",
    )
    .bind(&intent.user)
    .bind(&intent.endpoint)
    .bind(&intent.key)
    .bind(&intent.fingerprint)
    .bind(i16::try_from(answer.status).unwrap_or_default())
    .bind(&answer.body)
    .bind(offset_ms)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes up to `limit` answers older than 24 hours; answers how many. The age is asked twice: a
/// row that is replaced before the delete has its lock is young again, and stays.
pub async fn forget(conn: &mut Conn, offset_ms: i64, limit: i64) -> Result<u64> {
    let done = sqlx::query(
        r"
        delete from idempotency where ctid = any(array(
            select ctid from idempotency
            where created_at <= (select db_now($1)) - interval '24 hours'
            limit $2
        )) and created_at <= (select db_now($1)) - interval '24 hours'
        ",
    )
    .bind(offset_ms)
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

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

/// Asks, and in a transaction claims; one answer for each, in their order.
pub async fn claim(conn: &mut Conn, offset_ms: i64, intents: &[&Intent]) -> Result<Vec<Known>> {
    type Row = (bool, Option<Vec<u8>>, Option<i16>, Option<String>);
    let column = |of: fn(&Intent) -> &str| intents.iter().map(|intent| of(intent)).collect::<Vec<_>>();
    let rows: Vec<Row> = sqlx::query_as(
        r"
        select known.free, known.fingerprint, known.status, known.response
        from unnest($1::text[], $2::text[], $3::text[]) with ordinality as i (user_id, endpoint, key, ord)
        cross join lateral claim_key(i.user_id, i.endpoint, i.key, $4) known
        order by i.ord
        ",
    )
    .bind(column(|intent| &intent.user))
    .bind(column(|intent| &intent.endpoint))
    .bind(column(|intent| &intent.key))
    .bind(offset_ms)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(known).collect())
}

fn known(row: (bool, Option<Vec<u8>>, Option<i16>, Option<String>)) -> Known {
    match row {
        (true, Some(fingerprint), Some(status), Some(body)) => {
            let status = u16::try_from(status).unwrap_or_default();
            Known::Answered { fingerprint, remembered: Remembered { status, body } }
        }
        (true, ..) => Known::Free,
        _ => Known::Running,
    }
}

/// Remembers answers; how many: one less for each that another request with the key was faster to give.
pub async fn remember(conn: &mut Conn, offset_ms: i64, answers: &[(&Intent, Remembered)]) -> Result<u64> {
    let column = |of: fn(&Intent) -> &str| answers.iter().map(|(intent, _)| of(intent)).collect::<Vec<_>>();
    let fingerprints: Vec<&[u8]> = answers.iter().map(|(intent, _)| &intent.fingerprint[..]).collect();
    let status = |answer: &Remembered| i16::try_from(answer.status).unwrap_or_default();
    let done = sqlx::query(
        r"
        insert into idempotency (user_id, endpoint, key, fingerprint, status, response, created_at)
        select user_id, endpoint, key, fingerprint, status, response::json, db_now($7)
        from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::smallint[], $6::text[])
            as answer (user_id, endpoint, key, fingerprint, status, response)
        order by user_id, endpoint, key
        on conflict on constraint idempotency_pkey do update
            set fingerprint = excluded.fingerprint, status = excluded.status,
                response = excluded.response, created_at = excluded.created_at
            where idempotency.created_at <= excluded.created_at - interval '24 hours'
        ",
    )
    .bind(column(|intent| &intent.user))
    .bind(column(|intent| &intent.endpoint))
    .bind(column(|intent| &intent.key))
    .bind(fingerprints)
    .bind(answers.iter().map(|(_, answer)| status(answer)).collect::<Vec<_>>())
    .bind(answers.iter().map(|(_, answer)| answer.body.as_str()).collect::<Vec<_>>())
    .bind(offset_ms)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
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

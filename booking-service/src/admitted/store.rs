//! `spent_entries`, read.

use std::time::Duration;

use super::Entry;
use crate::db::{Conn, Result};

/// Those not expired at `now` (seconds since 1970), the longest-lived first.
pub async fn in_force(conn: &mut Conn, now: i64, limit: i64) -> Result<Vec<Entry>> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        r"select jti, queue, exp from spent_entries where exp > $1 order by exp desc limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(entry).collect())
}

/// Those spent in the last `stretch` of time, by the database's own clock, and in one as long that ended `again_after` ago.
pub async fn since(conn: &mut Conn, stretch: Duration, again_after: Duration) -> Result<Vec<Entry>> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        r"
        with t as materialized (select clock_timestamp() as now)
        select jti, queue, exp from spent_entries
        where spent_at > (select now - make_interval(secs => $1) from t)
        union all
        select jti, queue, exp from spent_entries
        where spent_at > (select now - make_interval(secs => $1 + $2) from t)
            and spent_at <= (select now - make_interval(secs => $2) from t)
        ",
    )
    .bind(stretch.as_secs_f64())
    .bind(again_after.as_secs_f64())
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(entry).collect())
}

/// Deletes those that expired more than a day before `now`; answers how many.
pub async fn forget(conn: &mut Conn, now: i64) -> Result<u64> {
    let done = sqlx::query(
        r"
        delete from spent_entries
        where spent_at < (select clock_timestamp()) - interval '1 day' and exp < $1 - 86400
        ",
    )
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn entry((jti, queue, exp): (String, String, i64)) -> Entry {
    Entry { jti, queue, exp }
}

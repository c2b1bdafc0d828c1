//! The checks, run.

use super::TrialBalance;
use crate::db::{Conn, Error, Result};

/// Lets the snapshot read as long as it takes.
pub async fn without_time_limit(conn: &mut Conn) -> Result<()> {
    sqlx::query(r"set local statement_timeout = 0").execute(conn).await?;
    Ok(())
}

/// What one check finds, at most `limit`.
pub async fn broken(conn: &mut Conn, sql: &'static str, offset_ms: i64, limit: i64) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(sql).bind(offset_ms).bind(limit).fetch_all(conn).await?)
}

/// What the accounts come to.
pub async fn trial_balance(conn: &mut Conn) -> Result<TrialBalance> {
    let (users, funding, spending, revenue): (String, String, String, String) = sqlx::query_as(
        r"select users::text, funding::text, spending::text, revenue::text from trial_balance",
    )
    .fetch_one(conn)
    .await?;
    let sum = |text: String| text.parse().map_err(|_| Error::Failed(format!("a sum of points is {text}")));
    Ok(TrialBalance {
        users: sum(users)?,
        funding: sum(funding)?,
        spending: sum(spending)?,
        revenue: sum(revenue)?,
    })
}

/// How many rows there are of what is checked.
pub async fn counts(conn: &mut Conn) -> Result<Vec<(String, i64)>> {
    Ok(sqlx::query_as(
        r"
        select 'accounts', count(*) from accounts
        union all select 'ledger_entries', count(*) from ledger
        union all select 'payments', count(*) from payments
        union all select 'refunds', count(*) from refunds
        union all select 'reservations', count(*) from reservations
        union all select 'seats', count(*) from seats
        union all select 'seats_sold', count(*) from seats where state = 'sold'
        union all select 'tickets_live', count(*) from tickets where live
        ",
    )
    .fetch_all(conn)
    .await?)
}

//! `accounts` and `ledger`. Every change of a balance is one statement that writes both.

use chrono::{DateTime, Utc};
use shared::page::PageOf;
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{Kind, LedgerEntry};
use crate::db::{Conn, Result};

/// A movement of points.
#[derive(Clone, Debug)]
pub struct Movement<'a> {
    pub user: &'a str,
    pub kind: Kind,
    /// Not negative; the kind gives the direction.
    pub amount: i64,
    pub entry_id: Uuid,
    /// What may move points only once.
    pub cause: Uuid,
    pub payment_id: Option<Uuid>,
    pub memo: Option<&'a str>,
}

/// Adds points, to a new account where there is none; `None` when the balance would overflow.
pub async fn credit(conn: &mut Conn, offset_ms: i64, movement: &Movement<'_>) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar(
        r"
        with account as (
            insert into accounts (user_id, balance, last_seq) values ($1, $2, 1)
            on conflict on constraint accounts_pkey do update
                set balance = accounts.balance + excluded.balance, last_seq = accounts.last_seq + 1
                where accounts.balance <= 9223372036854775807 - excluded.balance
            returning balance, last_seq
        )
        insert into ledger (user_id, seq, entry_id, kind, amount, balance_after, cause, payment_id, memo, at)
        select $1, last_seq, $3, $4, $2, balance, $5, $6, $7, db_now($8) from account
        returning balance_after
        ",
    )
    .bind(movement.user)
    .bind(movement.amount)
    .bind(movement.entry_id)
    .bind(movement.kind.word())
    .bind(movement.cause)
    .bind(movement.payment_id)
    .bind(movement.memo)
    .bind(offset_ms)
    .fetch_optional(conn)
    .await?)
}

/// Takes points; `None` when there are too few.
pub async fn debit(conn: &mut Conn, offset_ms: i64, movement: &Movement<'_>) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar(
        r"
        with account as (
            update accounts set balance = balance - $2, last_seq = last_seq + 1
            where user_id = $1 and balance >= $2
            returning balance, last_seq
        )
        insert into ledger (user_id, seq, entry_id, kind, amount, balance_after, cause, payment_id, memo, at)
        select $1, last_seq, $3, $4, -$2, balance, $5, $6, $7, db_now($8) from account
        returning balance_after
        ",
    )
    .bind(movement.user)
    .bind(movement.amount)
    .bind(movement.entry_id)
    .bind(movement.kind.word())
    .bind(movement.cause)
    .bind(movement.payment_id)
    .bind(movement.memo)
    .bind(offset_ms)
    .fetch_optional(conn)
    .await?)
}

/// An account without points, where there is none.
pub async fn open(conn: &mut Conn, user: &str) -> Result<()> {
    sqlx::query(
        r"
        insert into accounts (user_id, balance, last_seq) values ($1, 0, 0)
        on conflict on constraint accounts_pkey do nothing
        ",
    )
    .bind(user)
    .execute(conn)
    .await?;
    Ok(())
}

/// The balance; a user without an account has 0.
pub async fn balance(conn: &mut Conn, user: &str) -> Result<i64> {
    let balance: Option<i64> = sqlx::query_scalar(r"select balance from accounts where user_id = $1")
        .bind(user)
        .fetch_optional(conn)
        .await?;
    Ok(balance.unwrap_or(0))
}

#[derive(FromRow)]
struct LedgerRow {
    entry_id: Uuid,
    seq: i64,
    kind: String,
    amount: i64,
    balance_after: i64,
    payment_id: Option<Uuid>,
    memo: Option<String>,
    at: DateTime<Utc>,
}

/// A user's ledger, the newest first.
pub async fn history(conn: &mut Conn, user: &str, page: &PageOf<i64>) -> Result<Vec<LedgerEntry>> {
    let rows: Vec<LedgerRow> = sqlx::query_as(
        r"
        select entry_id, seq, kind, amount, balance_after, payment_id, memo, at from ledger
        where user_id = $1 and ($2::bigint is null or seq < $2)
        order by seq desc
        limit $3
        ",
    )
    .bind(user)
    .bind(page.after)
    .bind(page.rows())
    .fetch_all(conn)
    .await?;
    // The CHECK on the column knows the same words.
    let entry = |row: LedgerRow| LedgerEntry {
        entry_id: row.entry_id,
        seq: row.seq,
        kind: Kind::parse(&row.kind).unwrap_or(Kind::Use),
        amount: row.amount,
        balance_after: row.balance_after,
        payment_id: row.payment_id,
        memo: row.memo,
        at: row.at,
    };
    Ok(rows.into_iter().map(entry).collect())
}

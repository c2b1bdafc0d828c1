//! `accounts` and `ledger`. Every change of a balance is one statement that writes both.

use chrono::{DateTime, Utc};
use shared::page::PageOf;
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{CounterAccount, Kind, LedgerEntry, Statement};
use super::money::Points;
use crate::db::{Conn, Error, Result};

/// A movement of points.
#[derive(Clone, Debug)]
pub struct Movement<'a> {
    pub user: &'a str,
    pub kind: Kind,
    /// The kind gives the direction, and the counter-account.
    pub amount: Points,
    pub entry_id: Uuid,
    /// What may move points only once.
    pub cause: Uuid,
    pub payment_id: Option<Uuid>,
    pub memo: Option<&'a str>,
}

/// Adds points, to a new account where there is none; answers the balance after it. `None` when that
/// would be above `most`; the account is locked then, if there is one.
pub async fn credit(
    conn: &mut Conn,
    offset_ms: i64,
    movement: &Movement<'_>,
    most: Points,
) -> Result<Option<Points>> {
    let balance: Option<i64> = sqlx::query_scalar(
        r"
        with account as (
            insert into accounts (user_id, balance, last_seq) select $1, $2, 1 where $2 <= $10
            on conflict on constraint accounts_pkey do update
                set balance = accounts.balance + excluded.balance, last_seq = accounts.last_seq + 1
                where accounts.balance <= $10 - excluded.balance
            returning balance, last_seq
        )
        insert into ledger (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause,
            payment_id, memo, at)
        select $1, last_seq, $3, $4, $9, $2, balance, $5, $6, $7, db_now($8) from account
        returning balance_after
        ",
    )
    .bind(movement.user)
    .bind(movement.amount.get())
    .bind(movement.entry_id)
    .bind(movement.kind.word())
    .bind(movement.cause)
    .bind(movement.payment_id)
    .bind(movement.memo)
    .bind(offset_ms)
    .bind(movement.kind.counter_account().word())
    .bind(most.get())
    .fetch_optional(conn)
    .await?;
    balance.map(points).transpose()
}

/// Takes points; answers the balance after it, `None` when there are too few.
pub async fn debit(conn: &mut Conn, offset_ms: i64, movement: &Movement<'_>) -> Result<Option<Points>> {
    let balance: Option<i64> = sqlx::query_scalar(
        r"
        with account as (
            update accounts set balance = balance - $2, last_seq = last_seq + 1
            where user_id = $1 and balance >= $2
            returning balance, last_seq
        )
        insert into ledger (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause,
            payment_id, memo, at)
        select $1, last_seq, $3, $4, $9, -$2, balance, $5, $6, $7, db_now($8) from account
        returning balance_after
        ",
    )
    .bind(movement.user)
    .bind(movement.amount.get())
    .bind(movement.entry_id)
    .bind(movement.kind.word())
    .bind(movement.cause)
    .bind(movement.payment_id)
    .bind(movement.memo)
    .bind(offset_ms)
    .bind(movement.kind.counter_account().word())
    .fetch_optional(conn)
    .await?;
    balance.map(points).transpose()
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
pub async fn balance(conn: &mut Conn, user: &str) -> Result<Points> {
    let balance: Option<i64> = sqlx::query_scalar(r"select balance from accounts where user_id = $1")
        .bind(user)
        .fetch_optional(conn)
        .await?;
    points(balance.unwrap_or(0))
}

/// As [`balance`]; the account, if there is one, stays as it is until the transaction ends.
pub async fn locked_balance(conn: &mut Conn, user: &str) -> Result<Points> {
    let balance: Option<i64> =
        sqlx::query_scalar(r"select balance from accounts where user_id = $1 for update")
            .bind(user)
            .fetch_optional(conn)
            .await?;
    points(balance.unwrap_or(0))
}

/// A number that the CHECKs of its column let through.
fn points(number: i64) -> Result<Points> {
    Points::new(number).ok_or_else(|| Error::Failed(format!("{number} points are stored")))
}

#[derive(FromRow)]
struct LedgerRow {
    entry_id: Uuid,
    seq: i64,
    kind: String,
    counter_account: String,
    amount: i64,
    balance_after: i64,
    payment_id: Option<Uuid>,
    memo: Option<String>,
    at: DateTime<Utc>,
}

impl LedgerRow {
    fn entry(self) -> Result<LedgerEntry> {
        let unknown = |word: &str| Error::Failed(format!("the ledger says {word}"));
        Ok(LedgerEntry {
            entry_id: self.entry_id,
            seq: self.seq,
            kind: Kind::parse(&self.kind).ok_or_else(|| unknown(&self.kind))?,
            counter_account: CounterAccount::parse(&self.counter_account)
                .ok_or_else(|| unknown(&self.counter_account))?,
            amount: self.amount,
            balance_after: points(self.balance_after)?,
            payment_id: self.payment_id,
            memo: self.memo,
            at: self.at,
        })
    }
}

/// A user's ledger, or what of it `statement` wants, the newest first.
pub async fn history(
    conn: &mut Conn,
    user: &str,
    statement: &Statement,
    page: &PageOf<i64>,
) -> Result<Vec<LedgerEntry>> {
    let rows: Vec<LedgerRow> = sqlx::query_as(
        r"
        select entry_id, seq, kind, counter_account, amount, balance_after, payment_id, memo, at from ledger
        where user_id = $1 and ($2::bigint is null or seq < $2) and ($4::text is null or kind = $4)
            and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)
        order by seq desc
        limit $3
        ",
    )
    .bind(user)
    .bind(page.after)
    .bind(page.rows())
    .bind(statement.kind.map(Kind::word))
    .bind(statement.from)
    .bind(statement.until)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(LedgerRow::entry).collect()
}

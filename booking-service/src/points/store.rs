//! `accounts` and `ledger`. Every change of a balance is one statement that writes both.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use shared::page::PageOf;
use sqlx::FromRow;
use uuid::Uuid;

use super::model::{CounterAccount, Kind, LedgerEntry, Statement};
use super::money::Points;
use crate::db::{Conn, Error, Result};

/// A movement of points. The verb gives the kind, and so the direction and the counter-account.
#[derive(Clone, Debug)]
pub struct Movement<'a> {
    pub user: &'a str,
    pub amount: Points,
    pub entry_id: Uuid,
    /// What may move points only once.
    pub cause: Uuid,
    pub payment_id: Option<Uuid>,
    pub memo: Option<&'a str>,
}

/// What the statements below make of a list of movements: its columns, to be bound in this order.
macro_rules! bind_columns {
    ($query:expr, $movements:expr) => {
        $query
            .bind($movements.iter().map(|movement| movement.user).collect::<Vec<_>>())
            .bind($movements.iter().map(|movement| movement.amount.get()).collect::<Vec<_>>())
            .bind($movements.iter().map(|movement| movement.entry_id).collect::<Vec<_>>())
            .bind($movements.iter().map(|movement| movement.cause).collect::<Vec<_>>())
            .bind($movements.iter().map(|movement| movement.payment_id).collect::<Vec<_>>())
            .bind($movements.iter().map(|movement| movement.memo).collect::<Vec<_>>())
    };
}

/// Adds points, to a new account where there is none; answers the balance after each, in their order.
/// `None` when that would be above `most`; the account is locked then, if there is one. No two movements
/// are of the same user.
pub async fn credit(
    conn: &mut Conn,
    offset_ms: i64,
    kind: Kind,
    movements: &[Movement<'_>],
    most: Points,
) -> Result<Vec<Option<Points>>> {
    let statement = sqlx::query_as(
        r"
        with given as materialized (
            select * from unnest($4::text[], $5::bigint[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[])
                as g (user_id, amount, entry_id, cause, payment_id, memo)
        ), account as (
            insert into accounts (user_id, balance, last_seq)
            select user_id, amount, 1 from given where amount <= $10 order by user_id
            on conflict on constraint accounts_pkey do update
                set balance = accounts.balance + excluded.balance, last_seq = accounts.last_seq + 1
                where accounts.balance <= $10 - excluded.balance
            returning user_id, balance, last_seq
        )
        insert into ledger (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause,
            payment_id, memo, at)
        select g.user_id, a.last_seq, g.entry_id, $2, $3, g.amount, a.balance, g.cause, g.payment_id, g.memo,
            db_now($1)
        from account a join given g on g.user_id = a.user_id
        returning user_id, balance_after
        ",
    )
    .bind(offset_ms)
    .bind(kind.word())
    .bind(kind.counter_account().word());
    let rows = bind_columns!(statement, movements).bind(most.get()).fetch_all(conn).await?;
    balances(movements, rows)
}

/// The part of a statement that finds out who has enough points. Before it stands `movements`, with the columns of a
/// [`Movement`] at least, of which no two are of the same user; behind it `able` has those who have enough, as they were
/// given, and the `place` of the account: locked, and not written since the statement began, so that
/// an update of the place finds it. `$wait` is how the lock is won: `""` or `"skip locked"`.
macro_rules! able_parts {
    ($wait:literal) => {
        concat!(
            r"
        able as materialized (
            select a.place, m.* from (select * from movements order by user_id) m
            cross join lateral (
                select ctid as place from accounts where user_id = m.user_id offset 0
            ) seen
            cross join lateral (
                select ctid as place from accounts where user_id = m.user_id and balance >= m.amount
                for update ",
            $wait,
            r"
            ) a
            where a.place = seen.place
        )"
        )
    };
}
pub(crate) use able_parts;

/// The part of a statement that takes points, from `$of`: the rows of `able`, or some of them. Behind it `debited` has them
/// all, and the `balance` after it. `$1` of the statement is the offset, `$2` the kind, `$3` its counter-account.
macro_rules! debit_parts {
    ($of:literal) => {
        concat!(
            r"
        debited as (
            update accounts a set balance = a.balance - b.amount, last_seq = a.last_seq + 1
            from ",
            $of,
            r" b
            where a.ctid = b.place
            returning b.*, a.balance, a.last_seq
        ), entered as (
            insert into ledger (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause,
                payment_id, memo, at)
            select user_id, last_seq, entry_id, $2, $3, -amount, balance, cause, payment_id, memo, db_now($1)
            from debited
        )"
        )
    };
}
pub(crate) use debit_parts;

/// Takes points; answers the balance after each, in their order, `None` where there are too few. No two
/// movements are of the same user.
pub async fn debit(
    conn: &mut Conn,
    offset_ms: i64,
    kind: Kind,
    movements: &[Movement<'_>],
) -> Result<Vec<Option<Points>>> {
    let statement = sqlx::query_as(concat!(
        r"
        with movements as materialized (
            select * from unnest($4::text[], $5::bigint[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[])
                as m (user_id, amount, entry_id, cause, payment_id, memo)
        ),",
        able_parts!(""),
        ",",
        debit_parts!("able"),
        "select user_id, balance from debited"
    ))
    .bind(offset_ms)
    .bind(kind.word())
    .bind(kind.counter_account().word());
    let rows = bind_columns!(statement, movements).fetch_all(conn).await?;
    balances(movements, rows)
}

fn balances(movements: &[Movement<'_>], rows: Vec<(String, i64)>) -> Result<Vec<Option<Points>>> {
    let after: HashMap<String, i64> = rows.into_iter().collect();
    movements.iter().map(|movement| after.get(movement.user).copied().map(points).transpose()).collect()
}

/// Accounts without points, where there are none.
pub async fn open(conn: &mut Conn, users: &[&str]) -> Result<()> {
    sqlx::query(
        r"
        insert into accounts (user_id, balance, last_seq)
        select user_id, 0, 0 from unnest($1::text[]) as u (user_id) order by user_id
        on conflict on constraint accounts_pkey do nothing
        ",
    )
    .bind(users)
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

/// As [`balance`], of many users, in their order; the accounts that there are stay as they are until the transaction ends.
pub async fn locked_balances(conn: &mut Conn, users: &[&str]) -> Result<Vec<Points>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        r"
        select a.user_id, a.balance from (select * from unnest($1::text[]) as u (user_id) order by user_id) u
        cross join lateral (
            select user_id, balance from accounts where user_id = u.user_id for update
        ) a
        ",
    )
    .bind(users)
    .fetch_all(conn)
    .await?;
    let found: HashMap<String, i64> = rows.into_iter().collect();
    users.iter().map(|user| points(found.get(*user).copied().unwrap_or(0))).collect()
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

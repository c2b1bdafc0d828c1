//! Points: the users' money.
//!
//! ```text
//!   funding  ── charge ──▶ ┌─────────────┐ ── use ──────▶ spending
//!                          │ a user      │
//!            ┌─ refund ──▶ │ balance ≥ 0 │ ── payment ─┐
//!            │             └─────────────┘             ▼
//!            └───────────────── revenue ───────────────┘
//! ```
//!
//! Points move, they are never made or lost: what one account gets, another gives. Only users have a row
//! with a balance. The three counter-accounts have none, so that no two payments meet at one; what is in
//! them is a sum over the ledger, and all accounts together come to 0.
//!
//! Invariants, and who keeps them:
//!
//! - a number of points is never out of its range: [`Points`] and [`Amount`] have no operators;
//! - a balance is never negative: the debit's condition, and behind it the CHECK;
//! - balance = Σ ledger: one statement writes both, nothing else writes either;
//! - the ledger is numbered per user, without gaps, each row with the balance after it: its primary
//!   key and the account's `last_seq`;
//! - it is append-only: a trigger refuses change and deletion, another emptying;
//! - every row names its counter-account, that of its kind: NOT NULL and a CHECK;
//! - one cause moves points once: the unique key (user, kind, cause);
//! - a charge or use that was answered is in the ledger, with its key, or not at all: one transaction.

pub mod http;
mod model;
mod money;
#[cfg(test)]
mod properties;
mod store;
mod together;

use std::slice;
use std::sync::Arc;

use shared::ids::new_id;
use shared::lifecycle::Lifecycle;
use shared::page::{Page, PageOf};
use uuid::Uuid;

pub use model::{Balance, Kind, LedgerEntry, Moved, Statement, memo};
pub use money::{Amount, Points};
pub(crate) use store::{able_parts, debit_parts};

use crate::crash;
use crate::db::{self, Db, Tx};
use crate::idempotency::{self, Intent};
use crate::retry::{self, MayConflict};
use crate::together::{Batches, Fate};
use store::Movement;

/// Why no points move.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("it is no amount of points")]
    InvalidAmount,
    #[error("there are {balance} points, {amount} are needed")]
    Insufficient { balance: Points, amount: Points },
    #[error("there are {balance} points, {amount} more are above {most}")]
    BalanceLimit { balance: Points, amount: Points, most: Points },
    #[error(transparent)]
    Key(#[from] idempotency::Refusal),
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl MayConflict for Refusal {
    fn of_database(&self) -> Option<&db::Error> {
        match self {
            Self::Db(error) | Self::Key(idempotency::Refusal::Db(error)) => Some(error),
            _ => None,
        }
    }
}

/// A charge or a use of a user's own points.
#[derive(Clone, Debug)]
pub struct Move {
    pub user: String,
    pub kind: Kind,
    pub amount: Amount,
    pub memo: Option<String>,
    pub intent: Option<Intent>,
}

impl Move {
    fn movement(&self, entry_id: Uuid) -> Movement<'_> {
        let (user, amount, memo) = (&self.user, self.amount.points(), self.memo.as_deref());
        Movement { user, amount, entry_id, cause: entry_id, payment_id: None, memo }
    }
}

/// What a payment has cost its user.
#[derive(Clone, Copy, Debug)]
pub struct Fee<'a> {
    pub user: &'a str,
    pub payment: Uuid,
    pub amount: i64,
}

/// The most points of one charge, of one use, and that a charge may bring an account to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub charge: Amount,
    pub spend: Amount,
    pub balance: Amount,
}

/// The verbs of points.
pub struct Accounts {
    db: Db,
    limits: Limits,
    charges: Batches<Move, Moved, Refusal>,
    uses: Batches<Move, Moved, Refusal>,
}

impl Accounts {
    /// Accounts within these limits; starts the batches.
    pub fn start(db: Db, limits: Limits, lifecycle: &Lifecycle) -> Self {
        let (charges, uses) = (Kind::Charge, Kind::Use);
        let [charges, uses] = [charges, uses].map(|kind| together::start(&db, limits, kind, lifecycle));
        Self { db, limits, charges, uses }
    }

    /// How many points may move at once.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The balance.
    pub async fn balance(&self, user: &str) -> Result<Balance, Refusal> {
        Ok(Balance { balance: store::balance(&mut *self.db.lane().await?, user).await? })
    }

    /// The ledger, the newest first. A cursor is the number of an entry, so that pages join whatever is
    /// written in between.
    pub async fn history(
        &self,
        user: &str,
        statement: &Statement,
        page: &PageOf<i64>,
    ) -> Result<Page<LedgerEntry>, Refusal> {
        let rows = store::history(&mut *self.db.lane().await?, user, statement, page).await?;
        Ok(page.cut(rows, |entry| entry.seq))
    }

    /// Carries out a charge or a use, with whatever others come at the same time.
    pub async fn carry_out(&self, wish: Move) -> Result<Moved, Refusal> {
        let wish = Arc::new(wish);
        let batches = if wish.kind.is_credit() { &self.charges } else { &self.uses };
        loop {
            match batches.submit(wish.clone()).await.map_err(db::Error::from)?? {
                Fate::Done(moved) => return Ok(moved),
                Fate::Refused(refusal) => return Err(refusal),
                Fate::Again => {}
                Fate::Alone => {
                    let moved = retry::retried(|| self.attempt(&wish)).await?;
                    crash::point("points.committed")?;
                    return Ok(moved);
                }
            }
        }
    }

    async fn attempt(&self, wish: &Move) -> Result<Moved, Refusal> {
        let mut tx = self.db.begin().await?;
        let outcome = self.move_points(&mut tx, wish).await;
        tx.end(outcome).await
    }

    async fn move_points(&self, tx: &mut Tx, wish: &Move) -> Result<Moved, Refusal> {
        idempotency::claim(tx, &self.db, wish.intent.as_ref()).await?;
        crash::point("points.claimed")?;
        let movement = wish.movement(new_id(self.db.clock()));
        let balance = if wish.kind.is_credit() {
            self.credit(tx, wish.kind, &movement, self.limits.balance.points()).await?
        } else {
            self.debit(tx, wish.kind, &movement).await?
        };
        crash::point("points.moved")?;
        let moved = Moved { entry_id: movement.entry_id, amount: movement.amount, balance };
        idempotency::remember(tx, &self.db, wish.intent.as_ref(), &moved).await?;
        crash::point("points.remembered")?;
        Ok(moved)
    }

    /// Who has so many points, for a payment that was not made; users' accounts are locked then, so that a refusal never names
    /// a balance that would have done, and whoever has enough can pay by the next statement. Whoever pays nothing needs
    /// an account all the same: the ledger names it.
    pub async fn afford(
        &self,
        tx: &mut Tx,
        due: &[(&str, i64)],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let users: Vec<_> = due.iter().map(|(user, _)| *user).collect();
        let free: Vec<_> = due.iter().filter(|(_, amount)| *amount == 0).map(|(user, _)| *user).collect();
        if !free.is_empty() {
            store::open(tx, &free).await?;
        }
        let balances = store::locked_balances(tx, &users).await?;
        let judged = balances.into_iter().zip(due).map(|(balance, (_, amount))| {
            let amount = priced(*amount)?;
            balance.minus(amount).map(drop).ok_or(Refusal::Insufficient { balance, amount })
        });
        Ok(judged.collect())
    }

    /// Gives back what seats of a payment cost, in the transaction of the refund, which is the cause;
    /// answers the balance after it. Whatever the limit of a balance is: the points are the user's.
    pub async fn pay_back(&self, tx: &mut Tx, refund: Uuid, of: &Fee<'_>) -> Result<i64, Refusal> {
        let (entry_id, amount) = (new_id(self.db.clock()), priced(of.amount)?);
        let payment_id = Some(of.payment);
        let movement = Movement { user: of.user, amount, entry_id, cause: refund, payment_id, memo: None };
        Ok(self.credit(tx, Kind::Refund, &movement, Points::MAX).await?.get())
    }

    /// A refusal looks again, under the account's lock: it never names a balance that would have done.
    async fn debit(&self, tx: &mut Tx, kind: Kind, movement: &Movement<'_>) -> Result<Points, Refusal> {
        let (offset_ms, one) = (self.db.offset_ms(), slice::from_ref(movement));
        if let [Some(balance)] = store::debit(tx, offset_ms, kind, one).await?[..] {
            return Ok(balance);
        }
        let (balance, amount) = (locked_balance(tx, movement.user).await?, movement.amount);
        balance.minus(amount).ok_or(Refusal::Insufficient { balance, amount })?;
        match store::debit(tx, offset_ms, kind, one).await?[..] {
            [Some(balance)] => Ok(balance),
            _ => Err(impossible(kind)),
        }
    }

    /// As [`debit`](Self::debit), the other way.
    async fn credit(
        &self,
        tx: &mut Tx,
        kind: Kind,
        movement: &Movement<'_>,
        most: Points,
    ) -> Result<Points, Refusal> {
        let (offset_ms, one) = (self.db.offset_ms(), slice::from_ref(movement));
        if let [Some(balance)] = store::credit(tx, offset_ms, kind, one, most).await?[..] {
            return Ok(balance);
        }
        let (balance, amount) = (locked_balance(tx, movement.user).await?, movement.amount);
        let sum = balance.plus(amount).filter(|sum| *sum <= most);
        sum.ok_or(Refusal::BalanceLimit { balance, amount, most })?;
        match store::credit(tx, offset_ms, kind, one, most).await?[..] {
            [Some(balance)] => Ok(balance),
            _ => Err(impossible(kind)),
        }
    }
}

async fn locked_balance(tx: &mut Tx, user: &str) -> Result<Points, Refusal> {
    let balances = store::locked_balances(tx, &[user]).await?;
    Ok(balances.into_iter().next().unwrap_or(Points::ZERO))
}

/// What a payment says it cost; the CHECKs of its row let nothing negative through.
fn priced(amount: i64) -> Result<Points, Refusal> {
    Points::new(amount).ok_or(Refusal::InvalidAmount)
}

fn impossible(kind: Kind) -> Refusal {
    db::Error::Failed(format!("a {} that the balance allows does not go through", kind.word())).into()
}

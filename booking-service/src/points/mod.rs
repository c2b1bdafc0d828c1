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

use shared::ids::new_id;
use shared::page::{Page, PageOf};
use uuid::Uuid;

pub use model::{Balance, Kind, LedgerEntry, Moved, Statement, memo};
pub use money::{Amount, Points};

use crate::crash;
use crate::db::{self, Db, Tx};
use crate::idempotency::{self, Intent};
use crate::retry::{self, MayConflict};
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
    fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Db(db::Error::Conflict(_)) | Self::Key(idempotency::Refusal::Db(db::Error::Conflict(_)))
        )
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
}

impl Accounts {
    /// Accounts within these limits.
    pub fn new(db: Db, limits: Limits) -> Self {
        Self { db, limits }
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

    /// Carries out a charge or a use.
    pub async fn carry_out(&self, wish: &Move) -> Result<Moved, Refusal> {
        let moved = retry::retried(|| self.attempt(wish)).await?;
        crash::point("points.committed")?;
        Ok(moved)
    }

    async fn attempt(&self, wish: &Move) -> Result<Moved, Refusal> {
        let mut tx = self.db.begin().await?;
        let outcome = self.move_points(&mut tx, wish).await;
        tx.end(outcome).await
    }

    async fn move_points(&self, tx: &mut Tx, wish: &Move) -> Result<Moved, Refusal> {
        idempotency::claim(tx, &self.db, wish.intent.as_ref()).await?;
        crash::point("points.claimed")?;
        let entry_id = new_id(self.db.clock());
        let amount = wish.amount.points();
        let movement = Movement {
            user: &wish.user,
            kind: wish.kind,
            amount,
            entry_id,
            cause: entry_id,
            payment_id: None,
            memo: wish.memo.as_deref(),
        };
        let balance = if wish.kind.is_credit() {
            credit(tx, self.db.offset_ms(), &movement, self.limits.balance.points()).await?
        } else {
            debit(tx, self.db.offset_ms(), &movement).await?
        };
        crash::point("points.moved")?;
        let moved = Moved { entry_id, amount, balance };
        idempotency::remember(tx, &self.db, wish.intent.as_ref(), &moved).await?;
        crash::point("points.remembered")?;
        Ok(moved)
    }

    /// Takes what a payment costs, in its transaction; answers the balance after it.
    pub async fn pay(&self, tx: &mut Tx, user: &str, payment: Uuid, amount: i64) -> Result<i64, Refusal> {
        let amount = priced(amount)?;
        if amount == Points::ZERO {
            store::open(tx, user).await?;
        }
        let movement = self.of_payment(user, Kind::Payment, payment, amount);
        Ok(debit(tx, self.db.offset_ms(), &movement).await?.get())
    }

    /// Gives back what seats of a payment cost, in the transaction of the refund, which is the cause;
    /// answers the balance after it. Whatever the limit of a balance is: the points are the user's.
    pub async fn pay_back(
        &self,
        tx: &mut Tx,
        user: &str,
        refund: Uuid,
        payment: Uuid,
        amount: i64,
    ) -> Result<i64, Refusal> {
        let movement =
            Movement { cause: refund, ..self.of_payment(user, Kind::Refund, payment, priced(amount)?) };
        Ok(credit(tx, self.db.offset_ms(), &movement, Points::MAX).await?.get())
    }

    fn of_payment<'a>(&self, user: &'a str, kind: Kind, payment: Uuid, amount: Points) -> Movement<'a> {
        let entry_id = new_id(self.db.clock());
        Movement { user, kind, amount, entry_id, cause: payment, payment_id: Some(payment), memo: None }
    }
}

/// What a payment says it cost; the CHECKs of its row let nothing negative through.
fn priced(amount: i64) -> Result<Points, Refusal> {
    Points::new(amount).ok_or(Refusal::InvalidAmount)
}

/// A refusal looks again, under the account's lock: it never names a balance that would have done.
async fn debit(tx: &mut Tx, offset_ms: i64, movement: &Movement<'_>) -> Result<Points, Refusal> {
    if let Some(balance) = store::debit(tx, offset_ms, movement).await? {
        return Ok(balance);
    }
    let (balance, amount) = (store::locked_balance(tx, movement.user).await?, movement.amount);
    balance.minus(amount).ok_or(Refusal::Insufficient { balance, amount })?;
    store::debit(tx, offset_ms, movement).await?.ok_or_else(|| impossible(movement))
}

/// As [`debit`], the other way.
async fn credit(
    tx: &mut Tx,
    offset_ms: i64,
    movement: &Movement<'_>,
    most: Points,
) -> Result<Points, Refusal> {
    if let Some(balance) = store::credit(tx, offset_ms, movement, most).await? {
        return Ok(balance);
    }
    let (balance, amount) = (store::locked_balance(tx, movement.user).await?, movement.amount);
    let sum = balance.plus(amount).filter(|sum| *sum <= most);
    sum.ok_or(Refusal::BalanceLimit { balance, amount, most })?;
    store::credit(tx, offset_ms, movement, most).await?.ok_or_else(|| impossible(movement))
}

fn impossible(movement: &Movement<'_>) -> Refusal {
    db::Error::Failed(format!("a {} that the balance allows does not go through", movement.kind.word()))
        .into()
}

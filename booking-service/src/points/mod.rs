//! Points: the users' money.
//!
//! ```text
//!   charge ─▶ +┐                      ┌─ −  use
//!   refund ─▶ +┴─ balance ≥ 0, ledger ┴─ −  payment
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - a balance is never negative: the debit's condition, and behind it the CHECK;
//! - balance = Σ ledger: one statement writes both, nothing else writes either;
//! - the ledger is numbered per user, without gaps, each row with the balance after it: its primary
//!   key and the account's `last_seq`; it is append-only: a trigger;
//! - one cause moves points once: the unique key (user, kind, cause).

pub mod http;
mod model;
mod store;

use shared::ids::new_id;
use shared::page::{Page, PageOf};
use uuid::Uuid;

pub use model::{Amount, Balance, Kind, LedgerEntry, Moved, memo};

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
    Insufficient { balance: i64, amount: i64 },
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

/// The verbs of points.
pub struct Points {
    db: Db,
    max_charge: i64,
}

impl Points {
    /// Points of which at most `max_charge` can be charged at once.
    pub fn new(db: Db, max_charge: i64) -> Self {
        Self { db, max_charge }
    }

    /// The most points of one charge.
    pub fn max_charge(&self) -> i64 {
        self.max_charge
    }

    /// The balance.
    pub async fn balance(&self, user: &str) -> Result<Balance, Refusal> {
        Ok(Balance { balance: store::balance(&mut *self.db.lane().await?, user).await? })
    }

    /// The ledger, the newest first.
    pub async fn history(&self, user: &str, page: &PageOf<i64>) -> Result<Page<LedgerEntry>, Refusal> {
        let rows = store::history(&mut *self.db.lane().await?, user, page).await?;
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
        let amount = wish.amount.get();
        let movement = Movement {
            user: &wish.user,
            kind: wish.kind,
            amount,
            entry_id,
            cause: entry_id,
            payment_id: None,
            memo: wish.memo.as_deref(),
        };
        let balance = match wish.kind {
            Kind::Charge | Kind::Refund => {
                store::credit(tx, self.db.offset_ms(), &movement).await?.ok_or(Refusal::InvalidAmount)?
            }
            Kind::Use | Kind::Payment => debit(tx, self.db.offset_ms(), &movement).await?,
        };
        crash::point("points.moved")?;
        let moved = Moved { entry_id, amount, balance };
        idempotency::remember(tx, &self.db, wish.intent.as_ref(), &moved).await?;
        crash::point("points.remembered")?;
        Ok(moved)
    }

    /// Takes what a payment costs, in its transaction; answers the balance after it.
    pub async fn pay(&self, tx: &mut Tx, user: &str, payment: Uuid, amount: i64) -> Result<i64, Refusal> {
        if amount == 0 {
            store::open(tx, user).await?;
        }
        let movement = self.of_payment(user, Kind::Payment, payment, amount);
        debit(tx, self.db.offset_ms(), &movement).await
    }

    /// Gives back what a payment cost, in the refund's transaction; answers the balance after it.
    pub async fn pay_back(
        &self,
        tx: &mut Tx,
        user: &str,
        payment: Uuid,
        amount: i64,
    ) -> Result<i64, Refusal> {
        let movement = self.of_payment(user, Kind::Refund, payment, amount);
        store::credit(tx, self.db.offset_ms(), &movement).await?.ok_or(Refusal::InvalidAmount)
    }

    fn of_payment<'a>(&self, user: &'a str, kind: Kind, payment: Uuid, amount: i64) -> Movement<'a> {
        let entry_id = new_id(self.db.clock());
        Movement { user, kind, amount, entry_id, cause: payment, payment_id: Some(payment), memo: None }
    }
}

async fn debit(tx: &mut Tx, offset_ms: i64, movement: &Movement<'_>) -> Result<i64, Refusal> {
    if let Some(balance) = store::debit(tx, offset_ms, movement).await? {
        return Ok(balance);
    }
    let balance = store::balance(tx, movement.user).await?;
    Err(Refusal::Insufficient { balance, amount: movement.amount })
}

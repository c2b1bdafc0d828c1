//! Cancellations: a date that does not take place, and everything about it undone.
//!
//! ```text
//!   cancel ─▶ mark (schedules.cancelled_at) ─ commit ─▶ wake
//!                                                        │ every replica: a round
//!        ┌───────────────────────────────────────────────┘
//!        ├─ holds released, a batch a transaction         held ──────▶ cancelled
//!        ├─ payments refunded, a batch a transaction      confirmed ─▶ refunded
//!        └─ nothing left, and long enough ago ─▶ settled: no round looks at it again
//! ```
//!
//! The mark alone ends the sale: holds and payments read it. What is left to do is not written
//! anywhere: it is the live holds and live tickets of a cancelled date, so whoever comes after a
//! replica that was killed finds exactly what that one has not committed. A payment that read the
//! date before the mark and committed after it is found the same way.
//!
//! Invariants, and who keeps them:
//!
//! - a date is cancelled once, for good: the condition of the mark; the trigger
//!   `schedules_cancelled_once`;
//! - every payment is refunded once: as any refund (see `payments::refunds`); two replicas share the
//!   work by passing over each other's reservations;
//! - what is counted is what was done: a batch counts itself in its own transaction;
//! - locks are won as everywhere: reservations, seats, accounts; the accounts of a batch in the order
//!   of users, the count last;
//! - one refund that cannot be made holds up nobody: its batch is taken back, it is put aside, the
//!   batch is made without it; it is tried again every ten minutes;
//! - what is settled stays so: [`SETTLE_AFTER_SECONDS`] is longer than a transaction can be; the
//!   audit looks.

pub mod http;
mod model;
mod store;
mod work;

use std::sync::Arc;

use tokio::sync::Notify;
use uuid::Uuid;

pub use model::{CancelledConcert, Progress};
pub use work::run;

use crate::changes::Changes;
use crate::db::{self, Db};
use crate::payments::Payments;

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the date is not cancelled")]
    NotCancelled,
    #[error(transparent)]
    Db(#[from] db::Error),
}

/// The verbs of cancellations. Clones are the same.
#[derive(Clone)]
pub struct Cancellations {
    db: Db,
    payments: Arc<Payments>,
    changes: Changes,
    wake: Arc<Notify>,
}

impl Cancellations {
    /// Cancellations that are undone by `payments`.
    pub fn new(db: Db, payments: Arc<Payments>, changes: Changes) -> Self {
        Self { db, payments, changes, wake: Arc::default() }
    }

    /// Cancels a date, if it was not before; answers how far its undoing is.
    pub async fn cancel_schedule(&self, id: Uuid) -> Result<Progress, Refusal> {
        let marked = store::mark_schedule(&mut *self.db.lane().await?, self.db.offset_ms(), id).await?;
        self.marked(marked);
        self.progress(id).await
    }

    /// Cancels the dates of a concert that are to come. What took place is cancelled by its own name only.
    pub async fn cancel_concert(&self, id: Uuid) -> Result<CancelledConcert, Refusal> {
        let mut lane = self.db.lane().await?;
        let marked = store::mark_concert(&mut lane, self.db.offset_ms(), id).await?;
        self.marked(marked);
        let schedules = store::progress_of_concert(&mut lane, self.db.offset_ms(), id).await?;
        Ok(CancelledConcert { concert_id: id, schedules })
    }

    /// How far the undoing of a cancelled date is.
    pub async fn progress(&self, id: Uuid) -> Result<Progress, Refusal> {
        let mut lane = self.db.lane().await?;
        store::progress(&mut lane, self.db.offset_ms(), id).await?.ok_or(Refusal::NotCancelled)
    }

    fn marked(&self, schedules: Vec<Uuid>) {
        if !schedules.is_empty() {
            self.wake.notify_one();
            self.changes.seats_of(schedules);
        }
    }
}

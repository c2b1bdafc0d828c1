//! The loop that undoes what was held and paid of cancelled dates.

use std::time::Duration;

use shared::lifecycle::Lifecycle;
use uuid::Uuid;

use super::{Cancellations, store};
use crate::db::{self, Tx};
use crate::payments::{self, Refundable};
use crate::retry::{self, MayConflict};
use crate::{metrics, points, rounds};

const EVERY: Duration = Duration::from_secs(2);
const HOLDS: i64 = 500;
/// Small: whoever wants to use their points waits for the rest of a batch at most.
const PAYMENTS: i64 = 50;
const PUT_ASIDE_SECONDS: i64 = 600;
/// No transaction that began before the mark is still under way then.
pub const SETTLE_AFTER_SECONDS: i64 = 120;

/// Starts the loop.
pub fn run(lifecycle: &Lifecycle, cancellations: &Cancellations) {
    let (work, wake) = (cancellations.clone(), cancellations.wake.clone());
    rounds::every_or_woken(lifecycle, "refunds of cancelled dates", EVERY, wake, move || {
        let work = work.clone();
        async move { work.round().await }
    });
}

/// Why a batch of refunds was taken back.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Db(#[from] db::Error),
    /// By one payment of it.
    #[error("payment {payment}: {refusal}")]
    Of { payment: Uuid, refusal: payments::Refusal },
}

impl MayConflict for Failure {
    fn of_database(&self) -> Option<&db::Error> {
        match self {
            Self::Db(error) => Some(error),
            Self::Of { refusal, .. } => refusal.of_database(),
        }
    }
}

/// The trouble with the database that may pass, if it is that.
fn passing(refusal: &payments::Refusal) -> Option<&db::Error> {
    refusal.of_database().filter(|error| !matches!(error, db::Error::Constraint(_) | db::Error::Failed(_)))
}

impl Cancellations {
    /// A batch of each open date, whatever happens to that of another; whether there may be more.
    async fn round(&self) -> db::Result<bool> {
        let open = store::open(&mut *self.db.lane().await?).await?;
        if open.is_empty() {
            return Ok(false);
        }
        let (mut more, mut outcome) = (false, Ok(()));
        for schedule in open {
            match self.batch(schedule).await {
                Ok(may_be_more) => more |= may_be_more,
                Err(error) => outcome = Err(error),
            }
        }
        if !more {
            store::settle(&mut *self.db.lane().await?, self.db.offset_ms(), SETTLE_AFTER_SECONDS).await?;
        }
        outcome.map(|()| more)
    }

    async fn batch(&self, schedule: Uuid) -> db::Result<bool> {
        let more_held = self.release_some(schedule).await?;
        Ok(self.refund_some(schedule).await? || more_held)
    }

    async fn release_some(&self, schedule: Uuid) -> db::Result<bool> {
        let offset_ms = self.db.offset_ms();
        let released = store::release(&mut *self.db.lane().await?, offset_ms, schedule, HOLDS).await?;
        if released > 0 {
            metrics::many(metrics::CANCELLED_HOLDS, released.unsigned_abs());
            self.changes.seats_of([schedule]);
        }
        Ok(released == HOLDS)
    }

    /// A batch; what cannot be refunded is put aside, and the batch made without it in the next.
    async fn refund_some(&self, schedule: Uuid) -> db::Result<bool> {
        match retry::retried(|| self.try_refund(schedule)).await {
            Ok(0) => Ok(false),
            Ok(refunded) => {
                metrics::many(metrics::REFUNDS, refunded);
                metrics::many(metrics::CANCELLED_PAYMENTS, refunded);
                self.changes.seats_of([schedule]);
                Ok(true)
            }
            Err(Failure::Db(error)) => Err(error),
            Err(Failure::Of { payment, refusal }) => {
                if let Some(error) = passing(&refusal) {
                    return Err(error.clone());
                }
                self.put_aside(payment, &refusal).await?;
                Ok(true)
            }
        }
    }

    async fn try_refund(&self, schedule: Uuid) -> Result<u64, Failure> {
        let mut tx = self.db.begin().await?;
        let outcome = self.refund_all(&mut tx, schedule).await;
        tx.end(outcome).await
    }

    async fn refund_all(&self, tx: &mut Tx, schedule: Uuid) -> Result<u64, Failure> {
        let batch: Vec<Refundable> =
            store::lock_payments(tx, self.db.offset_ms(), schedule, PAYMENTS).await?;
        if batch.is_empty() {
            return Ok(0);
        }
        let refunded = self.payments.refund_cancelled(tx, &batch).await;
        refunded.map_err(|(payment, refusal)| Failure::Of { payment, refusal })?;
        let payments: Vec<Uuid> = batch.iter().map(|of| of.payment_id).collect();
        store::refunded(tx, schedule, &payments).await?;
        Ok(payments.len() as u64)
    }

    async fn put_aside(&self, payment: Uuid, refusal: &payments::Refusal) -> db::Result<()> {
        let reason = match refusal {
            payments::Refusal::Points(points::Refusal::BalanceLimit { .. }) => {
                "the account is full".to_owned()
            }
            refusal => refusal.to_string(),
        };
        let mut lane = self.db.lane().await?;
        let offset_ms = self.db.offset_ms();
        if store::put_aside(&mut lane, offset_ms, payment, &reason, PUT_ASIDE_SECONDS).await? {
            metrics::one(metrics::REFUNDS_PUT_ASIDE);
            tracing::error!(%payment, reason, "the refund of a cancelled date is put aside");
        }
        Ok(())
    }
}

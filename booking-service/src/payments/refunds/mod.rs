//! Refunds: tickets for points, seat by seat.
//!
//! ```text
//!   reservation (locked) ─ tickets looked at ─ refund, tickets ended, reservation counted down
//!          ─ seats sold → free ─ credit + ledger ─ idempotency ─ commit
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - a seat is given back once: the reservation's lock and the look after it; behind them the
//!   condition of the update, the trigger `tickets_end_once`, and the counted rows;
//! - of the right payment: `tickets_refund_fkey` over (refund, payment);
//! - never more than was paid, all of it with the last seat, and the status says so:
//!   `reservations_refunded_fits`, whose amount is the payment's;
//! - a seat that is free again is nobody's: only seats that the reservation itself has are freed;
//! - the points come once: `ledger_once` over (user, kind, cause), the cause being the refund.

mod model;
mod store;

use chrono::{DateTime, Utc};
use shared::ids::new_id;
use uuid::Uuid;

pub use model::{Reason, RefundLine, Refundable, Refunded};

use super::{Payments, Refusal};
use crate::crash;
use crate::db::{self, Conn, Tx};
use crate::holds::SeatNumbers;
use crate::idempotency::{self, Intent};
use crate::metrics;
use crate::points::Fee;
use crate::retry;
use model::{NoTicket, to_give_back};
use store::NewRefund;

/// Somebody's wish to give tickets back.
#[derive(Clone, Debug)]
pub struct GiveBack {
    pub user: String,
    pub payment: Uuid,
    /// `None`: all that are left.
    pub wanted: Option<SeatNumbers>,
    pub intent: Option<Intent>,
}

/// A refund whose points are still to come.
struct Ended {
    refund_id: Uuid,
    amount: i64,
    refunded_at: DateTime<Utc>,
    seat_numbers: Vec<i32>,
}

impl From<NoTicket> for Refusal {
    fn from(none: NoTicket) -> Self {
        match none {
            NoTicket::Unknown(numbers) => Self::UnknownSeat(numbers),
            NoTicket::GivenBack(numbers) => Self::AlreadyRefunded(numbers),
        }
    }
}

/// The refunds of a payment, in the order in which they were made.
pub async fn of_payment(conn: &mut Conn, payment: Uuid) -> db::Result<Vec<RefundLine>> {
    store::lines(conn, payment).await
}

impl Payments {
    /// Gives tickets back for what was paid, until the show starts.
    pub async fn refund(&self, wish: &GiveBack) -> Result<Refunded, Refusal> {
        let (refunded, schedule) = retry::retried(|| self.try_refund(wish)).await?;
        crash::point("refund.committed")?;
        self.tools.changes.seats_of([schedule]);
        metrics::one(metrics::REFUNDS);
        Ok(refunded)
    }

    async fn try_refund(&self, wish: &GiveBack) -> Result<(Refunded, Uuid), Refusal> {
        let mut tx = self.tools.db.begin().await?;
        let outcome = self.take_back(&mut tx, wish).await;
        tx.end(outcome).await
    }

    /// Beside the refund, the date it is of.
    async fn take_back(&self, tx: &mut Tx, wish: &GiveBack) -> Result<(Refunded, Uuid), Refusal> {
        idempotency::claim(tx, &self.tools.db, wish.intent.as_ref()).await?;
        crash::point("refund.claimed")?;
        let of = store::lock(tx, &wish.user, wish.payment).await?.ok_or(Refusal::PaymentNotFound)?;
        crash::point("refund.locked")?;
        let ended = self.end_tickets(tx, &of, wish.wanted.as_ref(), Reason::Request).await?;
        let refunded = self.credit(tx, &of, ended).await?;
        idempotency::remember(tx, &self.tools.db, wish.intent.as_ref(), &refunded).await?;
        crash::point("refund.remembered")?;
        Ok((refunded, of.schedule_id))
    }

    /// Gives back all tickets that are left of payments whose reservations are locked, because their
    /// date was cancelled: also after the show has started. The accounts come last, in the order that
    /// is given. Where it fails, beside the refusal, the payment that it is about.
    pub async fn refund_cancelled(&self, tx: &mut Tx, all: &[Refundable]) -> Result<(), (Uuid, Refusal)> {
        let mut ended = Vec::with_capacity(all.len());
        for of in all {
            let one = self.end_tickets(tx, of, None, Reason::Cancellation).await;
            ended.push(one.map_err(|refusal| (of.payment_id, refusal))?);
        }
        for (of, ended) in all.iter().zip(ended) {
            self.credit(tx, of, ended).await.map_err(|refusal| (of.payment_id, refusal))?;
        }
        Ok(())
    }

    /// Tickets ended and seats free; the points are still to come.
    async fn end_tickets(
        &self,
        tx: &mut Tx,
        of: &Refundable,
        wanted: Option<&SeatNumbers>,
        reason: Reason,
    ) -> Result<Ended, Refusal> {
        // Only a statement that begins after the lock was won sees what ended before it.
        let ending = to_give_back(&store::tickets(tx, of.payment_id).await?, wanted)?;
        let seat_numbers: Vec<i32> = ending.iter().map(|ticket| ticket.number).collect();
        let amount = ending.iter().map(|ticket| ticket.price).sum();
        let refund_id = new_id(self.tools.db.clock());
        let new = NewRefund { id: refund_id, of, numbers: &seat_numbers, amount, reason };
        let recorded = store::record(tx, self.tools.db.offset_ms(), &new).await?;
        let (refunded_at, ended) = recorded.ok_or(Refusal::ShowStarted)?;
        crash::point("refund.taken_back")?;
        let freed = store::free(tx, of, &seat_numbers).await?;
        if [ended, freed].iter().any(|count| usize::try_from(*count) != Ok(seat_numbers.len())) {
            let text = format!(
                "payment {}: {ended} tickets and {freed} seats of {seat_numbers:?} are its own",
                of.payment_id
            );
            return Err(db::Error::Failed(text).into());
        }
        crash::point("refund.freed")?;
        Ok(Ended { refund_id, amount, refunded_at, seat_numbers })
    }

    async fn credit(&self, tx: &mut Tx, of: &Refundable, ended: Ended) -> Result<Refunded, Refusal> {
        let Ended { refund_id, amount, refunded_at, seat_numbers } = ended;
        let payment_id = of.payment_id;
        let fee = Fee { user: &of.user, payment: payment_id, amount };
        let balance_after = self.tools.points.pay_back(tx, refund_id, &fee).await?;
        crash::point("refund.paid_back")?;
        Ok(Refunded { refund_id, payment_id, amount, balance_after, refunded_at, seat_numbers })
    }
}

//! Payments: points for held seats, and back.
//!
//! ```text
//!             pay                some seats back
//!   held hold ───▶ paid ───────────────────────────▶ partly refunded ⟲ some more
//!                   │  (reservation: confirmed)        │
//!                   └── all seats back ────────────────┴── the rest ──▶ refunded (reservation too)
//!
//!   seats back: the owner wants it, before the show starts; or the date is cancelled, at any time
//!
//!   pay: reservation (locked) ─ seats held → sold ─ debit + ledger ─ payment, tickets, confirmed
//!          ─ entry tokens spent + outbox ─ idempotency ─ commit ─▶ wake the relay
//! ```
//!
//! One transaction each: either all of that or nothing. Locks are won in one order everywhere:
//! reservation, seats by number, account. Invariants of a payment, and who keeps them (of a refund:
//! see `refunds`):
//!
//! - no money without a seat: the seats that become sold are counted, by the hold's own id;
//! - no seat without money: the debit is in the same transaction;
//! - paid once: the reservation's lock and status; behind them the unique key on the reservation;
//! - the right amount of the right user's hold: the composite foreign key to the immutable header;
//! - a seat is sold once: its row; independently of it the unique index over live tickets;
//! - nothing is paid past the deadline: compared again after the last lock was won;
//! - a sweep never undoes a payment: it passes over locked rows and looks at the status.
//!
//! Races, and what decides them. Whoever has the reservation's row goes first; the other then sees
//! the status that was left, and the guard would stop it even without the lock:
//!
//! | of a payment and | decided by | guard | the loser |
//! |---|---|---|---|
//! | a second payment | reservation's lock, `status` | `payments_reservation_once` | `already_paid` |
//! | expiry | `expires_at > db_now`, read after the last lock | `held_until` of the seats | `hold_expired` |
//! | the sweep | it skips locked rows; then `status` | seats counted by `hold_id` | nothing to sweep, or `hold_expired` |
//! | the release | reservation's lock, `status` | seats counted by `hold_id` | `not_held` |
//! | another payment of the user | account's lock, `balance >= amount` | `accounts_balance_not_negative` | `insufficient_points` |
//! | the cancellation of the date | `schedules.cancelled_at`, no lock: a payment that read it before and commits after | the loop of `cancellations` refunds it | `not_held`, or refunded |
//! | the next holder of a lapsed seat | the seat's row, `hold_id` | `tickets_live_once` | `hold_expired` |
//!
//! | of a refund and | decided by | guard | the loser |
//! |---|---|---|---|
//! | a refund of the same seat | reservation's lock, `tickets.live` | `tickets_end_once`, `reservations_refunded_fits` | `already_refunded` |
//! | a refund of another seat | reservation's lock: one after the other | `reservations_refunded_fits` | nobody |
//! | the start of the show | `starts_at > db_now` in the statement that refunds | – | `show_started` |
//! | the next buyer of the seat | the seat's row: it is free with the commit | `tickets_live_once` | `seat_taken` until then |

pub mod http;
mod model;
mod refunds;
mod store;

use shared::ids::new_id;
use uuid::Uuid;

pub use model::{Paid, Receipt};
pub use refunds::{GiveBack, Refundable, Refunded};

use crate::admitted::{self, Caller, Entry};
use crate::changes::Changes;
use crate::config::ReleaseOn;
use crate::crash;
use crate::db::{self, Db, Tx};
use crate::holds::Status;
use crate::idempotency::{self, Intent};
use crate::metrics;
use crate::outbox::Outbox;
use crate::points::{self, Accounts};
use crate::retry::{self, MayConflict};
use model::Payable;

/// Why nothing is paid or paid back. In the order of the contract.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Door(#[from] admitted::Refusal),
    #[error("you have no such reservation")]
    ReservationNotFound,
    #[error("the reservation is paid")]
    AlreadyPaid { payment: Option<Uuid> },
    #[error("the reservation is not held")]
    NotHeld,
    #[error("the hold is past its deadline")]
    HoldExpired,
    #[error("you have no such payment")]
    PaymentNotFound,
    #[error("the payment has no such seats: {0:?}")]
    UnknownSeat(Vec<i64>),
    #[error("these seats were given back: {0:?}")]
    AlreadyRefunded(Vec<i32>),
    #[error("the show has started")]
    ShowStarted,
    #[error(transparent)]
    Points(#[from] points::Refusal),
    #[error(transparent)]
    Key(#[from] idempotency::Refusal),
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl MayConflict for Refusal {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Db(db::Error::Conflict(_))
            | Self::Key(idempotency::Refusal::Db(db::Error::Conflict(_))) => true,
            Self::Points(refusal) => refusal.is_conflict(),
            _ => false,
        }
    }
}

/// Somebody's wish to pay a hold.
#[derive(Clone, Debug)]
pub struct Pay {
    pub caller: Caller,
    /// `None`: the id that was sent cannot be one.
    pub reservation: Option<Uuid>,
    pub intent: Option<Intent>,
}

/// What a payment has done.
struct Sale {
    paid: Paid,
    schedule: Uuid,
    /// Entry tokens that ended with it.
    spent: Vec<Entry>,
}

/// The verbs of payments.
pub struct Payments {
    pub db: Db,
    pub points: std::sync::Arc<Accounts>,
    pub outbox: Outbox,
    pub changes: Changes,
    pub release_on: ReleaseOn,
}

impl Payments {
    /// Pays a hold.
    pub async fn pay(&self, wish: &Pay) -> Result<Paid, Refusal> {
        let Sale { paid, schedule, spent } = retry::retried(|| self.try_pay(wish)).await?;
        crash::point("pay.committed")?;
        self.outbox.committed(&spent);
        self.changes.seats_of([schedule]);
        metrics::one(metrics::PAYMENTS);
        metrics::many(metrics::POINTS_PAID, paid.amount.cast_unsigned());
        Ok(paid)
    }

    async fn try_pay(&self, wish: &Pay) -> Result<Sale, Refusal> {
        let mut tx = self.db.begin().await?;
        let outcome = self.exchange(&mut tx, wish).await;
        tx.end(outcome).await
    }

    /// Points for seats.
    async fn exchange(&self, tx: &mut Tx, wish: &Pay) -> Result<Sale, Refusal> {
        idempotency::claim(tx, &self.db, wish.intent.as_ref()).await?;
        crash::point("pay.claimed")?;
        let payable = lock(tx, wish).await?;
        crash::point("pay.locked")?;
        if store::sell(tx, self.db.offset_ms(), &payable).await? != payable.seats.len() {
            return Err(Refusal::HoldExpired);
        }
        crash::point("pay.sold")?;
        let payment = new_id(self.db.clock());
        let balance = self.points.pay(tx, wish.caller.user(), payment, payable.amount).await?;
        crash::point("pay.debited")?;
        let paid = store::record(tx, self.db.offset_ms(), payment, &payable, balance).await?;
        let paid = paid.ok_or(Refusal::HoldExpired)?;
        crash::point("pay.recorded")?;
        let spent = self.spend(tx, &payable, wish.caller.entry()).await?;
        crash::point("pay.spent")?;
        idempotency::remember(tx, &self.db, wish.intent.as_ref(), &paid).await?;
        crash::point("pay.remembered")?;
        Ok(Sale { paid, schedule: payable.schedule_id, spent })
    }

    /// Under `RELEASE_ON=payment` the hold's entry token ends, and the one that is shown for it,
    /// which must not have ended before: two payments at once cannot both end it.
    async fn spend(
        &self,
        tx: &mut Tx,
        payable: &Payable,
        shown: Option<&Entry>,
    ) -> Result<Vec<Entry>, Refusal> {
        if self.release_on == ReleaseOn::Hold {
            return Ok(Vec::new());
        }
        let ending = payable.ending(shown);
        let spent = self.outbox.spend(tx, &ending).await?;
        match payable.own(shown) {
            Some(shown) if !spent.contains(&shown.jti) => Err(admitted::Refusal::EntryCompleted.into()),
            _ => Ok(ending),
        }
    }

    /// The receipt of a user's own payment.
    pub async fn receipt(&self, user: &str, payment: Option<Uuid>) -> Result<Receipt, Refusal> {
        let payment = payment.ok_or(Refusal::PaymentNotFound)?;
        let mut lane = self.db.lane().await?;
        let found = store::paid(&mut lane, user, payment).await?;
        let (paid, schedule) = found.ok_or(Refusal::PaymentNotFound)?;
        Ok(Receipt::new(paid, schedule, refunds::of_payment(&mut lane, payment).await?))
    }
}

/// Locks the reservation, or says what is in the way of paying it.
async fn lock(tx: &mut Tx, wish: &Pay) -> Result<Payable, Refusal> {
    let jti = wish.caller.entry().map(|entry| entry.jti.as_str());
    let found = match wish.reservation {
        Some(id) => store::lock_payable(tx, wish.caller.user(), id, jti).await?,
        None => None,
    };
    let Some(payable) = found else {
        let spent = store::is_spent(tx, jti).await?;
        return Err(if spent {
            admitted::Refusal::EntryCompleted.into()
        } else {
            Refusal::ReservationNotFound
        });
    };
    if payable.shown_is_spent {
        return Err(admitted::Refusal::EntryCompleted.into());
    }
    if !wish.caller.may_enter(&payable.queue) {
        return Err(admitted::Refusal::WrongQueue.into());
    }
    match payable.status {
        Status::Held if payable.is_cancelled => Err(Refusal::NotHeld),
        Status::Held => Ok(payable),
        Status::Confirmed => {
            let payment = store::payment_of(tx, payable.reservation_id).await?;
            Err(Refusal::AlreadyPaid { payment })
        }
        Status::Cancelled | Status::Refunded => Err(Refusal::NotHeld),
        Status::Expired => Err(Refusal::HoldExpired),
    }
}

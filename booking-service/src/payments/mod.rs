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
//!   pay, one statement: reservations, seats, accounts (locked) ─ the time ─ judged ─▶ tokens spent + outbox, debit
//!          + ledger, confirmed, seats sold, payment, tickets
//! ```
//!
//! A payment is whole or absent: all of that is one statement, which it shares with the payments of others that
//! came at the same time (`pay.rs`), and with a key one transaction. Locks are won in one order everywhere: reservations,
//! seats by number, accounts. Invariants of a payment, and who keeps them (of a refund: see `refunds`):
//!
//! - no money without a seat: as many seats as the hold has are locked, by its own id; behind that, `payments` counts those
//!   that were sold;
//! - no seat without money: the debit is in the same statement;
//! - paid once: the reservation's lock and status; behind them the unique key on the reservation;
//! - the right amount of the right user's hold: the composite foreign key to the immutable header;
//! - a seat is sold once: its row; independently of it the unique index over live tickets;
//! - nothing is paid past the deadline: the time is read after the last lock was won;
//! - a token that is shown pays once: `spent_entries` comes before the debit, which hangs on it;
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
//! | whoever spends the token | its row in `spent_entries` | – | `entry_token_completed` |
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
mod pay;
mod refunds;
mod store;

use std::sync::Arc;

use shared::lifecycle::Lifecycle;
use uuid::Uuid;

pub use model::{Paid, Receipt};
pub use refunds::{GiveBack, Refundable, Refunded};

use crate::admitted::{self, Caller};
use crate::changes::Changes;
use crate::config::ReleaseOn;
use crate::db::{self, Db};
use crate::idempotency::{self, Intent};
use crate::outbox::Outbox;
use crate::points::{self, Accounts};
use crate::retry::MayConflict;
use pay::Together;

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
    fn of_database(&self) -> Option<&db::Error> {
        match self {
            Self::Db(error) | Self::Key(idempotency::Refusal::Db(error)) => Some(error),
            Self::Points(refusal) => refusal.of_database(),
            _ => None,
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

/// What payments are made with.
#[derive(Clone)]
pub struct Tools {
    pub db: Db,
    pub points: Arc<Accounts>,
    pub outbox: Outbox,
    pub changes: Changes,
    pub release_on: ReleaseOn,
}

/// The verbs of payments.
pub struct Payments {
    tools: Tools,
    together: Together,
}

impl Payments {
    /// Starts the batches of payments.
    pub fn start(tools: Tools, lifecycle: &Lifecycle) -> Self {
        Self { together: Together::start(&tools, lifecycle), tools }
    }

    /// The receipt of a user's own payment.
    pub async fn receipt(&self, user: &str, payment: Option<Uuid>) -> Result<Receipt, Refusal> {
        let payment = payment.ok_or(Refusal::PaymentNotFound)?;
        let mut lane = self.tools.db.lane().await?;
        let found = store::paid(&mut lane, user, payment).await?;
        let (paid, schedule) = found.ok_or(Refusal::PaymentNotFound)?;
        Ok(Receipt::new(paid, schedule, refunds::of_payment(&mut lane, payment).await?))
    }
}

//! Holds: seats kept off sale for one user until a deadline.
//!
//! ```text
//!              place                pay                  refund
//!   (nothing) ───────▶ held ───────────────▶ confirmed ─────────▶ refunded
//!                     ▲ │ │ │ cancel
//!       extend (once) └─┘ │ └────────▶ cancelled
//!                         └ deadline ─▶ expired   (at once; the sweeper only writes it down)
//! ```
//!
//! The machine itself, with the name of each refusal, is [`Standing::after`](model::Standing::after). A wish names
//! its seats, or a number of them and leaves the choice to `best`; either way the same statement takes them.
//!
//! Invariants, and who keeps them:
//!
//! - a seat has one holder: its state is in its row, taken by one conditional update;
//! - all seats or none: one statement, which counts what it took;
//! - a seat is named as taken only when somebody visibly has it: who meets a transaction that is
//!   half-way tries again until it has ended;
//! - `seats_unavailable` likewise: no choice was left among the seats that nobody visibly has, as one
//!   statement over the whole hall proves, whatever the pieces showed in which a hall is read;
//! - losers do not write: they are refused by a look without a lock;
//! - a hold is worth nothing from its deadline on: every statement compares it with the database's
//!   clock, and the next holder overwrites it;
//! - a hold is extended once, before its deadline, with all of its seats: one statement, which locks the
//!   reservation, then its seats in order, and looks again after the last lock;
//! - a user's limit holds when requests race: they line up at a row of `buyers`, and behind whatever is
//!   half-way with the user's other holds.

mod best;
pub mod http;
mod model;
mod place;
mod store;
mod sweeper;
mod tries;
mod wish;

use shared::lifecycle::Lifecycle;
use shared::page::{Page, PageOf};
use uuid::Uuid;

pub use model::{Reservation, ReservedSeat, Status, reserved};
pub use place::{Place, Rules, Tools};
pub use sweeper::run as run_sweeper;
pub use wish::{Obstacle, ReserveBody, SeatNumbers, Wanted};

use crate::changes::Changes;
use crate::crash;
use crate::db::{self, Db};
use crate::idempotency;
use crate::metrics;
use crate::outbox::Outbox;
use crate::retry::{self, MayConflict};
use model::{Denied, Event};
use place::Together;
use tries::Tries;

/// Why there is no hold.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0:?}")]
    Obstacle(Obstacle),
    #[error("you have no such reservation")]
    ReservationNotFound,
    #[error("the reservation is not held")]
    NotHeld,
    #[error("the hold is past its deadline")]
    HoldExpired,
    #[error("holds are not extended here")]
    ExtensionNotAllowed,
    #[error("the hold was extended")]
    AlreadyExtended,
    /// Somebody was half-way for as long as we waited.
    #[error("others are at these seats; nobody has them yet")]
    Crowded,
    #[error(transparent)]
    Key(#[from] idempotency::Refusal),
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl From<Obstacle> for Refusal {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::HoldExpired => Self::HoldExpired,
            Denied::NotAllowed => Self::ExtensionNotAllowed,
            Denied::AlreadyExtended => Self::AlreadyExtended,
            Denied::NotHeld | Denied::AlreadyPaid | Denied::NotPaid | Denied::AlreadyRefunded => {
                Self::NotHeld
            }
        }
    }
}

impl MayConflict for Refusal {
    fn of_database(&self) -> Option<&db::Error> {
        match self {
            Self::Db(error) | Self::Key(idempotency::Refusal::Db(error)) => Some(error),
            _ => None,
        }
    }
}

/// The verbs of holds.
pub struct Holds {
    db: Db,
    outbox: Outbox,
    changes: Changes,
    rules: Rules,
    tries: Tries,
    together: Together,
}

impl Holds {
    /// Starts the batches of holds.
    pub fn start(tools: Tools, lifecycle: &Lifecycle) -> Self {
        let together = Together::start(&tools, lifecycle);
        let Tools { db, outbox, changes, rules } = tools;
        Self { db, outbox, changes, rules, tries: Tries::default(), together }
    }

    /// A user's own reservations, the newest first.
    pub async fn list(
        &self,
        user: &str,
        status: Option<Status>,
        page: &PageOf<Uuid>,
    ) -> Result<Page<Reservation>, Refusal> {
        let mut lane = self.db.lane().await?;
        let rows = store::reservations(&mut lane, self.db.offset_ms(), user, None, status, page).await?;
        Ok(page.cut(rows, |reservation| reservation.reservation_id))
    }

    /// A user's own reservation.
    pub async fn get(&self, user: &str, id: Option<Uuid>) -> Result<Reservation, Refusal> {
        let id = id.ok_or(Refusal::ReservationNotFound)?;
        let one = PageOf { limit: 1, after: None };
        let mut lane = self.db.lane().await?;
        let rows = store::reservations(&mut lane, self.db.offset_ms(), user, Some(id), None, &one).await?;
        rows.into_iter().next().ok_or(Refusal::ReservationNotFound)
    }

    /// The queue in front of a reservation, whoever's it is.
    pub async fn queue_of(&self, id: Uuid) -> db::Result<Option<String>> {
        store::queue_of(&mut *self.db.lane().await?, id).await
    }

    /// Lets the seats of a hold go.
    pub async fn cancel(&self, user: &str, id: Option<Uuid>) -> Result<(), Refusal> {
        let id = id.ok_or(Refusal::ReservationNotFound)?;
        let schedule = retry::retried(async || {
            crash::point("release.begun")?;
            let done = store::cancel(&mut *self.db.lane().await?, self.db.offset_ms(), user, id).await?;
            crash::point("release.committed")?;
            self.done_or_denied(done, user, id, Event::Cancel).await
        });
        self.changes.seats_of([schedule.await?]);
        Ok(())
    }

    /// Moves the deadline of a hold, once, where the settings allow it.
    pub async fn extend(&self, user: &str, id: Option<Uuid>) -> Result<Reservation, Refusal> {
        let id = id.ok_or(Refusal::ReservationNotFound)?;
        let seconds = self.rules.extension_seconds;
        let longer = retry::retried(async || {
            let done = if seconds == 0 {
                None
            } else {
                let mut lane = self.db.lane().await?;
                store::extend(&mut lane, self.db.offset_ms(), user, id, seconds).await?
            };
            self.done_or_denied(done, user, id, Event::Extend { seconds }).await
        });
        let longer = longer.await?;
        self.changes.seats_of([longer.schedule_id]);
        metrics::one(metrics::EXTENSIONS);
        Ok(longer)
    }

    /// What the statement for `event` has done, or what was in its way.
    async fn done_or_denied<T>(
        &self,
        done: Option<T>,
        user: &str,
        id: Uuid,
        event: Event,
    ) -> Result<T, Refusal> {
        if let Some(done) = done {
            return Ok(done);
        }
        match self.get(user, Some(id)).await?.after(event) {
            Err(denied) => Err(denied.into()),
            // It was past its deadline, and an extension that began before has moved that meanwhile.
            Ok(_) => Err(Refusal::HoldExpired),
        }
    }
}

//! Holds: seats kept off sale for one user until a deadline.
//!
//! ```text
//!              place                pay                  refund
//!   (nothing) ───────▶ held ───────────────▶ confirmed ─────────▶ refunded
//!                       │ │ cancel
//!                       │ └────────▶ cancelled
//!                       └ deadline ─▶ expired   (at once; the sweeper only writes it down)
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - a seat has one holder: its state is in its row, taken by one conditional update;
//! - all seats or none: one statement, which counts what it took;
//! - a seat is named as taken only when somebody visibly has it: who meets a transaction that is
//!   half-way tries again until it has ended;
//! - losers do not write: they are refused by a look without a lock;
//! - a hold is worth nothing from its deadline on: every statement compares it with the database's
//!   clock, and the next holder overwrites it;
//! - a user's limit holds when requests race: they line up at a row of `buyers`.

pub mod http;
mod model;
mod place;
mod store;
mod sweeper;

use shared::page::{Page, PageOf};
use uuid::Uuid;

pub use model::{Obstacle, Reservation, ReservedSeat, SeatNumbers, Status, reserved};
pub use place::{Place, Rules};
pub use sweeper::run as run_sweeper;

use crate::crash;
use crate::db::{self, Db};
use crate::idempotency;
use crate::outbox::Outbox;
use crate::reports::Stock;
use crate::retry::{self, MayConflict};

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

impl MayConflict for Refusal {
    fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Db(db::Error::Conflict(_)) | Self::Key(idempotency::Refusal::Db(db::Error::Conflict(_)))
        )
    }
}

/// The verbs of holds.
pub struct Holds {
    db: Db,
    outbox: Outbox,
    stock: Stock,
    rules: Rules,
}

impl Holds {
    /// Holds under `rules`.
    pub fn new(db: Db, outbox: Outbox, stock: Stock, rules: Rules) -> Self {
        Self { db, outbox, stock, rules }
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
        retry::retried(|| self.try_cancel(user, id)).await
    }

    async fn try_cancel(&self, user: &str, id: Uuid) -> Result<(), Refusal> {
        crash::point("release.begun")?;
        let gone = store::cancel(&mut *self.db.lane().await?, self.db.offset_ms(), user, id).await?;
        crash::point("release.committed")?;
        if let Some(schedule) = gone {
            self.stock.changed([schedule]);
            return Ok(());
        }
        match self.get(user, Some(id)).await?.status {
            // Held: a payment or cancellation that was under way has just been taken back.
            Status::Expired | Status::Held => Err(Refusal::HoldExpired),
            Status::Confirmed | Status::Cancelled | Status::Refunded => Err(Refusal::NotHeld),
        }
    }
}

//! The verb that makes a hold.

use std::time::Duration;

use shared::ids::new_id;
use tokio::time::Instant;
use uuid::Uuid;

use super::model::{DateLook, Look, Obstacle, Reservation, SeatNumbers};
use super::store::{self, NewHold};
use super::{Holds, Refusal};
use crate::admitted::{Caller, Entry};
use crate::config::ReleaseOn;
use crate::crash;
use crate::db::{Conn, Tx};
use crate::idempotency::{self, Intent};
use crate::metrics;
use crate::retry;

/// How long a request waits for transactions that are half-way with its seats.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The settings of holds.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub ttl_seconds: u32,
    pub max_seats: u32,
    pub release_on: ReleaseOn,
}

/// Somebody's wish for seats.
#[derive(Clone, Debug)]
pub struct Place {
    pub caller: Caller,
    /// `None`: the id that was sent cannot be one.
    pub schedule: Option<Uuid>,
    pub numbers: SeatNumbers,
    pub intent: Option<Intent>,
}

impl Holds {
    /// Holds all the seats, or says what is in the way.
    pub async fn place(&self, wish: &Place) -> Result<Reservation, Refusal> {
        if wish.intent.is_none() {
            // Most refusals end here: one statement, no transaction. With a key the key comes first.
            self.look(&mut *self.db.lane().await?, wish).await?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(held) = retry::retried(|| self.attempt(wish)).await? {
                metrics::one(metrics::HOLDS);
                metrics::many(metrics::SEATS_HELD, held.seats.len() as u64);
                return Ok(held);
            }
            if Instant::now() >= deadline {
                return Err(Refusal::Crowded);
            }
            metrics::one(metrics::HOLD_COLLISIONS);
            retry::pause(Duration::from_millis(2), Duration::from_millis(12)).await;
        }
    }

    /// One transaction; `None` when a seat that nobody visibly has could not be taken.
    async fn attempt(&self, wish: &Place) -> Result<Option<Reservation>, Refusal> {
        let mut tx = self.db.begin().await?;
        let outcome = self.take(&mut tx, wish).await;
        if matches!(outcome, Ok(None)) {
            tx.abandon().await;
            return Ok(None);
        }
        let held = tx.end(outcome).await?;
        crash::point("hold.committed")?;
        Ok(held.map(|(held, spent)| {
            self.outbox.committed(spent.as_slice());
            self.stock.changed([held.schedule_id]);
            held
        }))
    }

    /// The work of the transaction; beside the hold, the entry token that it has spent.
    async fn take(&self, tx: &mut Tx, wish: &Place) -> Result<Option<(Reservation, Option<Entry>)>, Refusal> {
        idempotency::claim(tx, &self.db, wish.intent.as_ref()).await?;
        crash::point("hold.claimed")?;
        let mut date = self.look(tx, wish).await?;
        crash::point("hold.looked")?;
        let schedule = wish.schedule.ok_or(Obstacle::ScheduleNotFound)?;
        if date.limit.is_some() {
            store::line_up(tx, schedule, wish.caller.user()).await?;
            crash::point("hold.lined_up")?;
            date = self.look(tx, wish).await?;
        }
        let new = NewHold {
            id: new_id(self.db.clock()),
            user: wish.caller.user(),
            schedule,
            queue: &date.queue,
            entry: wish.caller.entry(),
            numbers: wish.numbers.possible(),
            ttl_seconds: self.rules.ttl_seconds,
        };
        let Some(held) = store::take(tx, self.db.offset_ms(), &new).await? else {
            return Ok(None);
        };
        crash::point("hold.taken")?;
        let spent = self.spend(tx, wish, &date.queue).await?;
        crash::point("hold.spent")?;
        idempotency::remember(tx, &self.db, wish.intent.as_ref(), &held).await?;
        crash::point("hold.remembered")?;
        Ok(Some((held, spent)))
    }

    /// What the store shows of the wish, when nothing is in its way.
    async fn look(&self, conn: &mut Conn, wish: &Place) -> Result<DateLook, Refusal> {
        let jti = wish.caller.entry().map(|entry| entry.jti.as_str());
        let user = wish.caller.user();
        let look: Look =
            store::look(conn, self.db.offset_ms(), user, wish.schedule, &wish.numbers, jti).await?;
        look.judge(|queue| wish.caller.may_enter(queue), &wish.numbers, self.rules.max_seats)?;
        Ok(look.date.unwrap_or_default())
    }

    /// Under `RELEASE_ON=hold` the entry token ends with the hold it makes, and makes only one. One of
    /// another queue, shown where none was needed, has nothing to do with it.
    async fn spend(&self, tx: &mut Tx, wish: &Place, queue: &str) -> Result<Option<Entry>, Refusal> {
        match (self.rules.release_on, wish.caller.entry().filter(|entry| entry.queue == queue)) {
            (ReleaseOn::Hold, Some(entry)) => {
                let spent = self.outbox.spend(tx, std::slice::from_ref(entry)).await?;
                if spent.is_empty() { Err(Obstacle::EntryCompleted.into()) } else { Ok(Some(entry.clone())) }
            }
            _ => Ok(None),
        }
    }
}

//! The verb that makes a hold, of seats that are named or of seats we choose.
//!
//! ```text
//!   named ─▶ with others (`together`): key ─ line up ─ take ─ spend ─ remember ─ commit ─▶ held; or the take alone
//!               │ not taken: look, with others ─▶ what is in the way
//!               │                nothing is: somebody is half-way ─▶ again
//!               └ it cannot go with others ─▶ alone
//!
//!   chosen, or alone: key ─ look ─ limited: any left? line up, look again ─ choose ─ take ─ spend
//!                                      ─ remember ─ commit
//! ```
//!
//! Named seats are taken first and looked at only when that has failed: who wins costs one statement, who loses
//! two, and both share theirs with whoever came at the same time. What is chosen is chosen anew in each
//! attempt, from what the attempt's own transaction sees.

mod store;
mod together;

use std::sync::Arc;
use std::time::Duration;

use shared::ids::new_id;
use tokio::time::Instant;
use uuid::Uuid;

pub use together::{Together, Tools};

use super::best::{Best, Seat};
use super::model::Reservation;
use super::tries::{Choice, Misses, Seen, Try};
use super::wish::{DateLook, Look, Obstacle, Wanted};
use super::{Holds, Refusal};
use crate::admitted::{Caller, Entry};
use crate::config::ReleaseOn;
use crate::crash;
use crate::db::{Conn, Tx};
use crate::idempotency::{self, Intent};
use crate::metrics;
use crate::outbox::Outbox;
use crate::retry;
use crate::together::Fate;
use store::{FreeSeat, NewHold, Question, Taken};

/// How long a request waits for transactions that are half-way with its seats.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How many free seats of a hall are read first, and how much more with each piece: few statements, and
/// little that is read in vain.
const FIRST_PIECE: i64 = 128;
const PIECE_GROWTH: i64 = 4;

/// The settings of holds.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub ttl_seconds: u32,
    pub max_seats: u32,
    /// 0: no hold is extended.
    pub extension_seconds: u32,
    pub release_on: ReleaseOn,
}

impl Rules {
    /// Under `RELEASE_ON=hold` the entry token ends with the hold it makes. One of another queue than the date's, shown
    /// where none was needed, has nothing to do with it.
    fn ending<'a>(&self, taken: &Taken, shown: Option<&'a Entry>) -> Option<&'a Entry> {
        shown.filter(|entry| self.release_on == ReleaseOn::Hold && entry.queue == taken.queue)
    }
}

/// Somebody's wish for seats.
#[derive(Clone, Debug)]
pub struct Place {
    pub caller: Caller,
    /// `None`: the id that was sent cannot be one.
    pub schedule: Option<Uuid>,
    pub wanted: Wanted,
    pub intent: Option<Intent>,
}

impl Place {
    fn jti(&self) -> Option<&str> {
        self.caller.entry().map(|entry| entry.jti.as_str())
    }

    fn question(&self) -> Question<'_> {
        let user = self.caller.user();
        Question { user, schedule: self.schedule, wanted: &self.wanted, jti: self.jti() }
    }

    fn judge(&self, look: &Look, rules: &Rules) -> Result<(), Obstacle> {
        look.judge(|queue| self.caller.may_enter(queue), &self.wanted, rules.max_seats)
    }
}

/// How long somebody still waits who was in nobody's visible way.
#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    /// A pause before the next attempt. The time counts from the first one on: time in line for a connection is
    /// nobody's being half-way.
    async fn pause(&mut self) -> Result<(), Refusal> {
        if Instant::now() >= *self.0.get_or_insert_with(|| Instant::now() + PATIENCE) {
            return Err(Refusal::Crowded);
        }
        metrics::one(metrics::HOLD_COLLISIONS);
        retry::pause(Duration::from_millis(2), Duration::from_millis(12)).await;
        Ok(())
    }
}

/// Where an attempt aims that chooses its seats.
struct Aim<'a> {
    misses: &'a Misses,
    at: Option<Try<'a>>,
}

impl Holds {
    /// Holds all the seats, or says what is in the way.
    pub async fn place(&self, wish: Place) -> Result<Reservation, Refusal> {
        let wish = Arc::new(wish);
        let held = match wish.wanted {
            Wanted::Named(_) => self.place_named(&wish).await?,
            Wanted::Best(_) => self.place_alone(&wish).await?,
        };
        metrics::one(metrics::HOLDS);
        metrics::many(metrics::SEATS_HELD, held.seats.len() as u64);
        Ok(held)
    }

    async fn place_named(&self, wish: &Arc<Place>) -> Result<Reservation, Refusal> {
        let mut patience = Patience::default();
        loop {
            match self.together.take(wish).await? {
                Fate::Done(held) => return Ok(held),
                Fate::Refused(refusal) => return Err(refusal),
                Fate::Alone => return self.place_alone(wish).await,
                Fate::Again => {}
            }
            let look = self.together.look(wish).await?;
            if let Err(obstacle) = wish.judge(&look, &self.rules) {
                if let Some(intent) = &wish.intent {
                    // The same request may have succeeded meanwhile, and then it is what was in the way.
                    idempotency::find(&self.db, intent).await?;
                }
                return Err(obstacle.into());
            }
            if !self.together.learn(&look, wish) {
                patience.pause().await?;
            }
        }
    }

    /// In a transaction of its own; again while somebody is half-way.
    async fn place_alone(&self, wish: &Place) -> Result<Reservation, Refusal> {
        if wish.intent.is_none() {
            // Most refusals end here: one statement, no transaction. With a key the key comes first.
            self.look(&mut *self.db.lane().await?, wish).await?;
        }
        let (mut misses, mut patience) = (Misses::default(), Patience::default());
        loop {
            let (outcome, seats) = retry::retried(|| self.attempt(wish, &misses)).await?;
            if let Some(held) = outcome {
                return Ok(held);
            }
            patience.pause().await?;
            misses = Misses { count: misses.count + 1, seats };
        }
    }

    /// One transaction; no reservation when a seat that nobody visibly has could not be taken. Beside it,
    /// the seats we chose.
    async fn attempt(
        &self,
        wish: &Place,
        misses: &Misses,
    ) -> Result<(Option<Reservation>, Vec<i32>), Refusal> {
        // Outlives the transaction: until it has ended, others choose other seats.
        let mut aim = Aim { misses, at: None };
        let mut tx = self.db.begin().await?;
        let outcome = self.take(&mut tx, wish, &mut aim).await;
        if matches!(outcome, Ok(None)) {
            tx.abandon().await;
            return Ok((None, aim.at.map(|these| these.numbers().to_vec()).unwrap_or_default()));
        }
        let held = tx.end(outcome).await?;
        crash::point("hold.committed")?;
        let held = held.map(|(held, spent)| {
            self.outbox.committed(spent.as_slice());
            self.changes.seats_of([held.schedule_id]);
            held
        });
        Ok((held, Vec::new()))
    }

    /// The work of the transaction; beside the hold, the entry token that it has spent.
    async fn take<'h>(
        &'h self,
        tx: &mut Tx,
        wish: &Place,
        aim: &mut Aim<'h>,
    ) -> Result<Option<(Reservation, Option<Entry>)>, Refusal> {
        idempotency::claim(tx, &self.db, wish.intent.as_ref()).await?;
        crash::point("hold.claimed")?;
        let mut date = self.look(tx, wish).await?;
        let schedule = wish.schedule.ok_or(Obstacle::ScheduleNotFound)?;
        if date.limit.is_some() {
            self.look_for_any(tx, wish, schedule).await?;
            store::line_up(tx, &[(schedule, wish.caller.user())]).await?;
            crash::point("hold.lined_up")?;
            date = self.look(tx, wish).await?;
        }
        let numbers = match &wish.wanted {
            Wanted::Named(numbers) => numbers.possible(),
            Wanted::Best(best) => match self.choose(tx, schedule, best, aim).await? {
                Some(numbers) => numbers,
                None => return Ok(None),
            },
        };
        let new = NewHold {
            id: new_id(self.db.clock()),
            user: wish.caller.user(),
            schedule,
            confined_to: wish.caller.confined_to(),
            entry: wish.caller.entry(),
            numbers,
            lined_up: date.limit.is_some(),
        };
        let taken = store::take(tx, self.db.offset_ms(), self.rules.ttl_seconds, &[new]).await?;
        let Some(taken) = taken.into_iter().next() else {
            return Ok(None);
        };
        crash::point("hold.taken")?;
        let spent = self.rules.ending(&taken, wish.caller.entry()).cloned();
        spend(&self.outbox, tx, spent.as_slice()).await?;
        crash::point("hold.spent")?;
        let held = taken.reservation;
        idempotency::remember(tx, &self.db, wish.intent.as_ref(), &held).await?;
        crash::point("hold.remembered")?;
        Ok(Some((held, spent)))
    }

    /// Refuses who leaves the choice to us when there is none, without a lock and before anything is written.
    async fn look_for_any(&self, conn: &mut Conn, wish: &Place, schedule: Uuid) -> Result<(), Refusal> {
        let Wanted::Best(best) = &wish.wanted else { return Ok(()) };
        let mut aim = Aim { misses: &Misses::default(), at: None };
        match self.choose(conn, schedule, best, &mut aim).await {
            Err(Refusal::Obstacle(nothing)) => {
                // The last seats may have become the user's own: then the limit is what is in the way.
                self.look(conn, wish).await?;
                Err(nothing.into())
            }
            seen => seen.map(drop),
        }
    }

    /// The best seats that nobody has or tries for here; `None` when there are only such. The hall is read
    /// no further than is needed.
    async fn choose<'h>(
        &'h self,
        conn: &mut Conn,
        schedule: Uuid,
        best: &Best,
        aim: &mut Aim<'h>,
    ) -> Result<Option<Vec<i32>>, Refusal> {
        let (offset, section) = (self.db.offset_ms(), best.section.as_deref());
        store::walk_in_order(conn).await?;
        let (mut free, mut piece) = (Vec::new(), FIRST_PIECE);
        loop {
            let after = free.last().map_or(0, |seat: &FreeSeat| seat.number);
            let more = store::free_seats(conn, offset, schedule, section, after, piece).await?;
            let to_the_end = (more.len() as u64) < piece.unsigned_abs();
            free.extend(more);
            let seats: Vec<Seat<'_>> = free.iter().map(Seat::from).collect();
            let seen = Seen { seats: &seats, to_the_end };
            match self.tries.choose(schedule, best, &seen, aim.misses, retry::dice) {
                Choice::These(these) => return Ok(Some(aim.at.insert(these).numbers().to_vec())),
                Choice::OthersAreThere => return Ok(None),
                Choice::Nothing => {
                    self.prove_nothing_left(conn, schedule, best).await?;
                    return Ok(None);
                }
                Choice::TooFew => piece = piece.saturating_mul(PIECE_GROWTH),
            }
        }
    }

    /// Refuses, unless a seat was freed behind the reader.
    async fn prove_nothing_left(&self, conn: &mut Conn, schedule: Uuid, best: &Best) -> Result<(), Refusal> {
        let left = store::left(conn, self.db.offset_ms(), schedule, best.section.as_deref()).await?;
        if best.fits(left) {
            return Ok(());
        }
        let available = usize::try_from(left.available).unwrap_or_default();
        let (wanted, together) = (best.count, best.together);
        Err(Obstacle::SeatsUnavailable { wanted, available, together }.into())
    }

    /// What the store shows of the wish, when nothing is in its way.
    async fn look(&self, conn: &mut Conn, wish: &Place) -> Result<DateLook, Refusal> {
        let looks = store::look(conn, self.db.offset_ms(), &[wish.question()]).await?;
        let look = looks.into_iter().next().unwrap_or_default();
        wish.judge(&look, &self.rules)?;
        Ok(look.date.unwrap_or_default())
    }
}

/// Each of these makes one hold and no more.
async fn spend(outbox: &Outbox, tx: &mut Tx, entries: &[Entry]) -> Result<(), Refusal> {
    if outbox.spend(tx, entries).await?.len() == entries.len() {
        Ok(())
    } else {
        Err(Obstacle::EntryCompleted.into())
    }
}

//! Seat maps: what every seat of a date shows, answered from memory.
//!
//! ```text
//!   reader ──▶ Hall known here, and fresh? ── yes ──▶ Picture: encoded once a version, zipped once
//!                │ no: read whole (one reader        │
//!                │ does, the others wait)            │ a change or a deadline makes it outdated
//!                ▼                                   │
//!   Postgres: seats ── trigger ──▶ seat_changes ──▶ round, ten times a second while anybody looks:
//!                                                   what became visible since the last one
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - every change is heard of: a trigger notes it in the transaction that makes it; a round asks for
//!   what was not visible to the snapshot of the round before, or of the reading of the hall
//!   (`pg_visible_in_snapshot`), and reads those seats as they are now: order does not matter;
//! - right on any replica within 200 ms: a round begins 100 ms after the last. A hall whose last
//!   round is older than a second is not shown: its readers wait for the next, or are refused with it;
//! - at once on the replica that changed it: whoever changes a seat says so after the commit
//!   ([`SeatMaps::touched`]), and readers wait for a round that began later than that;
//! - a hold past its deadline shows as available: deadlines are kept and judged when a map is read,
//!   by the database's time as the last round told it, counted on by this machine's;
//! - the same `ETag` is the same bytes, on every replica: it is a digest of what is shown;
//! - memory is bounded: halls that nobody has read for a minute are dropped, and the longest unread
//!   beyond [`MOST_SEATS`]. While nobody looks, nothing is asked.
//!
//! The seats of a date are made once; their sections, rows and prices are not read again.

mod follower;
mod hall;
pub mod http;
mod model;
mod picture;
mod store;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;
use uuid::Uuid;

pub use follower::run;
pub use model::SeatMap;

use crate::db::{self, Db};
use hall::{DateLine, Hall};
use picture::Picture;

/// The most seats that are kept in memory, in all halls together.
const MOST_SEATS: usize = 1_000_000;

/// A date as it is shown.
pub struct Shown {
    pub date: Arc<DateLine>,
    /// `None`: it has no seats yet.
    pub picture: Option<Arc<Picture>>,
}

/// The seat maps of this replica. Clones are the same maps.
#[derive(Clone)]
pub struct SeatMaps(Arc<Parts>);

struct Parts {
    db: Db,
    slots: Mutex<HashMap<Uuid, Arc<Slot>>>,
    /// Counts touches and rounds: what has the higher number came later.
    steps: AtomicU64,
    /// What came of the last round.
    rounds: watch::Sender<Result<(), db::Error>>,
    /// Somebody waits for a round.
    asked: Notify,
}

/// Where a date is kept.
struct Slot {
    hall: OnceCell<Hall>,
    /// The step at which this replica last changed its seats.
    touched: AtomicU64,
    read_at: Mutex<Instant>,
    /// No round looks after it any more.
    dropped: AtomicBool,
}

/// Why a hall is not kept here: the next reader asks the database again.
enum Unkept {
    NoSuchDate,
    NoSeats(Arc<DateLine>),
    Db(db::Error),
}

impl From<db::Error> for Unkept {
    fn from(error: db::Error) -> Self {
        Self::Db(error)
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            hall: OnceCell::new(),
            touched: AtomicU64::new(0),
            read_at: Mutex::new(Instant::now()),
            dropped: AtomicBool::new(false),
        }
    }
}

impl SeatMaps {
    /// No maps yet. Without [`run`] none that was touched is ever shown.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Parts {
            db,
            slots: Mutex::default(),
            steps: AtomicU64::new(1),
            rounds: watch::Sender::new(Ok(())),
            asked: Notify::new(),
        }))
    }

    /// Takes note that seats of these dates changed hands. Call after the commit: a round that
    /// began before it may not have seen the change.
    pub fn touched(&self, schedules: &[Uuid]) {
        let step = self.0.next_step();
        let slots = self.0.slots();
        for slot in schedules.iter().filter_map(|id| slots.get(id)) {
            slot.touched.fetch_max(step, Ordering::SeqCst);
        }
    }

    /// What a date shows now; `None`: there is no such date.
    pub async fn look(&self, schedule: Uuid) -> db::Result<Option<Shown>> {
        loop {
            let slot = self.0.slot(schedule);
            let hall = match slot.hall.get_or_try_init(|| self.0.load(schedule)).await {
                Ok(hall) => hall,
                Err(reason) => {
                    self.0.forget(schedule, &slot);
                    return match reason {
                        Unkept::NoSuchDate => Ok(None),
                        Unkept::NoSeats(date) => Ok(Some(Shown { date, picture: None })),
                        Unkept::Db(error) => Err(error),
                    };
                }
            };
            if self.0.until_fresh(&slot, hall).await? {
                let picture = hall.picture(self.0.db.offset_ms());
                return Ok(Some(Shown { date: hall.date(), picture: Some(picture) }));
            }
        }
    }

    /// As [`SeatMaps::look`], for somebody who does not wait: `None` unless the map is kept here and fresh.
    pub fn look_at_once(&self, schedule: Uuid) -> Option<(Arc<DateLine>, Arc<Picture>)> {
        let slot = self.0.slots().get(&schedule)?.clone();
        let hall = slot.hall.get()?;
        let shown = hall.shown(slot.touched.load(Ordering::SeqCst), self.0.db.offset_ms())?;
        *slot.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(shown)
    }
}

impl Parts {
    fn next_step(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::SeqCst)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, schedule: Uuid) -> Arc<Slot> {
        let slot = self.slots().entry(schedule).or_insert_with(|| Arc::new(Slot::new())).clone();
        *slot.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        slot
    }

    fn forget(&self, schedule: Uuid, slot: &Arc<Slot>) {
        let mut slots = self.slots();
        slot.dropped.store(true, Ordering::SeqCst);
        if slots.get(&schedule).is_some_and(|known| Arc::ptr_eq(known, slot)) {
            slots.remove(&schedule);
        }
    }

    async fn load(&self, schedule: Uuid) -> Result<Hall, Unkept> {
        let (step, asked_at) = (self.next_step(), Instant::now());
        let loaded = store::load(&mut *self.db.lane().await?, schedule).await?;
        let hall = Hall::new(schedule, loaded.ok_or(Unkept::NoSuchDate)?, step, asked_at);
        if hall.count() == 0 {
            return Err(Unkept::NoSeats(hall.date()));
        }
        self.asked.notify_one();
        Ok(hall)
    }

    /// Waits until the hall shows everything that this replica had changed when it was asked; `false`
    /// when it is no longer looked after.
    async fn until_fresh(&self, slot: &Slot, hall: &Hall) -> db::Result<bool> {
        let changed = slot.touched.load(Ordering::SeqCst);
        let mut rounds = self.rounds.subscribe();
        while !hall.is_fresh(changed) {
            if slot.dropped.load(Ordering::SeqCst) {
                return Ok(false);
            }
            self.asked.notify_one();
            if rounds.changed().await.is_err() {
                return Err(db::Error::Unavailable("the service is stopping".to_owned()));
            }
            rounds.borrow_and_update().clone()?;
        }
        Ok(true)
    }
}

//! One date's seats as this replica knows them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::picture::{Picture, Plan};

/// A hall that no round has looked after for so long is not shown before the next.
const STALE: Duration = Duration::from_secs(1);

/// What a seat's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    /// Worth nothing from `until` on.
    Held {
        until: DateTime<Utc>,
    },
    Sold,
}

/// A seat as it was read.
pub struct SeatLine {
    pub number: i32,
    pub section: Option<String>,
    pub row: Option<String>,
    pub tier: Option<String>,
    pub price: i64,
    pub state: State,
}

/// What is to be known of the date itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateLine {
    /// The queue in front of it.
    pub queue: String,
    pub is_cancelled: bool,
}

/// A hall as it was read.
pub struct Loaded {
    pub date: DateLine,
    pub snapshot: String,
    /// The database's time when it began.
    pub now: DateTime<Utc>,
    pub seats: Vec<SeatLine>,
}

/// See the module.
pub struct Hall {
    plan: Plan,
    /// Where a number is in the plan and in `Now::states`.
    places: HashMap<i32, usize>,
    now: Mutex<Now>,
}

struct Now {
    date: Arc<DateLine>,
    states: Vec<State>,
    picture: Option<Arc<Picture>>,
    /// The snapshot that read the hall, until a round has followed it.
    joined_at: Option<String>,
    /// The step at which the last round that looked after it began.
    covered: u64,
    covered_at: Instant,
    database: DatabaseTime,
}

/// The database's time, counted on by this machine's clock from when it was asked.
#[derive(Clone, Copy)]
pub struct DatabaseTime {
    pub told: DateTime<Utc>,
    pub asked_at: Instant,
}

impl DatabaseTime {
    fn now(self, offset_ms: i64) -> DateTime<Utc> {
        let since = TimeDelta::from_std(self.asked_at.elapsed()).unwrap_or_default();
        self.told + since + TimeDelta::milliseconds(offset_ms)
    }
}

impl Hall {
    /// As it was read by a statement that began at `step` and `asked_at`.
    pub fn new(schedule: Uuid, loaded: Loaded, step: u64, asked_at: Instant) -> Self {
        let states = loaded.seats.iter().map(|seat| seat.state).collect();
        let places = loaded.seats.iter().enumerate().map(|(place, seat)| (seat.number, place)).collect();
        Self {
            plan: Plan::new(schedule, &loaded.seats),
            places,
            now: Mutex::new(Now {
                date: Arc::new(loaded.date),
                states,
                picture: None,
                joined_at: Some(loaded.snapshot),
                covered: step,
                covered_at: asked_at,
                database: DatabaseTime { told: loaded.now, asked_at },
            }),
        }
    }

    /// How many seats it has.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The date it is of.
    pub fn date(&self) -> Arc<DateLine> {
        self.now().date.clone()
    }

    /// Whether it shows what was changed here at step `changed`, and is looked after.
    pub fn is_fresh(&self, changed: u64) -> bool {
        self.now().is_fresh(changed)
    }

    /// The date and the picture, when it is fresh ([`Hall::is_fresh`]).
    pub fn shown(&self, changed: u64, offset_ms: i64) -> Option<(Arc<DateLine>, Arc<Picture>)> {
        let mut now = self.now();
        now.is_fresh(changed).then(|| (now.date.clone(), now.picture(&self.plan, offset_ms)))
    }

    /// The snapshot that read it, if no round has followed it yet.
    pub fn joined_at(&self) -> Option<String> {
        self.now().joined_at.clone()
    }

    /// Takes in what a round has brought that began at `step`.
    pub fn follow(
        &self,
        step: u64,
        database: DatabaseTime,
        date: DateLine,
        seats: impl Iterator<Item = (i32, State)>,
    ) {
        let mut now = self.now();
        for (number, state) in seats {
            if let Some(&place) = self.places.get(&number)
                && now.states[place] != state
            {
                now.states[place] = state;
                now.picture = None;
            }
        }
        if *now.date != date {
            now.date = Arc::new(date);
        }
        now.joined_at = None;
        now.covered = step;
        now.covered_at = database.asked_at;
        now.database = database;
    }

    /// What it shows now; `offset_ms` of the clock that judges deadlines.
    pub fn picture(&self, offset_ms: i64) -> Arc<Picture> {
        self.now().picture(&self.plan, offset_ms)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn is_fresh(&self, changed: u64) -> bool {
        self.covered > changed && self.covered_at.elapsed() < STALE
    }

    fn picture(&mut self, plan: &Plan, offset_ms: i64) -> Arc<Picture> {
        let at = self.database.now(offset_ms);
        match &self.picture {
            Some(picture) if picture.is_true_at(at) => picture.clone(),
            _ => {
                let picture = Arc::new(plan.picture(&self.states, at));
                self.picture = Some(picture.clone());
                picture
            }
        }
    }
}

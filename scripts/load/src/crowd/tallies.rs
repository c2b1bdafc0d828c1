//! One tally for each kind of request, for all tasks together: they are added to some ten thousand times a second,
//! and read once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::tally::{Outcome, Run, Tally};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Join,
    Poll,
    Leave,
    Complete,
    Charge,
    Map,
    Hold,
    Pay,
    Release,
    Refund,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Join,
        Self::Poll,
        Self::Leave,
        Self::Complete,
        Self::Charge,
        Self::Map,
        Self::Hold,
        Self::Pay,
        Self::Release,
        Self::Refund,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Poll => "poll",
            Self::Leave => "leave",
            Self::Complete => "completion",
            Self::Charge => "charge",
            Self::Map => "seat map",
            Self::Hold => "hold",
            Self::Pay => "payment",
            Self::Release => "release",
            Self::Refund => "refund",
        }
    }
}

/// The tallies of a run.
pub struct Tallies {
    begun: Instant,
    each: [Mutex<Tally>; Kind::ALL.len()],
}

impl Tallies {
    /// Empty; seconds are counted from now.
    pub fn new() -> Self {
        let begun = Instant::now();
        Self { begun, each: std::array::from_fn(|_| Mutex::new(Tally::new(begun))) }
    }

    /// When the run began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// One more request, answered now or given up.
    pub fn add(&self, kind: Kind, outcome: Outcome, intended: Instant) {
        let now = Instant::now();
        self.with(kind, |tally| tally.add(outcome, now, now.saturating_duration_since(intended)));
    }

    /// Looks at one of them, or changes it.
    pub fn with<T>(&self, kind: Kind, look: impl FnOnce(&mut Tally) -> T) -> T {
        let tally = &self.each[kind as usize];
        look(&mut tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those of which there was anything, as runs that took so long.
    pub fn runs(&self, took: Duration) -> Vec<(Kind, Run)> {
        let run = |kind| (kind, Run { tally: self.with(kind, |tally| tally.clone()), took });
        let runs = Kind::ALL.into_iter().map(run);
        runs.filter(|(_, run)| run.tally.good() + run.tally.bad() > 0).collect()
    }

    /// All answers, and those that nobody wanted to see: 5xx, none, or wrong ones.
    pub fn answers_and_errors(&self) -> (u64, u64) {
        let (mut answers, mut errors) = (0, 0);
        for kind in Kind::ALL {
            self.with(kind, |tally| {
                answers += tally.good() + tally.bad();
                errors += tally.errors();
            });
        }
        (answers, errors)
    }
}

impl Default for Tallies {
    fn default() -> Self {
        Self::new()
    }
}

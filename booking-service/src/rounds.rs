//! Loops: a round every so often, until the process stops.
//!
//! A round that fails is made again later, and said once when it begins to fail and once when it
//! works again: a database that is down for an hour is two lines, not ten thousand.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use tokio::sync::Notify;

use crate::retry::jittered;

/// A round that hangs is given up: the other end may have gone without a word.
const ROUND_LIMIT: Duration = Duration::from_secs(20);

/// Whether a thing works, told to the log when it changes.
pub struct Mood {
    what: &'static str,
    failing: bool,
}

impl Mood {
    /// Takes it that `what` works.
    pub fn new(what: &'static str) -> Self {
        Self { what, failing: false }
    }

    /// Takes note of one outcome.
    pub fn note<T, E: Display>(&mut self, outcome: &Result<T, E>) {
        match (outcome, self.failing) {
            (Err(error), false) => tracing::warn!(what = self.what, %error, "fails; trying on"),
            (Ok(_), true) => tracing::info!(what = self.what, "works again"),
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

/// Runs `round` every `period` (a fifth earlier or later, so that replicas do not march in step).
/// A round that answers `true` has more to do and is followed at once.
pub fn every<F, Fut, E>(lifecycle: &Lifecycle, what: &'static str, period: Duration, round: F)
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<bool, E>> + Send,
    E: Display + Send,
{
    every_or_woken(lifecycle, what, period, Arc::default(), round);
}

/// As [`every`], and at once when somebody wakes it.
pub fn every_or_woken<F, Fut, E>(
    lifecycle: &Lifecycle,
    what: &'static str,
    period: Duration,
    wake: Arc<Notify>,
    mut round: F,
) where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<bool, E>> + Send,
    E: Display + Send,
{
    lifecycle.spawn_loop(what, async move {
        let mut mood = Mood::new(what);
        loop {
            let outcome = match tokio::time::timeout(ROUND_LIMIT, round()).await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err(format!("it was not done after {} s", ROUND_LIMIT.as_secs())),
            };
            mood.note(&outcome);
            if !matches!(outcome, Ok(true)) {
                let rest = jittered(period.mul_f64(0.8), period.mul_f64(1.2));
                // Woken or not, it is time.
                drop(tokio::time::timeout(rest, wake.notified()).await);
            }
        }
    });
}

//! Points between two statements where a test can make the service fail or die.
//!
//! ```text
//!   crash::point("pay.made")?        without the feature `crash-points`: nothing, not even a look
//!                                  with it: reads the plan, a file in the working folder
//!   plan: NAME MODE [TIMES]        fail = the statement after it finds the database gone
//!                                  kill = the process is gone, without a destructor
//! ```
//!
//! The shipped binary never has the feature; `booking-service-crash` always has. A point that is not in
//! [`POINTS`] ends the process, so that none is left out of the test that walks the table.

/// The file of the plan.
pub const PLAN: &str = "crash.plan";

/// All points, by verb in the order of their statements. `.committed` is after the commit: it is done,
/// and nobody was told.
#[rustfmt::skip]
pub const POINTS: [&str; 28] = [
    "hold.claimed", "hold.lined_up", "hold.taken", "hold.spent", "hold.remembered", "hold.committed",
    "release.begun", "release.committed",
    "sweep.begun", "sweep.committed",
    "pay.claimed", "pay.made", "pay.remembered", "pay.committed",
    "refund.claimed", "refund.locked", "refund.taken_back", "refund.freed", "refund.paid_back", "refund.remembered",
    "refund.committed",
    "points.claimed", "points.moved", "points.remembered", "points.committed",
    "relay.leased", "relay.told", "relay.settled",
];

#[cfg(not(feature = "crash-points"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
#[inline]
pub(crate) fn point(_: &'static str) -> crate::db::Result<()> {
    Ok(())
}

#[cfg(feature = "crash-points")]
pub(crate) use armed::point;

#[cfg(feature = "crash-points")]
mod armed {
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    use super::{PLAN, POINTS};
    use crate::db::{Error, Result};

    /// One at a time: a plan of one is carried out once.
    static TURN: Mutex<()> = Mutex::new(());

    /// Does what the plan says of this point.
    pub fn point(name: &'static str) -> Result<()> {
        if !POINTS.contains(&name) {
            tracing::error!(name, "a crash point that is not in the table");
            std::process::abort();
        }
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(plan) = std::fs::read_to_string(PLAN) else { return Ok(()) };
        let mut words = plan.split_whitespace();
        if words.next() != Some(name) {
            return Ok(());
        }
        let kills = words.next() == Some("kill");
        let times: u32 = words.next().and_then(|times| times.parse().ok()).unwrap_or(1);
        // Before the end: the next process must not meet it again.
        count_down(name, kills, times);
        tracing::warn!(name, kills, "a crash point was reached");
        if kills {
            std::process::abort();
        }
        Err(Error::Unavailable(format!("crash point {name}")))
    }

    fn count_down(name: &str, kills: bool, times: u32) {
        let (plan, mode) = (Path::new(PLAN), if kills { "kill" } else { "fail" });
        let done = match times {
            0 | 1 => std::fs::remove_file(plan),
            _ => std::fs::write(plan, format!("{name} {mode} {}", times - 1)),
        };
        if let Err(error) = done {
            tracing::error!(%error, "the plan of crash points cannot be changed");
            std::process::abort();
        }
    }
}

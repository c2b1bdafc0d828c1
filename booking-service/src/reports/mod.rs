//! What the queue service is told unasked, so that it lets the right number of people in and tells
//! them the truth while they wait: how many seats each queue has left, and how this service bears up.
//!
//! ```text
//!   hold · release · payment · refund · sweep · seats made ─ commit ─▶ Stock (which dates)
//!                                                                       │ at most once a second
//!   once in 15 s: all queues ───────────────────────────────────────▶ count ─▶ POST …/stock
//!
//!   every public request ─ answered ─▶ Window (5 s, by the second) ─┐ every second
//!   longest wait for a lane ────────────────────────────────────────┴────────▶ POST …/pressure
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - numbers are of one moment, `as_of`: one statement counts, by the database's clock, which also
//!   says what a hold past its deadline is worth; a later report beats an earlier one, whoever sent it;
//! - nothing that changed goes unsaid: dates are marked after the commit and taken before the count.
//!   What a mark does not reach (a replica that died, a queue service that forgot, a report that was
//!   lost) is told with all the rest: once in 15 s, and first thing after a failure;
//! - whoever marks, reports, even when the number is the one it told last: another replica may have
//!   told a different one in between;
//! - a sale is not slowed: no row is written or locked, a mark is an entry in a set, and what took
//!   long to count is not counted again before twenty times as long has passed;
//! - a request never waits for a report: both are loops of their own; a dead queue service is a line
//!   in the log when it begins and one when it ends.

mod model;
mod pressure;
mod stock;
mod store;
mod window;

use std::time::Duration;

pub use pressure::run as run_pressure;
pub use stock::{Stock, run as run_stock};
pub use window::Window;

use crate::db;

const CALL_LIMIT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Short: who comes back after an outage should soon know.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Why a report was not heard.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error(transparent)]
    Db(#[from] db::Error),
    #[error(transparent)]
    Queue(#[from] reqwest::Error),
}

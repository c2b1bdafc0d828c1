//! Pressure: how hard the service behind the line has it, and what that does to the rate.
//!
//! ```text
//!   booking, every second ─▶ p99, errors, waits ─▶ beyond a bound of `adaptive`? ─▶ pressure.lua
//!        yes: the rate × 0.7, at most once a second      no: a twentieth of the rate back
//! ```
//!
//! The rate never exceeds its setting and never falls below `adaptive.min_users`. When nobody reports any
//! more, it stays where it is: a service that cannot report is not to be sent more people.
//!
//! Invariants, and who keeps them: the step is taken at most once a second however many report, and the worst of
//! the last five seconds counts (`pressure.lua`); the limits stay what they are, because the slowed rate is only a
//! smaller m (`prelude/limits.lua`).

pub mod http;
mod model;
pub(crate) mod store;

pub use model::Pressure;

use crate::line::Room;
use crate::metrics;
use crate::redis::{StoreError, When};

/// Judges a report by the bounds of one queue; false when the queue heeds none.
pub async fn heed(room: &Room, pressure: &Pressure) -> Result<bool, StoreError> {
    let settings = match room.queues.report(&room.id).await {
        Ok(report) => report.settings.clone(),
        Err(StoreError::NoQueue) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(bounds) = settings.adaptive else { return Ok(false) };
    let excess = pressure.excess(&bounds).unwrap_or_default();
    let when = When::now(&room.clock);
    let outflow = store::pressure(&room.redis, &room.keys, when, &pressure.reporter, excess).await?;
    metrics::outflow(room.id.as_str(), outflow.share);
    if outflow.is_first_slowing {
        tracing::warn!(queue = room.id.as_str(), reason = excess, "the rate is slowed");
    }
    if outflow.is_whole_again {
        tracing::info!(queue = room.id.as_str(), "the rate is whole again");
    }
    Ok(true)
}

//! Admission: who is let in, and when a slot is free again.
//!
//! ```text
//!   line ──(window has room ∧ cap has room)──▶ slot ──completed · left · expired · unclaimed──▶ free
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - never more than m in any n seconds: `window_room` in the prelude, an exact sliding window over
//!   the moments of admission; nothing is banked, because what lies before the window is not looked at;
//! - never more than N at once: `cap_room` counts the leases that have not ended;
//! - in order: only the front of `waiting` is taken, silent people are put out without costing rate;
//! - once: taking somebody out of line and giving the slot is one step of one script.
//!
//! Every replica calls the step a few times a second ([`run`]); there is no leader, and a call too
//! many does nothing. What a call cannot do within its bounds is left for the next.

pub mod http;
pub(crate) mod store;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use store::Step;

use crate::line::Room;
use crate::metrics;
use crate::redis::{StoreError, When};

/// Between steps while anybody waits or is active.
const PAUSE: Duration = Duration::from_millis(100);
/// Between steps of a queue where nobody is.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// However often the bell rings.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// After a failed step.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Lets people in until dropped.
pub async fn run(room: Arc<Room>) {
    let mut failing = false;
    loop {
        let pause = match step(&room).await {
            Ok(step) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(queue = room.id.as_str(), "admission goes on");
                }
                pause_after(step)
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(queue = room.id.as_str(), %error, "admission stands still");
                }
                RETRY_PAUSE
            }
        };
        tokio::time::sleep(pause.min(SHORTEST_PAUSE)).await;
        if let Some(rest) = pause.checked_sub(SHORTEST_PAUSE) {
            // Either is a reason to go on.
            drop(tokio::time::timeout(rest, room.bell.notified()).await);
        }
    }
}

fn pause_after(step: Step) -> Duration {
    match step {
        Step { more: true, .. } => Duration::ZERO,
        Step { waiting: 0, active: 0, .. } => IDLE_PAUSE,
        Step { rate_frees_in: Some(wait), .. } => wait.min(PAUSE),
        _ => PAUSE,
    }
}

/// One step as the limits allow.
pub async fn step(room: &Room) -> Result<Step, StoreError> {
    let step = store::step(&room.redis, &room.keys, When::now(&room.clock), None).await?;
    room.crowded.store(step.waiting > 0, Ordering::Relaxed);
    metrics::step(room.id.as_str(), step.admitted, step.waiting, step.active);
    Ok(step)
}

/// Lets up to `users` in now, also while paused, inside the cap, outside the rate; how many were.
pub async fn force(room: &Room, users: u32) -> Result<u64, StoreError> {
    let mut admitted = 0;
    loop {
        let left = u64::from(users) - admitted;
        let step = store::step(&room.redis, &room.keys, When::now(&room.clock), Some(left)).await?;
        admitted += step.admitted;
        if !step.more || admitted >= u64::from(users) {
            room.view.settle().await;
            return Ok(admitted);
        }
    }
}

/// Frees the slots of these admissions; how many were.
pub async fn complete(room: &Room, jtis: &[String]) -> Result<u64, StoreError> {
    let mut released = 0;
    for batch in jtis.chunks(500) {
        released += store::complete(&room.redis, &room.keys, When::now(&room.clock), batch).await?;
    }
    if released > 0 {
        room.bell.notify_one();
    }
    Ok(released)
}

//! The line: joining, polling, leaving, lapsing.
//!
//! ```text
//!              join                    let in                 first poll
//!   (nobody) ────────▶ [scheduled] ─▶ waiting ────────▶ active, unclaimed ────────▶ active
//!                        opens_at        │                      │                      │
//!                                        ▼                      ▼                      ▼
//!             ended: expired (silent) · left · replaced · completed · queue closed
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - one live place per user: `waiting` and `admissions` are keyed by user, and `join.lua` looks
//!   into both before it hands out a place;
//! - a place is an integer that Redis hands out in the order of joining and never again, so a
//!   position (the rank in `waiting`, plus one) never rises;
//! - a sign of life is written in the step that answers the poll; silence is judged on the time of
//!   Redis, by `silent` in the prelude alone;
//! - nobody is let in here, except by the join itself into an empty line with a free slot, under
//!   the same limits and in the same step ([`crate::admission`] does the rest).
//!
//! Joins and polls go to Redis in batches by arrival ([`Room`]); a batch is one script call.

pub mod events;
pub mod http;
pub mod model;
mod room;
mod silence;
pub(crate) mod store;
pub mod token;

pub use model::{Ended, Standing};
pub use room::Room;
pub use silence::run as keep_clear_of_the_silent;

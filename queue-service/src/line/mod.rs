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
//! - a place is an integer that Redis hands out in the order of joining and never again; who is before it
//!   is known by who has left ([`gone`]), so a position never rises ([`view`] says how replicas agree);
//! - a sign of life is kept by the replica that answered the poll and written within a fifth of a second
//!   ([`signs`]); silence is judged on the time of Redis, by `silent` in the prelude alone;
//! - nobody is let in here, except by the join itself into an empty line with a free slot, under
//!   the same limits and in the same step ([`crate::admission`] does the rest);
//! - a store that forgot is noticed, and gets back what replicas and signed tokens can prove
//!   (`prelude/loss.lua`, [`follower`]).
//!
//! ```text
//!   poll ─▶ room.look ─┬─ in line, by the view ─▶ answer (no call to Redis)
//!                      └─ else ─▶ look.lua, in batches by arrival ─▶ answer
//! ```

pub mod claims;
pub mod events;
pub mod feed;
mod follower;
pub mod gone;
pub mod http;
pub mod lines;
pub mod listeners;
pub mod lottery;
pub mod model;
mod room;
pub mod signs;
mod silence;
mod status;
pub(crate) mod store;
pub mod token;
pub mod view;

pub use follower::run as follow;
pub use model::{Ended, Standing};
pub use room::Room;
pub use silence::{beat, sweep};
pub use status::Status;

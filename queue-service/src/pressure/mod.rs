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
pub(crate) mod store;

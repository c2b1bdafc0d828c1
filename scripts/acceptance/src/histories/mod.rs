//! Histories: what concurrent clients asked and were answered, recorded and then judged.
//!
//! ```text
//!   chooser ─ wishes ─▶ clients ══ HTTP ══▶ replicas          or a toy shop in memory,
//!      ▲                  │ attempts                          correct or with a seeded bug
//!      └─ what a user     ▼
//!         knows        History ◀── books, when nothing runs any more
//!                         │
//!                         ▼
//!                       check ──▶ violations, each with the smallest part that shows it
//! ```
//!
//! A client has one request under way; several clients share a user (devices), and so meet at reservations
//! and balances too, not at seats alone. An answer may be lost: the client hangs up, a proxy cuts the connection, a
//! replica is killed. With an `Idempotency-Key` most are asked again, with the same key, until there is an answer; some
//! are left open for ever. Holds last a second or two on the real clock, so that many lapse, some while
//! they are being paid.
//!
//! [`History`] says what is recorded, [`check`] what is promised and how it is judged.

mod books;
mod check;
mod chooser;
mod clients;
mod history;
mod parse;
mod wire;

pub use check::{Violation, check};
pub use chooser::{Chooser, Pocket, Shape};
pub use clients::{Plan, name, record};
pub use history::{
    Account, Answer, Attempt, History, Kind, Moment, Outcome, Reservation, Row, Shown, Status, Terms, Wish,
};

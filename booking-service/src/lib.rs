//! The booking service: what there is to buy, holding it, paying for it. Nothing is sold twice, no
//! point is lost.
//!
//! ```text
//!   commands, start, routes, app                  the process
//!  ───────────────────────────────────────────────────────────────────────────
//!   cancellations   a date that does not take place, undone         books
//!      │                                                              │ reads what
//!   payments    points for held seats, and back                       │ all others
//!      │                                                              │ wrote
//!   holds       seats for a while                                     │
//!      │                                                              │
//!   catalog ── points        what there is to buy · the users' money  │
//!      │         │                                                    │
//!   outbox ── idempotency    the way back to the queue · the same     │
//!      │         │           request has the same answer              │
//!   changes ─────┤           whose seats have changed: told to        │
//!      │         │           seat_maps, what every seat shows, and to │
//!      │         │           reports, what the queue hears of us      │
//!   admitted ────┴─────────────── who may act, and what has ended ────┘
//!  ───────────────────────────────────────────────────────────────────────────
//!   db, together, queue_service, retry, rounds, answers, codes, metrics, crash    what all stand on
//! ```
//!
//! A feature names only features below it, and of those only verbs and nouns. Every feature has
//! the same rooms: `mod.rs` verbs, `model.rs` nouns without I/O, `store.rs` one statement a
//! function, `http.rs` the wire. `sqlx` is named in `store.rs` and [`db`] alone.
//!
//! The truth is in Postgres, constraints make the illegal impossible, and deadlines are judged on
//! the database's clock by the statement that acts. A replica keeps nothing that it could not lose.

pub mod admitted;
mod answers;
mod app;
mod books;
mod cancellations;
mod catalog;
mod changes;
pub mod codes;
pub mod commands;
pub mod config;
pub mod crash;
mod db;
mod holds;
mod idempotency;
mod metrics;
mod outbox;
mod payments;
mod points;
mod queue_service;
mod reports;
mod retry;
mod rounds;
mod routes;
mod seat_maps;
mod start;
mod together;

pub use config::Config;
pub use start::{Addresses, start};

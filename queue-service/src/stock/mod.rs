//! Stock: what is left to buy, so that people in line know whether waiting is worth it.
//!
//! ```text
//!   booking counts (the truth is there) ─▶ POST /internal/v1/stock ─▶ stock.lua ─▶ polls, queue view
//!                                                                          └─▶ sold out: closes, if it is set to
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - a later count is never replaced by an earlier one: `stock.lua` compares the moments of counting;
//! - a count that nobody has repeated for a minute and a half is unknown: `stock` in `prelude/answer.lua`;
//! - a queue is closed once by a sell-out, and an operator may open it again: only the count that says
//!   sold out after one that did not closes.

pub mod http;
mod store;

pub use store::{Stock, Taken, stock};

//! The checker: pure, and fast enough to look at every run.
//!
//! ```text
//!   attempts ─▶ asks (attempts of one key) ─▶ lives of reservations ─▶ seats        ┐ is there an order?
//!      books ──────────────────────────────────────┴───────────────▶ reservations ├─ `linear`, object
//!                                                                     balances     ┘  by object
//! ```
//!
//! What is promised, and who checks it:
//!
//! - answers to one key are equal, and one effect: `asks`; a second effect is in the books without
//!   anybody who can have asked for it: `lives`, `balances`;
//! - a reservation lives as the drawing of `lives` says, is of the seats that were asked for, all or none, and
//!   is paid by its owner, once, before its deadline: `lives`, `reservations`;
//! - a hold found its seats free or lapsed, a payment found them held by that hold, a release and a refund freed
//!   them, a refusal told the truth, a seat map showed what was so: `seats`;
//! - no two reservations have a seat at once, by the database's own times: `seats`;
//! - every row of the ledger was asked for once, every success is in it with the balance that was answered, no
//!   refusal is; balances add up, are never negative, and each that was read was so: `balances`.
//!
//! What has no answer may have happened or not. The books, read when nothing runs any more, decide: an effect
//! is there or is not. It may then have happened at any time after it was asked for. So an unanswered hold,
//! of which nobody knows the id, is the reservation in the books that nothing else explains.
//!
//! Not shown: that operations on several objects (a payment takes a seat and points) have *one* moment
//! for all of them. Each object has its order, and the seats of a hold have one moment by the database; a state
//! between seat and points is what the audit of the service looks for.
//!
//! Sources: linearizability and its locality are Herlihy and Wing's (1990); the search that linearizes one
//! operation after another and goes back, Wing and Gong's (1993); doing so only when a return forces it, and
//! remembering which worlds were seen, Lowe's (2017). Recording clients whose unanswered operations stay open is
//! how Jepsen's Knossos looks at registers; taking the order from the data itself, here from the ledger, is Elle's idea
//! (Kingsbury and Alvaro, 2020).

mod asks;
mod balances;
mod linear;
mod lives;
mod reservations;
mod seats;
mod violation;

use std::collections::BTreeSet;

pub use violation::Violation;

use super::history::{History, Outcome};
use linear::{Item, Object, smallest, stuck};

/// Everything that is wrong with a history; empty when all is well.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let asks = asks::asks(history, &mut violations);
    let lives = lives::lives(history, &asks, &mut violations);
    seats::check(history, &lives, &mut violations);
    reservations::check(history, &lives, &mut violations);
    balances::check(history, &asks, &lives, &mut violations);
    unexpected(history, &mut violations);
    violations
}

/// Refusals that no well-behaved client can get.
const UNEXPECTED: [&str; 4] = ["idempotency_key_reused", "invalid_request", "not_found", "internal"];

fn unexpected(history: &History, violations: &mut Vec<Violation>) {
    for (number, attempt) in history.attempts.iter().enumerate() {
        if let Outcome::Refused { code, .. } = &attempt.outcome
            && UNEXPECTED.contains(&code.as_str())
        {
            violations.push(Violation::new(format!("{code} was said of a sound request"), &[number]));
        }
    }
}

/// Adds what is wrong with one object, with the smallest part of its history that shows it.
fn report<O: Object>(
    object: &O,
    items: &[Item<O::Change, O::Sight>],
    first: &O::State,
    violations: &mut Vec<Violation>,
    say: impl Fn(i64, &O::State) -> String,
) {
    let Some(stuck) = stuck(object, items, first, &BTreeSet::new()) else { return };
    let sentence = say(stuck.known.0, &stuck.known.1);
    if stuck.given_up {
        violations
            .push(Violation::new(format!("undecided, there are too many possibilities; {sentence}"), &[]));
        return;
    }
    let shown = smallest(object, items, first, &stuck);
    let attempts: Vec<usize> = shown.into_iter().map(|item| items[item].attempt).collect();
    violations.push(Violation::new(sentence, &attempts));
}

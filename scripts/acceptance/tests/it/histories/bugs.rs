//! The checker is only worth as much as what it finds: each of these bugs, and nothing where there is none.

use std::collections::BTreeSet;

use acceptance::histories::{History, check};

use super::toy::history;

/// A mistake that a shop could make. It shows itself now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A hold takes a seat that somebody else holds.
    StolenHold,
    /// A hold takes a seat that is sold.
    SoldAgain,
    /// A hold takes a seat shortly before the deadline of its holder.
    LapsedEarly,
    /// A refused hold keeps those seats that were free.
    PartialHold,
    /// A hold is answered with a seat that it did not take.
    SeatForgotten,
    /// A hold is answered, and taken back a little later.
    RolledBack,
    /// A hold is refused and made.
    RefusedButHeld,
    /// A free seat is said to be taken.
    TakenButFree,
    /// A release ends the reservation and keeps its seats.
    LostRelease,
    /// A lapsed hold is paid.
    PaidLate,
    /// A reservation is paid by somebody else.
    PaidByAnother,
    /// A reservation is paid a second time.
    PaidTwice,
    /// A payment costs less than was held.
    PaidLess,
    /// A payment takes no points.
    DebitLost,
    /// A payment takes its points twice.
    DebitTwice,
    /// A payment leaves the seats as they were.
    SaleLost,
    /// The sweeper frees what is paid.
    SweepUndoesPayment,
    /// A payment is refunded a second time.
    RefundedTwice,
    /// A refund keeps the seats.
    RefundKeepsSeats,
    /// A charge is answered, and not in the ledger.
    ChargeLost,
    /// A charge changes the balance by more than its row says.
    BalanceDrifts,
    /// A use takes more than there is; later charges cover it.
    BelowZero,
    /// A use is refused and carried out.
    RefusedButUsed,
    /// A payment is refused for want of points that are there.
    PoorInError,
    /// A balance is told as it was a while ago.
    StaleBalance,
    /// Seats are shown as they were a while ago.
    StaleMap,
    /// A lapsed hold is shown as held.
    LapseNotShown,
    /// A request that comes again with its key is carried out again.
    KeyForgotten,
    /// It is answered otherwise than the first time.
    ReplayDiffers,
}

const ALL: [Bug; 29] = [
    Bug::StolenHold,
    Bug::SoldAgain,
    Bug::LapsedEarly,
    Bug::PartialHold,
    Bug::SeatForgotten,
    Bug::RolledBack,
    Bug::RefusedButHeld,
    Bug::TakenButFree,
    Bug::LostRelease,
    Bug::PaidLate,
    Bug::PaidByAnother,
    Bug::PaidTwice,
    Bug::PaidLess,
    Bug::DebitLost,
    Bug::DebitTwice,
    Bug::SaleLost,
    Bug::SweepUndoesPayment,
    Bug::RefundedTwice,
    Bug::RefundKeepsSeats,
    Bug::ChargeLost,
    Bug::BalanceDrifts,
    Bug::BelowZero,
    Bug::RefusedButUsed,
    Bug::PoorInError,
    Bug::StaleBalance,
    Bug::StaleMap,
    Bug::LapseNotShown,
    Bug::KeyForgotten,
    Bug::ReplayDiffers,
];

const SEEDS: std::ops::Range<u64> = 1..5;
const ATTEMPTS: usize = 6000;

#[test]
fn the_checker_finds_nothing_in_a_correct_shop() {
    for seed in 0..20 {
        let history = history(seed, ATTEMPTS, None);
        let found = stories(&history);
        assert!(found.is_empty(), "seed {seed}:\n{}", found.join("\n"));
    }
}

#[test]
fn the_checker_finds_each_bug_that_is_put_into_the_shop() {
    let mut missed = Vec::new();
    for bug in ALL {
        let found = |seed: u64| !check(&history(seed, ATTEMPTS, Some(bug))).is_empty();
        missed.extend(SEEDS.filter(|seed| !found(*seed)).map(|seed| (bug, seed)));
    }
    assert!(missed.is_empty(), "missed, with these seeds: {missed:?}");
}

/// What a person has to read is short.
#[test]
fn a_bug_is_shown_by_a_small_part_of_the_history() {
    for bug in ALL {
        let violations = check(&history(1, ATTEMPTS, Some(bug)));
        let shortest = violations.iter().map(|violation| violation.attempts.len()).min();
        assert!(shortest.is_some_and(|shortest| shortest <= 6), "{bug:?}: {shortest:?} attempts");
    }
}

/// Else the correct shop would prove little.
#[test]
fn histories_of_the_correct_shop_hold_something_of_everything() {
    let history = history(7, 6000, None);
    let codes: BTreeSet<&str> =
        history.attempts.iter().filter_map(|attempt| attempt.outcome.code()).collect();
    for code in
        ["seat_taken", "hold_expired", "not_held", "already_paid", "already_refunded", "insufficient_points"]
    {
        assert!(codes.contains(code), "nobody was refused with {code}: {codes:?}");
    }
    assert!(history.writes() * 2 > history.answered());
}

/// It takes seconds of a processor; the limit is for a machine that has much else to do.
#[test]
fn two_hundred_thousand_operations_are_checked_in_seconds() {
    let history = history(1, 200_000, None);
    let begun = tokio::time::Instant::now();
    let found = stories(&history);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let elapsed = begun.elapsed();
    assert!(elapsed < std::time::Duration::from_secs(120), "it took {elapsed:?}");
}

/// All violations of a history, told.
fn stories(history: &History) -> Vec<String> {
    check(history).iter().map(|violation| violation.story(history)).collect()
}

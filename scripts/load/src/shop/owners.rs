//! Whose each seat is, by the answers alone.
//!
//! ```text
//!            hold answered              payment answered
//!   nobody ───────────────▶ held(until) ───────────────▶ sold
//!      ▲                        │ release asked for        │ refund asked for
//!      └────── answered ── ending ◀────────────────────────┘
//! ```
//!
//! From the answer to a hold until its deadline, or until it is asked to end, nobody else may be told that they have
//! the seat. While an end is under way somebody else may have it already: that is not judged.

use std::sync::{Mutex, PoisonError};

use crate::crowd::Findings;

pub const ONE_OWNER: &str = "no seat is two people's at once";

/// All seats of a date, by number.
#[derive(Debug)]
pub struct Owners {
    seats: Mutex<Vec<Has>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    Nobody,
    Held { by: u64, until_ms: i64 },
    Sold { by: u64 },
    Ending { by: u64 },
}

impl Owners {
    /// Of the seats numbered 1 to `seats`.
    pub fn new(seats: u32) -> Self {
        Self { seats: Mutex::new(vec![Has::Nobody; seats as usize + 1]) }
    }

    /// `by` was told to have these until then; now it is `now_ms`.
    pub fn held(&self, by: u64, numbers: &[u32], until_ms: i64, now_ms: i64, findings: &Findings) {
        self.change(numbers, |number, seat| {
            let free = match *seat {
                Has::Nobody | Has::Ending { .. } => true,
                Has::Held { by: other, until_ms } => other == by || until_ms <= now_ms,
                Has::Sold { .. } => false,
            };
            findings.expect(free, ONE_OWNER, || format!("seat {number} is held by {by} and is {seat:?}"));
            *seat = Has::Held { by, until_ms };
        });
    }

    /// `by` was told to have paid these.
    pub fn sold(&self, by: u64, numbers: &[u32], findings: &Findings) {
        self.change(numbers, |number, seat| {
            let own = matches!(*seat, Has::Held { by: other, .. } if other == by);
            findings.expect(own, ONE_OWNER, || format!("seat {number} is sold to {by} and is {seat:?}"));
            *seat = Has::Sold { by };
        });
    }

    /// `by` asks to give these back. After the deadline of the hold they may be somebody else's: then they stay so.
    pub fn ending(&self, by: u64, numbers: &[u32]) {
        self.change(numbers, |_, seat| match *seat {
            Has::Held { by: other, .. } | Has::Sold { by: other } if other == by => {
                *seat = Has::Ending { by }
            }
            _ => {}
        });
    }

    /// `by` was told that they were given back.
    pub fn ended(&self, by: u64, numbers: &[u32]) {
        self.change(numbers, |_, seat| {
            if *seat == (Has::Ending { by }) {
                *seat = Has::Nobody;
            }
        });
    }

    /// How many are sold.
    pub fn count_sold(&self) -> usize {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.iter().filter(|seat| matches!(seat, Has::Sold { .. })).count()
    }

    fn change(&self, numbers: &[u32], change: impl Fn(u32, &mut Has)) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        for number in numbers {
            if let Some(seat) = seats.get_mut(*number as usize) {
                change(*number, seat);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(play: impl FnOnce(&Owners, &Findings)) -> u64 {
        let (owners, findings) = (Owners::new(3), Findings::default());
        play(&owners, &findings);
        findings.of(ONE_OWNER).map_or(0, |broken| broken.times)
    }

    #[test]
    fn a_seat_may_have_one_owner_after_the_other() {
        let found = found(|owners, findings| {
            owners.held(1, &[1, 2], 100, 0, findings);
            owners.held(2, &[2], 300, 100, findings);
            owners.ending(2, &[2]);
            owners.held(3, &[2], 400, 110, findings);
            owners.ended(2, &[2]);
            owners.sold(3, &[2], findings);
            assert_eq!(owners.count_sold(), 1);
        });
        assert_eq!(found, 0);
    }

    #[test]
    fn who_lets_go_too_late_takes_nothing_from_the_next() {
        let found = found(|owners, findings| {
            owners.held(1, &[1], 100, 0, findings);
            owners.held(2, &[1], 300, 100, findings);
            owners.ending(1, &[1]);
            owners.ended(1, &[1]);
            owners.sold(2, &[1], findings);
        });
        assert_eq!(found, 0);
    }

    #[test]
    fn two_owners_at_once_are_found() {
        assert_eq!(
            found(|owners, findings| {
                owners.held(1, &[1], 100, 0, findings);
                owners.held(2, &[1], 200, 99, findings);
            }),
            1
        );
        assert_eq!(
            found(|owners, findings| {
                owners.held(1, &[1], 100, 0, findings);
                owners.sold(1, &[1], findings);
                owners.held(2, &[1], 999, 500, findings);
            }),
            1
        );
        assert_eq!(
            found(|owners, findings| {
                owners.held(1, &[1], 100, 0, findings);
                owners.held(2, &[1], 300, 100, findings);
                owners.sold(1, &[1], findings);
            }),
            1
        );
    }
}

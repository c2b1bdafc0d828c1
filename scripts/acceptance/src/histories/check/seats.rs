//! Each seat by itself: who could have had it, and what people saw of it.
//!
//! Linearizability is local (Herlihy and Wing): if each seat has an order, so has the hall. What locality does
//! not give, all seats of a reservation at one moment, comes from [`by_the_database`]: `held_at` is one
//! moment for all of them.
//!
//! A deadline does not make an order of its own: a change decides at one moment (before the deadline, by the
//! database's clock) and is done at a later one. So a lapsed hold stays the state of the seat until somebody
//! takes it, and only whoever might have looked after the deadline may see it as free.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::histories::history::{Answer, History, Moment, Outcome, Shown, Status, Wish};

use super::linear::{Act, Item, Items, Object};
use super::lives::{Life, Lives};
use super::violation::{Violation, seconds};

/// A seat.
pub struct Seat {
    slack: i64,
}

/// Who has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Has {
    Nobody,
    /// Until so many microseconds since 1970.
    Held(Uuid, i64),
    Sold(Uuid),
}

/// What happens to it.
#[derive(Clone, Copy)]
pub enum Change {
    /// `at` by the database's clock.
    Hold {
        by: Uuid,
        at: i64,
        until: i64,
    },
    Pay {
        by: Uuid,
    },
    Release {
        by: Uuid,
    },
    Refund {
        by: Uuid,
    },
}

/// What somebody saw of it, by a look that may have been at any time of this span of the machine's clock.
pub struct Sight {
    shown: Seen,
    from: i64,
    to: i64,
}

enum Seen {
    Free,
    Taken,
    Held,
    Sold,
}

impl Object for Seat {
    type State = Has;
    type Change = Change;
    type Sight = Sight;

    fn change(&self, has: &Has, change: &Change) -> Option<Has> {
        match (has, change) {
            (Has::Nobody, Change::Hold { by, until, .. }) => Some(Has::Held(*by, *until)),
            (Has::Held(_, ended), Change::Hold { by, at, until }) if *ended <= *at + self.slack => {
                Some(Has::Held(*by, *until))
            }
            (Has::Held(holder, _), Change::Pay { by }) if holder == by => Some(Has::Sold(*by)),
            (Has::Held(holder, _), Change::Release { by }) if holder == by => Some(Has::Nobody),
            (Has::Sold(owner), Change::Refund { by }) if owner == by => Some(Has::Nobody),
            _ => None,
        }
    }

    fn sees(&self, has: &Has, sight: &Sight) -> bool {
        let lapsed = |until: i64| until <= sight.to + self.slack;
        let live = |until: i64| until > sight.from - self.slack;
        match (&sight.shown, has) {
            (Seen::Free, Has::Nobody) | (Seen::Sold | Seen::Taken, Has::Sold(_)) => true,
            (Seen::Free, Has::Held(_, until)) => lapsed(*until),
            (Seen::Taken | Seen::Held, Has::Held(_, until)) => live(*until),
            _ => false,
        }
    }
}

/// What is wrong with the seats.
pub fn check(history: &History, lives: &Lives, violations: &mut Vec<Violation>) {
    let mut seats = items(lives);
    sights(history, &mut seats);
    let seat = Seat { slack: history.terms.slack };
    for (number, items) in seats {
        super::report(&seat, &items, &Has::Nobody, violations, |at, has| {
            format!(
                "seat {number}: no order of these is possible after {} s, when it had {has:?}",
                seconds(at)
            )
        });
    }
    by_the_database(history, lives, violations);
}

fn items(lives: &Lives) -> BTreeMap<i32, Items<Seat>> {
    let mut seats: BTreeMap<i32, Items<Seat>> = BTreeMap::new();
    for life in lives.of.values() {
        let (by, at, until) = (life.last.id, life.last.held_at, life.last.expires_at);
        let steps = [
            (Some(&life.held), Change::Hold { by, at, until }),
            (life.paid.as_ref(), Change::Pay { by }),
            (life.cancelled.as_ref(), Change::Release { by }),
            (life.refunded.as_ref(), Change::Refund { by }),
        ];
        for (deed, change) in steps.into_iter().filter_map(|(deed, change)| Some((deed?, change))) {
            for number in &life.last.seats {
                let (begun, ended) = (deed.begun.tick, deed.ended.map(|ended| ended.tick));
                let item = Item { begun, ended, act: Act::Change(change), attempt: deed.attempt };
                seats.entry(*number).or_default().push(item);
            }
        }
    }
    seats
}

fn sights(history: &History, seats: &mut BTreeMap<i32, Items<Seat>>) {
    let made_here = changes_by_replica(history, seats);
    for (attempt, made) in history.attempts.iter().enumerate() {
        let (from, to) = (made.begun.wall, made.ended.wall);
        let mut add = |number: i32, begun: i64, shown: Seen| {
            let act = Act::Sight(Sight { shown, from, to });
            let item = Item { begun, ended: Some(made.ended.tick), act, attempt };
            seats.entry(number).or_default().push(item);
        };
        match (&made.wish, &made.outcome) {
            (Wish::Hold { seats: asked }, Outcome::Refused { code, seats: taken, .. })
                if code == "seat_taken" =>
            {
                for &number in asked {
                    let shown = if taken.contains(&number) { Seen::Taken } else { Seen::Free };
                    add(number, made.begun.tick, shown);
                }
            }
            (Wish::ReadMap, Outcome::Ok(Answer::Map(map))) => {
                for &(number, shown) in map {
                    let own = made_here.get(&(number, made.replica));
                    let shown = match shown {
                        Shown::Available => Seen::Free,
                        Shown::Held => Seen::Held,
                        Shown::Sold => Seen::Sold,
                    };
                    add(number, oldest(made.begun, own, history.terms.map_lag), shown);
                }
            }
            _ => {}
        }
    }
}

/// When the returns of changes were that a replica made to a seat itself; it shows those at once.
type OwnChanges = BTreeMap<(i32, usize), Vec<i64>>;

fn changes_by_replica(history: &History, seats: &BTreeMap<i32, Items<Seat>>) -> OwnChanges {
    let mut own = OwnChanges::new();
    if history.terms.map_lag == 0 {
        return own;
    }
    for (number, items) in seats {
        for item in items {
            if let Some(ended) = item.ended {
                own.entry((*number, history.attempts[item.attempt].replica)).or_default().push(ended);
            }
        }
    }
    for ends in own.values_mut() {
        ends.sort_unstable();
    }
    own
}

/// Since when what a map shows may be true: a bit ago, but not before what its replica did itself.
fn oldest(begun: Moment, own: Option<&Vec<i64>>, lag: i64) -> i64 {
    let last_own = own.and_then(|ends| ends[..ends.partition_point(|&end| end < begun.tick)].last());
    (begun.tick - lag).max(last_own.copied().unwrap_or(i64::MIN))
}

/// The same by the times that the database wrote: no two reservations have a seat at the same time.
fn by_the_database(history: &History, lives: &Lives, violations: &mut Vec<Violation>) {
    let mut seats: BTreeMap<i32, Vec<&Life>> = BTreeMap::new();
    for life in lives.of.values() {
        for &number in &life.last.seats {
            seats.entry(number).or_default().push(life);
        }
    }
    for (number, mut lives) in seats {
        lives.sort_by_key(|life| (life.last.held_at, life.held.begun));
        for pair in lives.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            // A hold's own time is cut to milliseconds, a client's is not.
            if second.last.held_at + 1000 + history.terms.slack <= end(first) {
                let text = format!(
                    "seat {number}: by the database's times {:?} had it until {}, and {:?} before that",
                    first.last,
                    end(first),
                    second.last
                );
                violations.push(Violation::new(text, &[first.held.attempt, second.held.attempt]));
            }
        }
    }
}

/// The earliest time at which the seats of a reservation can have been anybody else's.
fn end(life: &Life) -> i64 {
    match life.last.status {
        Status::Confirmed => i64::MAX,
        Status::Refunded => life.refunded_at.unwrap_or(i64::MAX),
        Status::Cancelled => {
            life.cancelled.as_ref().map_or(life.last.held_at, |deed| deed.begun.wall.max(life.last.held_at))
        }
        Status::Held | Status::Expired => life.last.expires_at,
    }
}

//! Which seats people on this replica are trying for, who have left the choice to us.
//!
//! Two who choose at the same moment would choose the same best seats, and one would have come for
//! nothing. So each says which seats it tries for, and the next chooses among the others. That is
//! all: what is written here spares collisions and decides nothing. Other replicas have people who
//! try too; whoever collides chooses at random among ever more choices, and so they part.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::best::{Best, Seat};

/// Among how many choices the second try chooses; each further one among twice as many.
const FIRST_SPREAD: usize = 4;
const LARGEST_SPREAD: usize = 128;

/// See the module.
#[derive(Default)]
pub struct Tries(Mutex<HashSet<(Uuid, i32)>>);

/// What somebody has failed to get so far.
#[derive(Default)]
pub struct Misses {
    /// How often.
    pub count: u32,
    /// The seats of the last time.
    pub seats: Vec<i32>,
}

/// Seats that are tried for, until this is dropped.
pub struct Try<'a> {
    tries: &'a Tries,
    schedule: Uuid,
    numbers: Vec<i32>,
}

/// What there is to try for.
pub enum Choice<'a> {
    These(Try<'a>),
    /// Only what others are trying for: they have it or it is free in a moment.
    OthersAreThere,
    /// Nothing: so many single seats are left.
    Nothing {
        available: usize,
    },
}

impl Tries {
    /// Chooses among the seats that are seen to be free; `dice` answers a number below the one it is
    /// given.
    pub fn choose(
        &self,
        schedule: Uuid,
        wish: &Best,
        seats: &[Seat<'_>],
        misses: &Misses,
        dice: impl Fn(usize) -> usize,
    ) -> Choice<'_> {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_avoided = |number| misses.seats.contains(&number) || tried.contains(&(schedule, number));
        let mut choices = wish.choices(seats, is_avoided, spread(misses.count));
        if choices.is_empty() {
            let is_gone = wish.choices(seats, |_| false, 1).is_empty();
            let available = wish.available(seats);
            return if is_gone { Choice::Nothing { available } } else { Choice::OthersAreThere };
        }
        let numbers = choices.swap_remove(dice(choices.len()));
        tried.extend(numbers.iter().map(|number| (schedule, *number)));
        Choice::These(Try { tries: self, schedule, numbers })
    }
}

/// Among how many choices to choose after so many misses.
fn spread(misses: u32) -> usize {
    match misses {
        0 => 1,
        _ => FIRST_SPREAD.saturating_mul(1 << (misses - 1).min(10)).min(LARGEST_SPREAD),
    }
}

impl Try<'_> {
    /// The seats, in the order of their numbers.
    pub fn numbers(&self) -> &[i32] {
        &self.numbers
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let mut tried = self.tries.0.lock().unwrap_or_else(PoisonError::into_inner);
        for number in &self.numbers {
            tried.remove(&(self.schedule, *number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(count: i32) -> Vec<Seat<'static>> {
        (1..=count).map(|number| Seat { number, section: None, row: None, available: true }).collect()
    }

    fn pair() -> Best {
        Best { count: 2, section: None, together: true }
    }

    fn missed(seats: &[i32], count: u32) -> Misses {
        Misses { count, seats: seats.to_vec() }
    }

    fn numbers(choice: &Choice<'_>) -> Vec<i32> {
        match choice {
            Choice::These(these) => these.numbers().to_vec(),
            _ => vec![],
        }
    }

    #[test]
    fn those_who_try_at_once_try_for_different_seats() {
        let (tries, date, seats) = (Tries::default(), Uuid::nil(), seats(5));
        let choose = || tries.choose(date, &pair(), &seats, &Misses::default(), |_| 0);
        let (first, second) = (choose(), choose());
        assert_eq!((numbers(&first), numbers(&second)), (vec![1, 2], vec![3, 4]));
        assert!(matches!(choose(), Choice::OthersAreThere));
        drop(first);
        assert_eq!(numbers(&choose()), [1, 2]);
        let elsewhere = tries.choose(Uuid::max(), &pair(), &seats, &Misses::default(), |_| 0);
        assert_eq!(numbers(&elsewhere), [1, 2], "seats of another date are others");
    }

    #[test]
    fn whoever_missed_looks_elsewhere_and_further() {
        let (tries, date, seats) = (Tries::default(), Uuid::nil(), seats(40));
        let choose = |seats_missed, count| {
            tries.choose(date, &pair(), &seats, &missed(seats_missed, count), |n| n - 1)
        };
        assert_eq!(numbers(&choose(&[], 0)), [1, 2], "the first time the best");
        assert_eq!(numbers(&choose(&[1, 2], 1)), [9, 10]);
        assert_eq!(numbers(&choose(&[9, 10], 2)), [17, 18]);
        assert_eq!(spread(u32::MAX), LARGEST_SPREAD);
    }

    #[test]
    fn there_is_nothing_only_when_nothing_is_free() {
        let (tries, date, mut seats) = (Tries::default(), Uuid::nil(), seats(3));
        seats[1].available = false;
        let choice = tries.choose(date, &pair(), &seats, &Misses::default(), |_| 0);
        assert!(matches!(choice, Choice::Nothing { available: 2 }));
        seats[1].available = true;
        let choice = tries.choose(date, &pair(), &seats, &missed(&[1], 1), |_| 0);
        assert_eq!(numbers(&choice), [2, 3], "what was missed is left out");
        drop(choice);
        let choice = tries.choose(date, &pair(), &seats, &missed(&[2], 1), |_| 0);
        assert!(matches!(choice, Choice::OthersAreThere), "and is no proof that nothing is left");
    }
}

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

/// A hall from its first seat on, as far as it was read.
pub struct Seen<'a> {
    pub seats: &'a [Seat<'a>],
    /// Nothing follows.
    pub to_the_end: bool,
}

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
    /// Fewer choices so far than there should be to choose among, and more to read.
    TooFew,
    /// Only what others are trying for: they have it or it is free in a moment.
    OthersAreThere,
    /// To the end, nothing.
    Nothing,
}

impl Tries {
    /// Chooses among the seats that are seen to be free; `dice` answers a number below the one it is
    /// given.
    pub fn choose(
        &self,
        schedule: Uuid,
        wish: &Best,
        seen: &Seen<'_>,
        misses: &Misses,
        dice: impl Fn(usize) -> usize,
    ) -> Choice<'_> {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_avoided = |number| misses.seats.contains(&number) || tried.contains(&(schedule, number));
        let most = spread(misses.count);
        let mut choices = wish.choices(seen.seats, is_avoided, most);
        if choices.len() < most && !seen.to_the_end {
            return Choice::TooFew;
        }
        if choices.is_empty() {
            let is_gone = wish.choices(seen.seats, |_| false, 1).is_empty();
            return if is_gone { Choice::Nothing } else { Choice::OthersAreThere };
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

    fn all<'a>(seats: &'a [Seat<'a>]) -> Seen<'a> {
        Seen { seats, to_the_end: true }
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
        let choose = || tries.choose(date, &pair(), &all(&seats), &Misses::default(), |_| 0);
        let (first, second) = (choose(), choose());
        assert_eq!((numbers(&first), numbers(&second)), (vec![1, 2], vec![3, 4]));
        assert!(matches!(choose(), Choice::OthersAreThere));
        drop(first);
        assert_eq!(numbers(&choose()), [1, 2]);
        let elsewhere = tries.choose(Uuid::max(), &pair(), &all(&seats), &Misses::default(), |_| 0);
        assert_eq!(numbers(&elsewhere), [1, 2], "seats of another date are others");
    }

    #[test]
    fn whoever_missed_looks_elsewhere_and_further() {
        let (tries, date, seats) = (Tries::default(), Uuid::nil(), seats(40));
        let choose = |seats_missed, count| {
            tries.choose(date, &pair(), &all(&seats), &missed(seats_missed, count), |n| n - 1)
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
        let choice = tries.choose(date, &pair(), &all(&seats), &Misses::default(), |_| 0);
        assert!(matches!(choice, Choice::Nothing));
        seats[1].available = true;
        let choice = tries.choose(date, &pair(), &all(&seats), &missed(&[1], 1), |_| 0);
        assert_eq!(numbers(&choice), [2, 3], "what was missed is left out");
        drop(choice);
        let choice = tries.choose(date, &pair(), &all(&seats), &missed(&[2], 1), |_| 0);
        assert!(matches!(choice, Choice::OthersAreThere), "and is no proof that nothing is left");
    }

    /// Small numbers from a stream of them.
    fn stream(mut state: u64) -> impl FnMut(i32) -> i32 {
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i32::try_from(state >> 33).unwrap() % below
        }
    }

    /// The free seats of a hall of rows.
    fn free(next: &mut impl FnMut(i32) -> i32) -> Vec<Seat<'static>> {
        let rows = [Some("1"), Some("2"), Some("3"), None];
        let (size, length, holes) = (next(120), next(12) + 1, next(6) + 2);
        let seats = (1..=size).filter_map(|number| {
            let row = rows[usize::try_from(number / length % 4).unwrap()];
            (next(holes) != 0).then_some(Seat { number, section: None, row, available: true })
        });
        seats.collect()
    }

    #[test]
    fn a_hall_read_in_pieces_gives_what_the_whole_gives() {
        let (mut next, mut early, mut late) = (stream(7), 0, 0);
        for trial in 0..20_000 {
            let (tries, seats) = (Tries::default(), free(&mut next));
            let count = usize::try_from(next(4) + 1).unwrap();
            let wish = Best { count, section: None, together: next(3) != 0 };
            let of_others: Vec<i32> = (0..next(10)).map(|_| next(30)).collect();
            tries.0.lock().unwrap().extend(of_others.iter().map(|number| (Uuid::nil(), *number)));
            let misses = missed(&[next(9), next(9)], next(4).unsigned_abs());
            let pick = usize::try_from(next(1000)).unwrap();
            let choose = |seen| tries.choose(Uuid::nil(), &wish, &seen, &misses, |below| pick % below);
            let whole = choose(all(&seats));
            let expected = (std::mem::discriminant(&whole), numbers(&whole));
            drop(whole);
            let mut read = 0;
            loop {
                read = seats.len().min(read + usize::try_from(next(20) + 1).unwrap());
                let to_the_end = read == seats.len();
                let choice = choose(Seen { seats: &seats[..read], to_the_end });
                if matches!(choice, Choice::TooFew) {
                    assert!(!to_the_end);
                    continue;
                }
                let told = format!("trial {trial}: {read} of {seats:?}, {wish:?} beside {of_others:?}");
                assert_eq!((std::mem::discriminant(&choice), numbers(&choice)), expected, "{told}");
                *(if to_the_end { &mut late } else { &mut early }) += 1;
                break;
            }
        }
        assert!(early > 5_000 && late > 1_000, "{early} found before the end, {late} at it");
    }
}

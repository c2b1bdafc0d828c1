//! Best available: which seats somebody gets who leaves the choice to us.
//!
//! ```text
//!   row A   1 2 3 . . 6 7 8 9 10      wanted: 2 together
//!           └─┘       └─┘ └─┘         choices: 1–2, 6–7, 8–9; the best is the first
//! ```
//!
//! The operator numbers a hall from its best seat to its worst, so best means lowest number:
//!
//! - together: seats of one section and one row whose numbers follow each other. Each gap, the longest
//!   run of free seats, is cut into choices from its low end on; the choice with the lowest number wins.
//!   What a gap has over stays in one piece at its high end. No rule about single seats beyond that: a
//!   better seat is never passed over for a tidier hall.
//! - apart: the free seats in the order of their numbers, so many at a time.
//!
//! Invariants:
//!
//! - no two choices share a seat, so that people who try at the same time can be given different ones;
//! - there is a first choice exactly when there is any choice at all;
//! - whatever follows a seat changes no choice before it: the first choices of a part of the hall that
//!   begins where the hall begins are those of the hall. So a hall is read only as far as is needed.

/// A seat of a hall, as far as the choice is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat<'a> {
    pub number: i32,
    pub section: Option<&'a str>,
    pub row: Option<&'a str>,
    pub available: bool,
}

/// Somebody who leaves the choice to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Best {
    /// At least 1.
    pub count: usize,
    /// `None`: any.
    pub section: Option<String>,
    /// In one row, side by side.
    pub together: bool,
}

/// What a hall, or a section, has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Single seats.
    pub available: i64,
    /// The most of them side by side in one row.
    pub longest_run: i64,
}

impl Best {
    /// The first `most` choices there are, the best first, without seats that are to be `avoided`.
    /// `seats` are in the order of their numbers.
    pub fn choices(&self, seats: &[Seat<'_>], avoided: impl Fn(i32) -> bool, most: usize) -> Vec<Vec<i32>> {
        let mut choices = Vec::new();
        let mut picked: Vec<Seat<'_>> = Vec::with_capacity(self.count);
        for seat in self.open_to(seats).filter(|seat| !avoided(seat.number)) {
            if self.together && picked.last().is_some_and(|last| !is_beside(last, seat)) {
                picked.clear();
            }
            picked.push(*seat);
            if picked.len() == self.count {
                choices.push(picked.drain(..).map(|seat| seat.number).collect());
                if choices.len() == most {
                    break;
                }
            }
        }
        choices
    }

    /// Whether there is a choice among what is left.
    pub fn fits(&self, left: Left) -> bool {
        let room = if self.together { left.longest_run } else { left.available };
        i64::try_from(self.count).is_ok_and(|count| count <= room)
    }

    fn open_to<'s, 'a>(&'s self, seats: &'s [Seat<'a>]) -> impl Iterator<Item = &'s Seat<'a>> {
        let is_there = |seat: &Seat<'_>| self.section.is_none() || seat.section == self.section.as_deref();
        seats.iter().filter(move |seat| seat.available && is_there(seat))
    }
}

/// Whether `next` is the neighbour of `seat` with the higher number.
fn is_beside(seat: &Seat<'_>, next: &Seat<'_>) -> bool {
    seat.number + 1 == next.number && seat.section == next.section && seat.row == next.row
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    fn best(count: usize, together: bool) -> Best {
        Best { count, section: None, together }
    }

    /// One row; a dot is a seat that somebody has.
    fn row(text: &str) -> Vec<Seat<'static>> {
        let seats = (1..).zip(text.chars());
        seats
            .map(|(number, c)| Seat { number, section: Some("A"), row: Some("1"), available: c != '.' })
            .collect()
    }

    fn nobody(_: i32) -> bool {
        false
    }

    #[test]
    fn the_best_has_the_lowest_number() {
        let seats = row("xxx..xxxxx");
        assert_eq!(best(2, true).choices(&seats, nobody, ALL), [[1, 2], [6, 7], [8, 9]]);
        assert_eq!(best(4, true).choices(&seats, nobody, ALL), [[6, 7, 8, 9]]);
        assert_eq!(best(4, false).choices(&seats, nobody, ALL), [[1, 2, 3, 6], [7, 8, 9, 10]]);
        assert_eq!(best(2, true).choices(&seats, nobody, 1), [[1, 2]]);
        assert!(best(6, true).choices(&seats, nobody, ALL).is_empty());
    }

    #[test]
    fn who_sits_together_sits_in_one_row_of_one_section() {
        let mut seats = row("xxxx");
        seats[1].row = Some("2");
        seats[2].row = Some("2");
        assert_eq!(best(2, true).choices(&seats, nobody, ALL), [[2, 3]]);
        seats[2].section = Some("B");
        assert!(best(2, true).choices(&seats, nobody, ALL).is_empty());
        let in_b = Best { count: 1, section: Some("B".into()), together: true };
        assert_eq!(in_b.choices(&seats, nobody, ALL), [[3]]);
        seats.remove(1);
        assert!(best(2, true).choices(&seats, nobody, ALL).is_empty(), "3 is not beside 1");
    }

    #[test]
    fn what_is_avoided_is_no_part_of_a_choice() {
        let seats = row("xxxxxx");
        let avoided = |number| number == 1 || number == 2;
        assert_eq!(best(2, true).choices(&seats, avoided, ALL), [[3, 4], [5, 6]]);
        assert_eq!(best(3, false).choices(&seats, avoided, ALL), [[3, 4, 5]]);
    }

    /// All that would do, each found by itself.
    fn naive(wish: &Best, seats: &[Seat<'_>]) -> Vec<Vec<i32>> {
        let is_free = |seat: &&Seat<'_>| {
            seat.available && (wish.section.is_none() || seat.section == wish.section.as_deref())
        };
        let free: Vec<_> = seats.iter().filter(is_free).collect();
        if !wish.together {
            let first = free.iter().take(wish.count).map(|seat| seat.number).collect();
            return if free.len() < wish.count { vec![] } else { vec![first] };
        }
        let run_from = |first: &&Seat<'_>| {
            let numbers = (0..wish.count).map(|at| first.number + i32::try_from(at).unwrap());
            let found = numbers.map(|number| {
                free.iter().find(|seat| {
                    seat.number == number && (seat.section, seat.row) == (first.section, first.row)
                })
            });
            found.map(|seat| seat.map(|seat| seat.number)).collect::<Option<Vec<_>>>()
        };
        free.iter().filter_map(run_from).collect()
    }

    /// A hall of several rows with holes in it; small numbers from a stream of them.
    fn hall(next: &mut impl FnMut(usize) -> usize) -> Vec<Seat<'static>> {
        const NAMES: [Option<&str>; 3] = [None, Some("A"), Some("B")];
        let (mut seats, mut number) = (Vec::new(), 0);
        for _ in 0..next(5) {
            let (section, row) = (NAMES[next(3)], NAMES[next(3)]);
            for _ in 0..=next(9) {
                number += if next(12) == 0 { 2 } else { 1 };
                seats.push(Seat { number, section, row, available: next(3) != 0 });
            }
        }
        seats
    }

    #[test]
    fn the_choices_are_right_in_any_hall() {
        let mut state = 42_u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut found = 0;
        for trial in 0..20_000 {
            let seats = hall(&mut next);
            let section = [None, Some("A".to_owned()), Some("C".to_owned())][next(3)].clone();
            let wish = Best { count: next(4) + 1, section, together: next(2) == 0 };
            let (choices, all) = (wish.choices(&seats, nobody, ALL), naive(&wish, &seats));
            let told = format!("trial {trial}: {wish:?} of {seats:?}: {choices:?}, {all:?}");
            assert_eq!(choices.first(), all.first(), "{told}");
            if wish.together {
                assert!(choices.iter().all(|choice| all.contains(choice)), "{told}");
            }
            let part = wish.choices(&seats[..next(seats.len() + 1)], nobody, ALL);
            assert!(choices.starts_with(&part), "{told}: of a part {part:?}");
            let mut taken: Vec<i32> = choices.concat();
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), choices.len() * wish.count, "{told}");
            found += choices.len();
        }
        assert!(found > 10_000, "{found}");
    }
}

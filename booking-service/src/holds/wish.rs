//! What somebody wants, and what of it is in the way.

use serde::Deserialize;
use utoipa::ToSchema;

use super::best::Best;
use crate::catalog::Invalid;

/// The longest name of a section, as the hall has them.
const MAX_NAME: usize = 40;

/// A wish for seats: either `seat_numbers`, or `count` and we choose.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ReserveBody {
    pub schedule_id: String,
    pub seat_numbers: Option<Vec<i64>>,
    /// Best available: so many seats, the lowest numbers first.
    #[schema(minimum = 1)]
    pub count: Option<i64>,
    /// With `count`: of this section. Default: any.
    pub section: Option<String>,
    /// With `count`: in one row, side by side. Default: true.
    pub together: Option<bool>,
}

/// The seats that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Named(SeatNumbers),
    Best(Best),
}

impl Wanted {
    /// Refuses what is neither or both.
    pub fn parse(body: ReserveBody) -> Result<Self, Invalid> {
        let ReserveBody { seat_numbers, count, section, together, .. } = body;
        let Some(numbers) = seat_numbers else {
            let count = count.ok_or_else(|| Invalid::new("seat_numbers", "or count must be given"))?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            let count = count.ok_or_else(|| Invalid::new("count", "must be a whole number from 1 on"))?;
            let is_name =
                |name: &String| (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains('\0');
            if section.as_ref().is_some_and(|name| !is_name(name)) {
                return Err(Invalid::new("section", format!("must be 1 to {MAX_NAME} characters")));
            }
            return Ok(Self::Best(Best { count, section, together: together.unwrap_or(true) }));
        };
        for (field, is_given) in
            [("count", count.is_some()), ("section", section.is_some()), ("together", together.is_some())]
        {
            if is_given {
                return Err(Invalid::new(field, "must be left out beside seat_numbers"));
            }
        }
        SeatNumbers::parse(numbers).map(Self::Named)
    }

    /// The numbers it names that could be numbers of seats at all.
    pub fn named(&self) -> Vec<i32> {
        match self {
            Self::Named(numbers) => numbers.possible(),
            Self::Best(_) => Vec::new(),
        }
    }

    /// The section it names.
    pub fn section(&self) -> Option<&str> {
        match self {
            Self::Named(_) => None,
            Self::Best(best) => best.section.as_deref(),
        }
    }

    /// How many seats.
    pub fn count(&self) -> usize {
        match self {
            Self::Named(numbers) => numbers.0.len(),
            Self::Best(best) => best.count,
        }
    }
}

/// The seats somebody asks for: at least one, none twice, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatNumbers(Vec<i64>);

impl SeatNumbers {
    /// Refuses an empty list and one that repeats a number.
    pub fn parse(mut numbers: Vec<i64>) -> Result<Self, Invalid> {
        if numbers.is_empty() {
            return Err(Invalid::new("seat_numbers", "must not be empty"));
        }
        numbers.sort_unstable();
        if let Some([number, ..]) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Invalid::new("seat_numbers", format!("{number} comes twice")));
        }
        Ok(Self(numbers))
    }

    /// Those that could be numbers of seats at all.
    pub fn possible(&self) -> Vec<i32> {
        self.0.iter().filter_map(|number| i32::try_from(*number).ok()).collect()
    }

    /// Those that are not among `known`, which is in the order of its numbers.
    pub fn beside(&self, known: &[i32]) -> Vec<i64> {
        let is_known =
            |number: &i64| i32::try_from(*number).is_ok_and(|number| known.binary_search(&number).is_ok());
        self.0.iter().copied().filter(|number| !is_known(number)).collect()
    }
}

/// What one look at the store shows of a wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub spent: bool,
    /// `None`: no such date.
    pub date: Option<DateLook>,
}

/// See [`Look`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DateLook {
    pub queue: String,
    pub has_seats: bool,
    pub on_sale: bool,
    pub limit: Option<i64>,
    /// Seats the user has of this date, held and sold.
    pub owned: i64,
    /// Whether the hall has the wanted section, if there is one.
    pub has_section: bool,
    /// Of the wanted numbers, those the hall has; in their order.
    pub known: Vec<i32>,
    /// Of those, the ones visibly held or sold.
    pub taken: Vec<i32>,
}

/// Why a wish cannot be fulfilled, by what was seen. In the order of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    EntryCompleted,
    ScheduleNotFound,
    WrongQueue,
    SeatsNotReady,
    SalesClosed,
    UnknownSeat(Vec<i64>),
    UnknownSection,
    TooManySeats {
        max: u32,
    },
    SeatLimitReached {
        max: i64,
        owned: i64,
    },
    SeatTaken(Vec<i32>),
    /// Nobody is half-way with a choice either.
    SeatsUnavailable {
        wanted: usize,
        available: usize,
        together: bool,
    },
}

impl Look {
    /// The first obstacle, if there is one.
    pub fn judge(
        &self,
        may_enter: impl Fn(&str) -> bool,
        wanted: &Wanted,
        max_seats: u32,
    ) -> Result<(), Obstacle> {
        if self.spent {
            return Err(Obstacle::EntryCompleted);
        }
        let date = self.date.as_ref().ok_or(Obstacle::ScheduleNotFound)?;
        if !may_enter(&date.queue) {
            return Err(Obstacle::WrongQueue);
        }
        if !date.has_seats {
            return Err(Obstacle::SeatsNotReady);
        }
        if !date.on_sale {
            return Err(Obstacle::SalesClosed);
        }
        date.has(wanted)?;
        if wanted.count() > max_seats as usize {
            return Err(Obstacle::TooManySeats { max: max_seats });
        }
        let count = i64::try_from(wanted.count()).unwrap_or(i64::MAX);
        if let Some(max) = date.limit.filter(|max| date.owned.saturating_add(count) > *max) {
            return Err(Obstacle::SeatLimitReached { max, owned: date.owned });
        }
        if !date.taken.is_empty() {
            return Err(Obstacle::SeatTaken(date.taken.clone()));
        }
        Ok(())
    }
}

impl DateLook {
    /// Whether the hall has what is wanted at all.
    fn has(&self, wanted: &Wanted) -> Result<(), Obstacle> {
        match wanted {
            Wanted::Best(_) if !self.has_section => Err(Obstacle::UnknownSection),
            Wanted::Best(_) => Ok(()),
            Wanted::Named(numbers) => {
                let unknown = numbers.beside(&self.known);
                if unknown.is_empty() { Ok(()) } else { Err(Obstacle::UnknownSeat(unknown)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[i64]) -> SeatNumbers {
        SeatNumbers::parse(numbers.to_vec()).unwrap()
    }

    fn parsed(json: &str) -> Result<Wanted, &'static str> {
        Wanted::parse(serde_json::from_str(json).unwrap()).map_err(|invalid| invalid.field)
    }

    #[test]
    fn lists_are_sorted_and_refused_when_empty_or_repeated() {
        assert_eq!(numbers(&[3, 1]).possible(), [1, 3]);
        assert!(SeatNumbers::parse(vec![]).is_err());
        assert!(SeatNumbers::parse(vec![2, 1, 2]).is_err());
        assert_eq!(numbers(&[i64::MAX, -1]).possible(), [-1]);
        assert_eq!(
            numbers(&[9, 4, 2, 7, i64::MAX, i64::MIN]).beside(&[2, 3, 4, 8]),
            [i64::MIN, 7, 9, i64::MAX]
        );
        assert_eq!(numbers(&[1, 2]).beside(&[]), [1, 2]);
    }

    /// Everything is wrong at once; each mend uncovers the next refusal of the contract's order.
    #[test]
    fn the_first_refusal_is_the_contracts() {
        let mut look = Look { spent: true, date: None };
        let numbers = Wanted::Named(numbers(&[1, 2, 51]));
        let judge = |look: &Look, queue: &str, max| look.judge(|q| q == queue, &numbers, max);
        assert_eq!(judge(&look, "main", 2), Err(Obstacle::EntryCompleted));
        look.spent = false;
        assert_eq!(judge(&look, "main", 2), Err(Obstacle::ScheduleNotFound));
        let mut date = DateLook { queue: "main".into(), limit: Some(3), owned: 1, ..DateLook::default() };
        date.known = vec![1, 2];
        date.taken = vec![2];
        let seen = |date: &DateLook| Look { spent: false, date: Some(date.clone()) };
        assert_eq!(judge(&seen(&date), "other", 2), Err(Obstacle::WrongQueue));
        assert_eq!(judge(&seen(&date), "main", 2), Err(Obstacle::SeatsNotReady));
        date.has_seats = true;
        assert_eq!(judge(&seen(&date), "main", 2), Err(Obstacle::SalesClosed));
        date.on_sale = true;
        assert_eq!(judge(&seen(&date), "main", 2), Err(Obstacle::UnknownSeat(vec![51])));
        date.known.push(51);
        assert_eq!(judge(&seen(&date), "main", 2), Err(Obstacle::TooManySeats { max: 2 }));
        assert_eq!(judge(&seen(&date), "main", 4), Err(Obstacle::SeatLimitReached { max: 3, owned: 1 }));
        date.owned = 0;
        assert_eq!(judge(&seen(&date), "main", 4), Err(Obstacle::SeatTaken(vec![2])));
        date.taken.clear();
        assert_eq!(judge(&seen(&date), "main", 4), Ok(()));
    }

    #[test]
    fn a_wish_names_seats_or_leaves_the_choice_to_us() {
        let best = |count, section: Option<&str>, together| {
            Ok(Wanted::Best(Best { count, section: section.map(str::to_owned), together }))
        };
        assert_eq!(parsed(r#"{"schedule_id":"x","count":2}"#), best(2, None, true));
        let all = r#"{"schedule_id":"x","count":1,"section":"A","together":false,"seat_numbers":null}"#;
        assert_eq!(parsed(all), best(1, Some("A"), false));
        let named = parsed(r#"{"schedule_id":"x","seat_numbers":[2,1]}"#);
        assert_eq!(named, Ok(Wanted::Named(numbers(&[1, 2]))));
        for (bad, field) in [
            ("", "seat_numbers"),
            (r#","section":"A""#, "seat_numbers"),
            (r#","count":0"#, "count"),
            (r#","count":-1"#, "count"),
            (r#","count":1,"section":"""#, "section"),
            (r#","count":1,"section":"\u0000""#, "section"),
            (r#","count":1,"seat_numbers":[1]"#, "count"),
            (r#","section":"A","seat_numbers":[1]"#, "section"),
            (r#","together":true,"seat_numbers":[1]"#, "together"),
            (r#","seat_numbers":[]"#, "seat_numbers"),
        ] {
            assert_eq!(parsed(&format!(r#"{{"schedule_id":"x"{bad}}}"#)), Err(field), "{bad}");
        }
    }

    #[test]
    fn an_unknown_section_comes_before_the_limits() {
        let wanted = Wanted::Best(Best { count: 3, section: Some("Z".into()), together: true });
        let mut date = DateLook { has_seats: true, on_sale: true, limit: Some(2), ..DateLook::default() };
        let judge = |date: &DateLook, max| {
            Look { spent: false, date: Some(date.clone()) }.judge(|_| true, &wanted, max)
        };
        assert_eq!(judge(&date, 2), Err(Obstacle::UnknownSection));
        date.has_section = true;
        assert_eq!(judge(&date, 2), Err(Obstacle::TooManySeats { max: 2 }));
        assert_eq!(judge(&date, 3), Err(Obstacle::SeatLimitReached { max: 2, owned: 0 }));
        date.limit = None;
        assert_eq!(judge(&date, 3), Ok(()));
    }
}

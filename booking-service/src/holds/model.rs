//! Reservations, and whether a hold can be made.
#![expect(clippy::struct_field_names, reason = "the names are the contract's")]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::clock::as_rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::catalog::Invalid;

/// Where a reservation stands. `Expired` from the deadline on, swept or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Held,
    Confirmed,
    Expired,
    Cancelled,
    Refunded,
}

impl Status {
    /// The word, as it is stored and shown.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "held" => Self::Held,
            "confirmed" => Self::Confirmed,
            "expired" => Self::Expired,
            "cancelled" => Self::Cancelled,
            "refunded" => Self::Refunded,
            _ => return None,
        })
    }

    /// The word of it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }
}

/// A seat of a reservation, at the price of the moment it was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReservedSeat {
    pub number: i32,
    pub price: i64,
}

/// A reservation as its owner sees it at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reservation {
    pub reservation_id: Uuid,
    pub status: Status,
    pub schedule_id: Uuid,
    pub seats: Vec<ReservedSeat>,
    pub amount: i64,
    #[serde(serialize_with = "as_rfc3339")]
    pub held_at: DateTime<Utc>,
    #[serde(serialize_with = "as_rfc3339")]
    pub expires_at: DateTime<Utc>,
    /// Rounded down; 0 unless held.
    pub remaining_seconds: i64,
    pub payment_id: Option<Uuid>,
}

/// What is left of a hold at `now`, in whole seconds.
pub fn remaining_seconds(status: Status, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    match status {
        Status::Held => (expires_at - now).num_seconds().max(0),
        _ => 0,
    }
}

/// Pairs numbers with prices.
pub fn reserved(numbers: Vec<i32>, prices: Vec<i64>) -> Vec<ReservedSeat> {
    numbers.into_iter().zip(prices).map(|(number, price)| ReservedSeat { number, price }).collect()
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

    /// Those that are not among `known`.
    pub fn beside(&self, known: &[i32]) -> Vec<i64> {
        let is_known = |number: &i64| i32::try_from(*number).is_ok_and(|number| known.contains(&number));
        self.0.iter().copied().filter(|number| !is_known(number)).collect()
    }

    fn count(&self) -> usize {
        self.0.len()
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
    /// Of the wanted numbers, those the hall has.
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
    TooManySeats { max: u32 },
    SeatLimitReached { max: i64, owned: i64 },
    SeatTaken(Vec<i32>),
}

impl Look {
    /// The first obstacle, if there is one.
    pub fn judge(
        &self,
        may_enter: impl Fn(&str) -> bool,
        wanted: &SeatNumbers,
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
        let unknown = wanted.beside(&date.known);
        if !unknown.is_empty() {
            return Err(Obstacle::UnknownSeat(unknown));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(numbers: &[i64]) -> SeatNumbers {
        SeatNumbers::parse(numbers.to_vec()).unwrap()
    }

    #[test]
    fn lists_are_sorted_and_refused_when_empty_or_repeated() {
        assert_eq!(wanted(&[3, 1]).possible(), [1, 3]);
        assert!(SeatNumbers::parse(vec![]).is_err());
        assert!(SeatNumbers::parse(vec![2, 1, 2]).is_err());
        assert_eq!(wanted(&[i64::MAX, -1]).possible(), [-1]);
    }

    /// Everything is wrong at once; each mend uncovers the next refusal of the contract's order.
    #[test]
    fn the_first_refusal_is_the_contracts() {
        let mut look = Look { spent: true, date: None };
        let numbers = wanted(&[1, 2, 51]);
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
    fn remaining_time_is_rounded_down_and_ends_at_zero() {
        let at = |ms: i64| DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap();
        assert_eq!(remaining_seconds(Status::Held, at(1999), at(0)), 1);
        assert_eq!(remaining_seconds(Status::Held, at(0), at(5)), 0);
        assert_eq!(remaining_seconds(Status::Confirmed, at(9000), at(0)), 0);
    }
}

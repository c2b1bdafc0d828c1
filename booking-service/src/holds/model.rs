//! Reservations, and the machine of their states.
#![expect(clippy::struct_field_names, reason = "the names are the contract's")]

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::clock::as_rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

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

/// What somebody does to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// By so many seconds; 0 where the settings do not allow it.
    Extend {
        seconds: u32,
    },
    Cancel,
    Pay,
    Refund,
}

/// Why it cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    NotHeld,
    HoldExpired,
    NotAllowed,
    AlreadyExtended,
    AlreadyPaid,
    NotPaid,
    AlreadyRefunded,
}

/// How far a reservation has come: all that its next step depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub status: Status,
    pub expires_at: DateTime<Utc>,
    pub extended: bool,
}

impl Standing {
    /// As it stands at `now`: the deadline needs nobody to pass.
    pub fn at(self, now: DateTime<Utc>) -> Self {
        match self.status {
            Status::Held if self.expires_at <= now => Self { status: Status::Expired, ..self },
            _ => self,
        }
    }

    /// The machine. What it allows may still fail for other reasons: too few points, a show that has
    /// started. The statements of the store say the same in their conditions and decide; this names
    /// what was in their way.
    pub fn after(self, event: Event, now: DateTime<Utc>) -> Result<Self, Denied> {
        let to = |status| Ok(Self { status, ..self });
        match (self.at(now).status, event) {
            (Status::Held, Event::Pay) => to(Status::Confirmed),
            (Status::Held, Event::Cancel) => to(Status::Cancelled),
            (Status::Held, Event::Extend { seconds: 0 }) => Err(Denied::NotAllowed),
            (Status::Held, Event::Extend { .. }) if self.extended => Err(Denied::AlreadyExtended),
            (Status::Held, Event::Extend { seconds }) => {
                let expires_at = self.expires_at + TimeDelta::seconds(seconds.into());
                Ok(Self { expires_at, extended: true, ..self })
            }
            (Status::Confirmed, Event::Refund) => to(Status::Refunded),
            (Status::Confirmed, Event::Pay) => Err(Denied::AlreadyPaid),
            (Status::Refunded, Event::Refund) => Err(Denied::AlreadyRefunded),
            (_, Event::Refund) => Err(Denied::NotPaid),
            (Status::Expired, _) => Err(Denied::HoldExpired),
            (Status::Confirmed | Status::Cancelled | Status::Refunded, _) => Err(Denied::NotHeld),
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
    /// Whether the deadline was moved; it is moved once.
    pub extended: bool,
    /// Rounded down; 0 unless held.
    pub remaining_seconds: i64,
    pub payment_id: Option<Uuid>,
    /// That moment, on the database's clock.
    #[serde(skip)]
    pub seen_at: DateTime<Utc>,
}

impl Reservation {
    /// What would become of it at that moment.
    pub fn after(&self, event: Event) -> Result<Standing, Denied> {
        let standing = Standing { status: self.status, expires_at: self.expires_at, extended: self.extended };
        standing.after(event, self.seen_at)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
    }

    fn held(extended: bool) -> Standing {
        Standing { status: Status::Held, expires_at: at(1000), extended }
    }

    const EXTEND: Event = Event::Extend { seconds: 60 };

    #[test]
    fn a_hold_that_stands_goes_every_way_once() {
        let longer = held(false).after(EXTEND, at(999)).unwrap();
        assert_eq!(longer, Standing { status: Status::Held, expires_at: at(61_000), extended: true });
        assert_eq!(longer.after(EXTEND, at(60_999)), Err(Denied::AlreadyExtended));
        assert_eq!(longer.after(Event::Pay, at(60_999)).unwrap().status, Status::Confirmed);
        let paid = held(false).after(Event::Pay, at(0)).unwrap();
        assert_eq!(paid.after(Event::Refund, at(5000)).unwrap().status, Status::Refunded);
        assert_eq!(held(true).after(Event::Cancel, at(999)).unwrap().status, Status::Cancelled);
    }

    /// Each status with each event, in the words of the contract.
    #[test]
    fn what_cannot_be_done_is_denied_by_name() {
        use Denied::{AlreadyPaid, AlreadyRefunded, HoldExpired, NotAllowed, NotHeld, NotPaid};
        let never = Event::Extend { seconds: 0 };
        for (status, pay, extend, cancel, refund) in [
            (Status::Held, None, Some(NotAllowed), None, Some(NotPaid)),
            (Status::Confirmed, Some(AlreadyPaid), Some(NotHeld), Some(NotHeld), None),
            (Status::Expired, Some(HoldExpired), Some(HoldExpired), Some(HoldExpired), Some(NotPaid)),
            (Status::Cancelled, Some(NotHeld), Some(NotHeld), Some(NotHeld), Some(NotPaid)),
            (Status::Refunded, Some(NotHeld), Some(NotHeld), Some(NotHeld), Some(AlreadyRefunded)),
        ] {
            let standing = Standing { status, ..held(true) };
            for (event, denied) in
                [(Event::Pay, pay), (never, extend), (Event::Cancel, cancel), (Event::Refund, refund)]
            {
                assert_eq!(standing.after(event, at(0)).err(), denied, "{status:?} {event:?}");
            }
        }
    }

    #[test]
    fn from_the_deadline_on_a_hold_is_expired_swept_or_not() {
        assert_eq!(held(false).at(at(999)).status, Status::Held);
        assert_eq!(held(false).at(at(1000)).status, Status::Expired);
        for event in [Event::Pay, Event::Cancel, EXTEND] {
            assert_eq!(held(false).after(event, at(1000)), Err(Denied::HoldExpired));
        }
        let paid = Standing { status: Status::Confirmed, ..held(false) };
        assert_eq!(paid.at(at(9000)), paid);
    }

    #[test]
    fn remaining_time_is_rounded_down_and_ends_at_zero() {
        assert_eq!(remaining_seconds(Status::Held, at(1999), at(0)), 1);
        assert_eq!(remaining_seconds(Status::Held, at(0), at(5)), 0);
        assert_eq!(remaining_seconds(Status::Confirmed, at(9000), at(0)), 0);
    }
}

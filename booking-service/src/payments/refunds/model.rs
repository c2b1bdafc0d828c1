//! Refunds: which tickets, why, and what is told of them.
#![expect(clippy::struct_field_names, reason = "the names are the contract's")]

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock::as_rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::holds::SeatNumbers;

/// A refund on the receipt.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefundLine {
    pub refund_id: Uuid,
    pub amount: i64,
    pub seat_numbers: Vec<i32>,
    pub reason: Reason,
    #[serde(serialize_with = "as_rfc3339")]
    pub refunded_at: DateTime<Utc>,
}

/// The outcome of a refund.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Refunded {
    pub refund_id: Uuid,
    pub payment_id: Uuid,
    pub amount: i64,
    pub balance_after: i64,
    #[serde(serialize_with = "as_rfc3339")]
    pub refunded_at: DateTime<Utc>,
    pub seat_numbers: Vec<i32>,
}

/// Why tickets were ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The owner wanted it.
    Request,
    /// The date was cancelled.
    Cancellation,
}

impl Reason {
    /// The word, as it is stored and shown.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "request" => Self::Request,
            "cancellation" => Self::Cancellation,
            _ => return None,
        })
    }

    /// The word of it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Cancellation => "cancellation",
        }
    }
}

/// A payment, its reservation locked for the refund.
#[derive(Clone, Debug)]
pub struct Refundable {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub schedule_id: Uuid,
    pub user: String,
}

/// A seat that was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub number: i32,
    pub price: i64,
    /// It was not given back.
    pub live: bool,
}

/// Why tickets cannot be given back, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTicket {
    Unknown(Vec<i64>),
    GivenBack(Vec<i32>),
}

/// Of the tickets of a payment those that are wanted, or all that are left; every one of them live.
pub fn to_give_back(tickets: &[Ticket], wanted: Option<&SeatNumbers>) -> Result<Vec<Ticket>, NoTicket> {
    let Some(wanted) = wanted else {
        let live: Vec<_> = tickets.iter().copied().filter(|ticket| ticket.live).collect();
        let all = || tickets.iter().map(|ticket| ticket.number).collect();
        return if live.is_empty() { Err(NoTicket::GivenBack(all())) } else { Ok(live) };
    };
    let known: Vec<i32> = tickets.iter().map(|ticket| ticket.number).collect();
    let unknown = wanted.beside(&known);
    if !unknown.is_empty() {
        return Err(NoTicket::Unknown(unknown));
    }
    let wanted = wanted.possible();
    let (live, dead): (Vec<Ticket>, Vec<Ticket>) =
        tickets.iter().filter(|ticket| wanted.contains(&ticket.number)).partition(|ticket| ticket.live);
    let dead: Vec<i32> = dead.iter().map(|ticket| ticket.number).collect();
    if dead.is_empty() { Ok(live) } else { Err(NoTicket::GivenBack(dead)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_given_back_once_and_only_ones_own() {
        let ticket = |number, live| Ticket { number, price: 5, live };
        let tickets = [ticket(1, true), ticket(2, false), ticket(3, true)];
        let numbers = |numbers: &[i64]| Some(SeatNumbers::parse(numbers.to_vec()).unwrap());
        let wish = |wanted: Option<SeatNumbers>| to_give_back(&tickets, wanted.as_ref());
        assert_eq!(wish(None), Ok(vec![tickets[0], tickets[2]]));
        assert_eq!(wish(numbers(&[3])), Ok(vec![tickets[2]]));
        assert_eq!(wish(numbers(&[2, 3])), Err(NoTicket::GivenBack(vec![2])));
        assert_eq!(wish(numbers(&[2, 9, i64::MAX])), Err(NoTicket::Unknown(vec![9, i64::MAX])));
        let dead = [ticket(1, false), ticket(2, false)];
        assert_eq!(to_give_back(&dead, None), Err(NoTicket::GivenBack(vec![1, 2])));
    }
}

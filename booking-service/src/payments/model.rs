//! Payments and refunds, as their owner sees them.
#![expect(clippy::struct_field_names, reason = "the names are the contract's")]

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock::{as_rfc3339, as_rfc3339_or_null};
use utoipa::ToSchema;
use uuid::Uuid;

use super::refunds::RefundLine;
use crate::holds::{ReservedSeat, Status};

/// The outcome of a payment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Paid {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub amount: i64,
    pub balance_after: i64,
    #[serde(serialize_with = "as_rfc3339")]
    pub paid_at: DateTime<Utc>,
    pub seats: Vec<ReservedSeat>,
}

/// A payment read again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Receipt {
    /// As it was paid; what was given back since is in `refunds`.
    #[serde(flatten)]
    pub paid: Paid,
    pub schedule_id: Uuid,
    /// In the order in which they were made.
    pub refunds: Vec<RefundLine>,
    /// The sum of `refunds`.
    pub refunded_amount: i64,
    /// The last refund, once every seat was given back; null before.
    pub refund_id: Option<Uuid>,
    /// When that was.
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub refunded_at: Option<DateTime<Utc>>,
}

impl Receipt {
    /// The receipt of a payment that these refunds have followed.
    pub fn new(paid: Paid, schedule_id: Uuid, refunds: Vec<RefundLine>) -> Self {
        let given_back: usize = refunds.iter().map(|refund| refund.seat_numbers.len()).sum();
        let last = refunds.last().filter(|_| given_back == paid.seats.len());
        Self {
            refund_id: last.map(|refund| refund.refund_id),
            refunded_at: last.map(|refund| refund.refunded_at),
            refunded_amount: refunds.iter().map(|refund| refund.amount).sum(),
            paid,
            schedule_id,
            refunds,
        }
    }
}

/// What is to be paid.
#[derive(Clone, Debug)]
pub struct Payable {
    pub reservation_id: Uuid,
    /// The queue in front of its date.
    pub queue: String,
    pub status: Status,
    pub amount: i64,
    /// Whether all its seats are held by it still, before their deadline.
    pub has_its_seats: bool,
    /// Whether its date was cancelled.
    pub is_cancelled: bool,
}

/// What somebody who wants to pay meets.
#[derive(Clone, Debug)]
pub struct Met {
    /// `None`: the user has no such reservation.
    pub payable: Option<Payable>,
    /// Whether the entry token that is shown was spent before.
    pub shown_is_spent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_tells_of_the_last_refund_once_all_is_given_back() {
        let seat = |number| ReservedSeat { number, price: 5 };
        let paid = Paid {
            payment_id: Uuid::nil(),
            reservation_id: Uuid::nil(),
            amount: 10,
            balance_after: 0,
            paid_at: DateTime::UNIX_EPOCH,
            seats: vec![seat(1), seat(2)],
        };
        let line = |number, id| RefundLine {
            refund_id: Uuid::from_u128(id),
            amount: 5,
            seat_numbers: vec![number],
            reason: crate::payments::refunds::Reason::Request,
            refunded_at: DateTime::UNIX_EPOCH,
        };
        let part = Receipt::new(paid.clone(), Uuid::nil(), vec![line(2, 1)]);
        assert_eq!((part.refunded_amount, part.refund_id, part.refunded_at), (5, None, None));
        let whole = Receipt::new(paid, Uuid::nil(), vec![line(2, 1), line(1, 2)]);
        assert_eq!((whole.refunded_amount, whole.refund_id), (10, Some(Uuid::from_u128(2))));
    }
}

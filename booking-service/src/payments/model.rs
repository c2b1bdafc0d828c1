//! Payments and refunds, as their owner sees them.
#![expect(clippy::struct_field_names, reason = "the names are the contract's")]

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock::{as_rfc3339, as_rfc3339_or_null};
use utoipa::ToSchema;
use uuid::Uuid;

use super::refunds::RefundLine;
use crate::admitted::Entry;
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

/// A reservation under the lock of its payment.
#[derive(Clone, Debug)]
pub struct Payable {
    pub reservation_id: Uuid,
    pub schedule_id: Uuid,
    /// The queue in front of its date.
    pub queue: String,
    pub status: Status,
    pub amount: i64,
    pub seats: Vec<ReservedSeat>,
    /// Whether all of these are held by it still, before their deadline.
    pub has_its_seats: bool,
    /// The entry token that made the hold.
    pub entry: Option<Entry>,
    /// Whether its date was cancelled.
    pub is_cancelled: bool,
}

impl Payable {
    /// The entry token that is shown, if it is of the reservation's queue: while the gate is open
    /// one of another queue is a credential and nothing more, and stays good for what it is for.
    pub fn own<'a>(&self, shown: Option<&'a Entry>) -> Option<&'a Entry> {
        shown.filter(|entry| entry.queue == self.queue)
    }

    /// The entry tokens that end with this payment: the one that made the hold and the one that is
    /// shown, which may be the same; each only if it is of the reservation's queue.
    pub fn ending(&self, shown: Option<&Entry>) -> Vec<Entry> {
        let made = self.own(self.entry.as_ref());
        let mut entries: Vec<Entry> = made.into_iter().chain(self.own(shown)).cloned().collect();
        entries.sort_by(|a, b| a.jti.cmp(&b.jti));
        entries.dedup_by(|a, b| a.jti == b.jti);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(jti: &str, queue: &str) -> Entry {
        Entry { jti: jti.into(), queue: queue.into(), exp: 1 }
    }

    fn payable(entry: Option<Entry>) -> Payable {
        Payable {
            reservation_id: Uuid::nil(),
            schedule_id: Uuid::nil(),
            queue: "main".into(),
            status: Status::Held,
            amount: 1,
            has_its_seats: true,
            seats: vec![],
            entry,
            is_cancelled: false,
        }
    }

    #[test]
    fn the_holds_token_and_the_shown_one_end_once_each() {
        let (a, b) = (entry("a", "main"), entry("b", "main"));
        assert_eq!(payable(None).ending(None), []);
        assert_eq!(payable(Some(a.clone())).ending(Some(&a)), std::slice::from_ref(&a));
        assert_eq!(payable(Some(b.clone())).ending(Some(&a)), [a, b]);
    }

    #[test]
    fn the_token_of_another_queue_outlives_the_payment() {
        let (ours, other) = (entry("a", "main"), entry("b", "other"));
        assert_eq!(payable(None).own(Some(&other)), None);
        assert_eq!(payable(None).ending(Some(&other)), []);
        assert_eq!(payable(Some(ours.clone())).ending(Some(&other)), std::slice::from_ref(&ours));
        assert_eq!(payable(Some(other)).ending(Some(&ours)), [ours]);
    }

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

//! Payments and refunds, as their owner sees them.
#![expect(clippy::struct_field_names, reason = "the names are the contract's")]

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock::{as_rfc3339, as_rfc3339_or_null};
use utoipa::ToSchema;
use uuid::Uuid;

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
    #[serde(flatten)]
    pub paid: Paid,
    pub schedule_id: Uuid,
    pub refund_id: Option<Uuid>,
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub refunded_at: Option<DateTime<Utc>>,
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
    /// The entry token that made the hold.
    pub entry: Option<Entry>,
    /// Whether the entry token that is shown was spent before.
    pub shown_is_spent: bool,
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

/// A payment under the lock of its refund.
#[derive(Clone, Debug)]
pub struct Refundable {
    pub reservation_id: Uuid,
    pub schedule_id: Uuid,
    pub amount: i64,
    pub seat_count: i32,
    pub refunded: bool,
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
            seats: vec![],
            entry,
            shown_is_spent: false,
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
}

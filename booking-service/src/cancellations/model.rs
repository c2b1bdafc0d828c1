//! How far a cancellation is.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock::as_rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

/// How far the undoing of a cancelled date is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Progress {
    pub schedule_id: Uuid,
    #[serde(serialize_with = "as_rfc3339")]
    pub cancelled_at: DateTime<Utc>,
    /// Holds that the cancellation has ended.
    pub holds_released: i32,
    /// Payments of which the cancellation has refunded what was left.
    pub payments_refunded: i32,
    /// Payments with seats that were not given back yet.
    pub payments_left: i64,
    /// Of those, the ones whose refund could not be made; they are tried again.
    pub payments_put_aside: i64,
    /// Nothing is held and nothing is paid any more.
    pub done: bool,
}

/// A concert whose dates to come are cancelled; all its cancelled dates, the earliest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CancelledConcert {
    pub concert_id: Uuid,
    /// The earliest first.
    pub schedules: Vec<Progress>,
}

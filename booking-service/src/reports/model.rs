//! The bodies of the reports.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock;
use uuid::Uuid;

/// How many seats some queues have, at one moment.
#[derive(Serialize)]
pub struct StockReport<'a> {
    #[serde(serialize_with = "clock::as_rfc3339")]
    pub as_of: DateTime<Utc>,
    pub items: &'a [Left],
}

/// What a queue has left, over all its dates that are still sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub queue: String,
    /// Seats that one could hold now.
    pub remaining: i64,
    /// Seats in live holds.
    pub held: i64,
    /// Nothing is free, and no hold may give anything back.
    pub sold_out: bool,
}

impl Left {
    /// Of a queue that has seats.
    pub fn new(queue: String, remaining: i64, held: i64) -> Self {
        Self { queue, remaining, held, sold_out: remaining == 0 && held == 0 }
    }
}

/// How this process bears up.
#[derive(Serialize)]
pub struct PressureReport {
    /// This process, as long as it lives.
    pub reporter: Uuid,
    #[serde(flatten)]
    pub reading: Reading,
}

/// What the last seconds were like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// 99 of 100 answers took at most this; unknown when there were too few.
    pub p99_ms: Option<u64>,
    /// Answers of 5xx, as a share of all; unknown when there were too few.
    pub error_rate: Option<f64>,
    /// The longest wait for a connection to the database.
    pub pool_wait_ms: u64,
    /// Requests that were counted.
    pub requests: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sold_out_is_when_nothing_is_free_and_nothing_can_come_back() {
        assert!(Left::new("main".into(), 0, 0).sold_out);
        assert!(!Left::new("main".into(), 0, 1).sold_out);
        assert!(!Left::new("main".into(), 1, 0).sold_out);
    }

    #[test]
    fn what_is_unknown_is_null() {
        let reading = Reading { p99_ms: None, error_rate: None, pool_wait_ms: 3, requests: 19 };
        let report = serde_json::to_value(PressureReport { reporter: Uuid::nil(), reading }).unwrap();
        let expected = serde_json::json!({
            "reporter": Uuid::nil(), "p99_ms": null, "error_rate": null, "pool_wait_ms": 3, "requests": 19,
        });
        assert_eq!(report, expected);
    }
}

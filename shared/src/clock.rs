//! Time as a parameter.
//!
//! A [`Clock`] is the system's wall clock plus an offset that is zero in production. Tests move
//! the offset instead of sleeping. The same offset is handed to the stores (a script argument in
//! Redis, a statement argument in Postgres), because deadlines are judged there, on the store's
//! own time: a replica's clock never decides who is let in or whose hold has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A cheap handle; clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock, unshifted.
    pub fn system() -> Self {
        Self::default()
    }

    /// The current time, UTC.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.offset_ms())
    }

    /// Whole seconds since 1970, as JWTs count them.
    pub fn unix_seconds(&self) -> i64 {
        self.now().timestamp()
    }

    /// What to add to a store's own time, in milliseconds. Zero in production.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Moves this clock and all its clones forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset_ms.fetch_add(by, Ordering::Relaxed);
    }
}

/// RFC 3339 in UTC with milliseconds, the form of every time that leaves the services.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Serde form of [`rfc3339`]; use as `#[serde(serialize_with = "clock::as_rfc3339")]`.
pub fn as_rfc3339<S: serde::Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*at))
}

/// As [`as_rfc3339`], `null` when there is no time.
pub fn as_rfc3339_or_null<S: serde::Serializer>(
    at: &Option<DateTime<Utc>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => as_rfc3339(at, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_move_together() {
        let clock = Clock::system();
        let twin = clock.clone();
        let before = twin.now();
        clock.advance(Duration::from_secs(300));
        assert!(twin.now() - before >= TimeDelta::seconds(300));
        assert_eq!(twin.offset_ms(), 300_000);
    }

    #[test]
    fn times_carry_milliseconds_and_end_in_z() {
        let at = DateTime::from_timestamp_millis(1_790_000_000_007).unwrap();
        assert_eq!(rfc3339(at), "2026-09-21T14:13:20.007Z");
    }
}

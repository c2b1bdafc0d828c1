//! Time as a parameter.
//!
//! A [`Clock`] is the system's wall clock plus an offset that is zero in production. Tests move
//! the offset instead of sleeping. The same offset is handed to the stores (a script argument in
//! Redis, a statement argument in Postgres), because deadlines are judged there, on the store's
//! own time: a replica's clock never decides who is let in or whose hold has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};

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

const LENGTH: usize = "2026-09-21T14:13:20.007Z".len();

/// RFC 3339 in UTC with milliseconds, the form of every time that leaves the services.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    let mut text = Vec::with_capacity(LENGTH);
    write_rfc3339(&mut text, at);
    String::from_utf8(text).unwrap_or_default()
}

/// [`rfc3339`] at the end of `text`. Not chrono's own: it is general, and takes several times as long.
pub fn write_rfc3339(text: &mut Vec<u8>, at: DateTime<Utc>) {
    let Some(year) = u32::try_from(at.year()).ok().filter(|year| *year <= 9999) else {
        return text.extend_from_slice(at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).as_bytes());
    };
    // chrono tells a leap second by more than a second's worth of them.
    let ms = at.timestamp_subsec_millis().min(999);
    let mut put = |mut number: u32, digits: usize, behind: u8| {
        let begin = text.len();
        text.resize(begin + digits, b'0');
        for digit in text[begin..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        text.push(behind);
    };
    put(year, 4, b'-');
    put(at.month(), 2, b'-');
    put(at.day(), 2, b'T');
    put(at.hour(), 2, b':');
    put(at.minute(), 2, b':');
    put(at.second(), 2, b'.');
    put(ms, 3, b'Z');
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
        let far = [-1, 0, 951_782_399_999, 951_868_799_001, 4_102_444_800_010, 253_402_300_799_999];
        for ms in far.into_iter().chain([253_402_300_800_000, -62_167_219_200_001, -62_167_219_200_000]) {
            let at = DateTime::from_timestamp_millis(ms).unwrap();
            assert_eq!(rfc3339(at), at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        }
    }
}

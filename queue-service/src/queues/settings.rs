//! Settings of a queue: what may be set, and what cannot be. No I/O, no clock.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::clock;
use shared::extract::{object_or_null, objects_or_null};

use super::model::is_slug;

/// How many people may be let in within any span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub users: u32,
    pub every_seconds: u32,
}

/// The order of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    Fifo,
    /// Those who join before the opening get their places at random when it opens.
    Lottery,
}

impl Order {
    pub fn word(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Lottery => "lottery",
        }
    }
}

/// What a second join of the same user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rejoin {
    /// Finds the place the user has.
    Keep,
    /// Gives a new place at the back; the old one ends.
    Requeue,
    /// Is refused.
    Reject,
}

impl Rejoin {
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Requeue => "requeue",
            Self::Reject => "reject",
        }
    }
}

/// A line of its own for those whose user token claims it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// What the claim says.
    pub lane: String,
    /// Of the admissions, while anybody is in this lane; everybody else has the rest.
    pub share_percent: u32,
}

/// Bounds beyond which the service behind the line has it too hard. `null` = that measure is not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    pub p99_ms: Option<f64>,
    /// Answers 5xx among all, 0 to 1.
    pub error_rate: Option<f64>,
    pub pool_wait_ms: Option<f64>,
    /// What is left of `admission.users` at the least.
    pub min_users: u32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { p99_ms: Some(500.0), error_rate: Some(0.05), pool_wait_ms: Some(250.0), min_users: 1 }
    }
}

/// The settings of a queue. A missing member has its default; `null` is a value of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    pub opens_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    pub closes_at: Option<DateTime<Utc>>,
    pub order: Order,
    #[serde(deserialize_with = "object_or_null")]
    pub admission: Option<Rate>,
    pub max_active: Option<u32>,
    pub entry_ttl_seconds: u32,
    /// Shown as `entry_ttl_seconds` when it was not given: no renewal.
    pub entry_max_lifetime_seconds: Option<u32>,
    pub claim_window_seconds: u32,
    /// 0 = nobody lapses.
    pub waiting_ttl_seconds: u32,
    pub rejoin: Rejoin,
    pub instant_admission: bool,
    pub redirect_url: Option<String>,
    /// Lanes beside everybody's; at most seven.
    #[serde(deserialize_with = "objects_or_null")]
    pub lanes: Option<Vec<Lane>>,
    /// Slows the rate while the service behind the line has it hard; `null` = never.
    #[serde(deserialize_with = "object_or_null")]
    pub adaptive: Option<Adaptive>,
    /// Closes the queue when the booking service says that all is sold.
    pub close_when_sold_out: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            opens_at: None,
            closes_at: None,
            order: Order::Fifo,
            admission: Some(Rate { users: 100, every_seconds: 1 }),
            max_active: Some(1000),
            entry_ttl_seconds: 600,
            entry_max_lifetime_seconds: None,
            claim_window_seconds: 60,
            waiting_ttl_seconds: 120,
            rejoin: Rejoin::Keep,
            instant_admission: true,
            redirect_url: None,
            lanes: None,
            adaptive: None,
            close_when_sold_out: false,
        }
    }
}

/// Thirty-one days: longer spans are mistakes of the unit.
const LONGEST_SECONDS: u32 = 31 * 24 * 3600;
const MOST_USERS: u32 = 1_000_000_000;
const LONGEST_URL: usize = 2048;
const MOST_LANES: usize = 7;

/// A setting that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub struct BadSetting {
    pub field: &'static str,
    pub message: String,
}

impl Settings {
    /// Checks each value and the relations between them, and resolves what depends on another.
    pub fn checked(mut self) -> Result<Self, BadSetting> {
        let bad = |field, message: String| Err(BadSetting { field, message });
        let spans = [
            ("entry_ttl_seconds", self.entry_ttl_seconds, 1),
            ("claim_window_seconds", self.claim_window_seconds, 1),
            ("waiting_ttl_seconds", self.waiting_ttl_seconds, 0),
            ("admission.every_seconds", self.admission.map_or(1, |rate| rate.every_seconds), 1),
        ];
        for (field, value, least) in spans {
            if !(least..=LONGEST_SECONDS).contains(&value) {
                return bad(field, format!("must be from {least} to {LONGEST_SECONDS}"));
            }
        }
        if self.admission.is_some_and(|rate| !(1..=MOST_USERS).contains(&rate.users)) {
            return bad("admission.users", format!("must be from 1 to {MOST_USERS}"));
        }
        if self.max_active.is_some_and(|cap| cap > MOST_USERS) {
            return bad("max_active", format!("must be at most {MOST_USERS}"));
        }
        let lifetime = self.entry_max_lifetime_seconds.unwrap_or(self.entry_ttl_seconds);
        if !(self.entry_ttl_seconds..=LONGEST_SECONDS).contains(&lifetime) {
            return bad("entry_max_lifetime_seconds", "must be entry_ttl_seconds or more".into());
        }
        self.entry_max_lifetime_seconds = Some(lifetime);
        if let (Some(opens_at), Some(closes_at)) = (self.opens_at, self.closes_at)
            && closes_at <= opens_at
        {
            return bad("closes_at", "must be after opens_at".into());
        }
        if self.redirect_url.as_deref().is_some_and(|url| !is_location(url)) {
            return bad("redirect_url", "must be an http(s) URL or a path".into());
        }
        check_lanes(self.lanes.as_deref().unwrap_or_default())?;
        self.check_adaptive()?;
        Ok(self)
    }

    fn check_adaptive(&self) -> Result<(), BadSetting> {
        let bad = |field, message: String| Err(BadSetting { field, message });
        let Some(adaptive) = self.adaptive else { return Ok(()) };
        let Some(rate) = self.admission else {
            return bad("adaptive", "needs `admission`: it is the rate that is slowed".into());
        };
        if !(1..=rate.users).contains(&adaptive.min_users) {
            return bad("adaptive.min_users", "must be from 1 to admission.users".into());
        }
        let bounds = [
            ("adaptive.p99_ms", adaptive.p99_ms, 3_600_000.0),
            ("adaptive.error_rate", adaptive.error_rate, 1.0),
            ("adaptive.pool_wait_ms", adaptive.pool_wait_ms, 3_600_000.0),
        ];
        for (field, bound, most) in bounds {
            if bound.is_some_and(|bound| !(0.0..=most).contains(&bound)) {
                return bad(field, format!("must be from 0 to {most}"));
            }
        }
        Ok(())
    }
}

fn check_lanes(lanes: &[Lane]) -> Result<(), BadSetting> {
    let bad = |message: &str| Err(BadSetting { field: "lanes", message: message.to_owned() });
    if lanes.len() > MOST_LANES {
        return bad("at most seven");
    }
    if !lanes.iter().all(|lane| is_slug(&lane.lane) && lane.share_percent >= 1) {
        return bad("a lane has 1 to 64 of a-z, 0-9 and -, and a share of 1 % or more");
    }
    if lanes.iter().map(|lane| &lane.lane).collect::<HashSet<_>>().len() < lanes.len() {
        return bad("a lane is named twice");
    }
    if lanes.iter().map(|lane| u64::from(lane.share_percent)).sum::<u64>() > 99 {
        return bad("the shares must leave 1 % or more to everybody else");
    }
    Ok(())
}

fn is_location(url: &str) -> bool {
    let scheme = url.starts_with("http://") || url.starts_with("https://");
    let path = url.starts_with('/') && !url.starts_with("//");
    url.len() <= LONGEST_URL && (scheme || path) && url.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<Settings, String> {
        let settings: Settings = serde_json::from_str(json).map_err(|error| error.to_string())?;
        settings.checked().map_err(|bad| bad.field.to_owned())
    }

    #[test]
    fn missing_is_the_default_and_null_is_a_value() {
        let settings = parsed("{}").unwrap();
        assert_eq!(settings.admission, Some(Rate { users: 100, every_seconds: 1 }));
        assert_eq!(settings.entry_max_lifetime_seconds, Some(600));
        let settings = parsed(r#"{"admission":null,"max_active":null}"#).unwrap();
        assert_eq!((settings.admission, settings.max_active), (None, None));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (json, field) in [
            (r#"{"admission":{"users":0,"every_seconds":1}}"#, "admission.users"),
            (r#"{"admission":{"users":1,"every_seconds":0}}"#, "admission.every_seconds"),
            (r#"{"entry_ttl_seconds":0}"#, "entry_ttl_seconds"),
            (r#"{"entry_ttl_seconds":60,"entry_max_lifetime_seconds":59}"#, "entry_max_lifetime_seconds"),
            (r#"{"claim_window_seconds":0}"#, "claim_window_seconds"),
            (r#"{"redirect_url":"javascript:alert(1)"}"#, "redirect_url"),
            (r#"{"redirect_url":"//evil.example"}"#, "redirect_url"),
            (r#"{"lanes":[{"lane":"vip","share_percent":100}]}"#, "lanes"),
            (r#"{"lanes":[{"lane":"vip","share_percent":0}]}"#, "lanes"),
            (r#"{"lanes":[{"lane":"V I P","share_percent":9}]}"#, "lanes"),
            (r#"{"lanes":[{"lane":"a","share_percent":9},{"lane":"a","share_percent":9}]}"#, "lanes"),
            (r#"{"adaptive":{},"admission":null}"#, "adaptive"),
            (r#"{"adaptive":{"min_users":0}}"#, "adaptive.min_users"),
            (r#"{"adaptive":{"error_rate":1.5}}"#, "adaptive.error_rate"),
            (r#"{"opens_at":"2026-01-02T00:00:00Z","closes_at":"2026-01-01T00:00:00Z"}"#, "closes_at"),
        ] {
            assert_eq!(parsed(json), Err(field.to_owned()), "{json}");
        }
        for json in [
            r#"{"color":1}"#,
            r#"{"max_active":-1}"#,
            r#"{"max_active":1.5}"#,
            r#"{"rejoin":"x"}"#,
            r#"{"admission":[1,1]}"#,
        ] {
            assert!(parsed(json).is_err(), "{json}");
        }
    }
}

//! Settings, state and numbers of a queue. No I/O, no clock.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::clock;
use shared::extract::object_or_null;

/// A queue's id: a slug of 1 to 64 of `a-z`, `0-9`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(String);

impl QueueId {
    /// `None` for anything that no queue can be called.
    pub fn parse(text: &str) -> Option<Self> {
        let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(slug)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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

/// The secret of a draw and the promise that is published before it, both in hex.
pub struct Draw {
    pub seed: String,
    /// SHA-256 of the seed's text.
    pub commitment: String,
}

impl Draw {
    /// From 32 random bytes.
    pub fn new(seed: [u8; 32]) -> Self {
        let seed = hex(&seed);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, seed.as_bytes());
        Self { commitment: hex(digest.as_ref()), seed }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
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

/// The settings of a queue. A missing member has its default; `null` is a value of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
        }
    }
}

/// Thirty-one days: longer spans are mistakes of the unit.
const LONGEST_SECONDS: u32 = 31 * 24 * 3600;
const MOST_USERS: u32 = 1_000_000_000;
const LONGEST_URL: usize = 2048;

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
        Ok(self)
    }
}

fn is_location(url: &str) -> bool {
    let scheme = url.starts_with("http://") || url.starts_with("https://");
    let path = url.starts_with('/') && !url.starts_with("//");
    url.len() <= LONGEST_URL && (scheme || path) && url.bytes().all(|b| b.is_ascii_graphic())
}

/// What an operator stopped a queue to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nobody is let in; the line is kept.
    Paused,
    /// Nobody joins; the line is served out.
    Draining,
    /// The line is dissolved; who is active keeps the slot.
    Closed,
}

impl Stop {
    pub fn word(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Closed => "closed",
        }
    }
}

/// State of a queue as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueState {
    Scheduled,
    Open,
    Paused,
    Draining,
    Closed,
}

impl QueueState {
    /// From the word of the scripts.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "scheduled" => Some(Self::Scheduled),
            "open" => Some(Self::Open),
            "paused" => Some(Self::Paused),
            "draining" => Some(Self::Draining),
            "closed" => Some(Self::Closed),
            _ => None,
        }
    }

    /// Whether people are being let in.
    pub fn admits(self) -> bool {
        matches!(self, Self::Open | Self::Draining)
    }
}

/// Admissions per second, measured over the last minute and the last five.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub minute: f64,
    pub five_minutes: f64,
}

impl Pace {
    /// From admissions per 1000 seconds.
    pub fn from_milli(minute: i64, five_minutes: i64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^52")]
        let per_second = |milli: i64| milli as f64 / 1000.0;
        Self { minute: per_second(minute), five_minutes: per_second(five_minutes) }
    }
}

/// The numbers of a queue, of one moment.
#[derive(Clone, Debug)]
pub struct Report {
    pub state: QueueState,
    pub opens_at: Option<DateTime<Utc>>,
    pub waiting: u64,
    pub scheduled: u64,
    pub active: u64,
    pub admitted_total: u64,
    pub expired_total: u64,
    pub left_total: u64,
    pub completed_total: u64,
    pub replaced_total: u64,
    pub closed_total: u64,
    pub pace: Pace,
    /// `None` without a cap; negative when the cap was lowered below those active.
    pub cap_room: Option<i64>,
    pub settings: Settings,
    /// Of a lottery: the commitment, and the seed once it has opened.
    pub draw: Option<(String, Option<String>)>,
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

    #[test]
    fn queue_ids_are_slugs() {
        assert!(QueueId::parse("main-2").is_some());
        for bad in ["", "Main", "a b", "a}b", "ü", &"a".repeat(65)] {
            assert!(QueueId::parse(bad).is_none(), "{bad}");
        }
    }
}

//! Ids, states and numbers of a queue. No I/O, no clock.

use std::borrow::Borrow;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::settings::Settings;

/// A queue's id: a slug of 1 to 64 of `a-z`, `0-9`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(String);

impl QueueId {
    /// `None` for anything that no queue can be called.
    pub fn parse(text: &str) -> Option<Self> {
        is_slug(text).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for QueueId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// 1 to 64 of `a-z`, `0-9`, `-`.
pub fn is_slug(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
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
        Self { commitment: commitment_of(&seed), seed }
    }
}

/// SHA-256 of the seed's text, in hex.
pub fn commitment_of(seed: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, seed.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
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

    /// As it is told.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Closed => "closed",
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

/// The numbers of one lane.
#[derive(Clone, Debug)]
pub struct LaneReport {
    /// Empty: everybody's.
    pub name: String,
    pub waiting: u64,
    /// The first number of the draw and the last that was drawn; the last is smaller when nobody was.
    pub first_drawn: u64,
    pub last_drawn: u64,
    /// Let in; counted only where there are several lanes.
    pub admitted: u64,
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
    /// Whether somebody could be let in now, by the cap and by the rate.
    pub has_room: bool,
    pub settings: Settings,
    /// What is left to buy, as the booking service said last.
    pub remaining: Option<u64>,
    pub sold_out: Option<bool>,
    /// Until when nobody is let in, after the store has forgotten something.
    pub held_until: Option<DateTime<Utc>>,
    /// The share of the rate that is let in, 0 to 1, and why it is not 1.
    pub outflow: f64,
    pub outflow_reason: Option<String>,
    /// Everybody's first.
    pub lanes: Vec<LaneReport>,
    /// Of a lottery: the commitment, and the seed once it has opened.
    pub draw: Option<(String, Option<String>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_ids_are_slugs() {
        assert!(QueueId::parse("main-2").is_some());
        for bad in ["", "Main", "a b", "a}b", "ü", &"a".repeat(65)] {
            assert!(QueueId::parse(bad).is_none(), "{bad}");
        }
    }
}

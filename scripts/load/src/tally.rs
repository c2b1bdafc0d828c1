//! What came of many requests: outcomes, latency, and both second by second.
//!
//! Each task keeps a tally of its own and nobody waits for anybody; they are merged at the end. Latency is of
//! good answers and of requests that nobody answered (with the time they waited): a refusal is fast
//! and proves nothing, a time-out is slow and must show.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use crate::http::Failure;
use crate::timeline::Timeline;

/// Two minutes, in microseconds.
const LONGEST: u64 = 120_000_000;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered as wanted.
    Good(u16),
    /// Status ≥ 400, and the problem's code.
    Refused(u16, Box<str>),
    /// The answer says something wrong.
    Wrong(&'static str),
    /// There was no answer.
    Failed(Failure),
    /// Its time had come, but the run ended before a connection was free.
    Unsent,
}

impl Outcome {
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// Nobody wants to see it: no answer, a wrong one, or a failure of the service. A closed queue is none.
    pub fn is_error(&self) -> bool {
        match self {
            Self::Good(_) => false,
            Self::Refused(status, code) => *status >= 500 && !code.starts_with("queue_"),
            Self::Wrong(_) | Self::Failed(_) | Self::Unsent => true,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good(status) => write!(f, "{status}"),
            Self::Refused(status, code) => write!(f, "{status} {code}"),
            Self::Wrong(what) => write!(f, "wrong: {what}"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
            Self::Unsent => write!(f, "never sent"),
        }
    }
}

/// Counts and latency of one task, or of many.
#[derive(Clone, Debug)]
pub struct Tally {
    latency: Histogram<u64>,
    outcomes: Vec<(Outcome, u64)>,
    timeline: Timeline,
    /// Of the last request, where it failed.
    last_failure: Option<Failure>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Tally {
    /// Empty; its seconds are counted from `begun`.
    #[expect(clippy::expect_used, reason = "constants, which every test uses")]
    pub fn new(begun: Instant) -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds that a histogram can have");
        Self { latency, outcomes: Vec::new(), timeline: Timeline::new(begun), last_failure: None }
    }

    /// One more, that ended at `now`.
    pub fn add(&mut self, outcome: Outcome, now: Instant, latency: Duration) {
        self.last_failure = if let Outcome::Failed(failure) = outcome { Some(failure) } else { None };
        let good = outcome.is_good();
        if good || self.last_failure.is_some() {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST);
            self.latency.saturating_record(micros.max(1));
            self.timeline.record(now, micros);
        }
        self.timeline.count(now, good);
        self.count(outcome, 1);
    }

    /// So many more, of which nothing else is known.
    pub fn count(&mut self, outcome: Outcome, times: u64) {
        if times == 0 {
            return;
        }
        match self.outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += times,
            None => self.outcomes.push((outcome, times)),
        }
    }

    /// Whether the last one ended so.
    pub fn ended_with(&self, failure: Failure) -> bool {
        self.last_failure == Some(failure)
    }

    /// Takes over what another has counted from the same moment on.
    pub fn merge(&mut self, other: &Self) {
        let added = self.latency.add(&other.latency);
        debug_assert!(added.is_ok(), "all have the same bounds");
        self.timeline.merge(&other.timeline);
        for (outcome, count) in &other.outcomes {
            self.count(outcome.clone(), *count);
        }
    }

    /// Of 0 to 100.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_percentile(percent))
    }

    pub fn percentiles(&self) -> Percentiles {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        Percentiles { p50: ms(50.0), p90: ms(90.0), p99: ms(99.0), p999: ms(99.9), max: ms(100.0) }
    }

    /// The latencies themselves, in microseconds.
    pub fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    /// Second by second.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Each outcome and how often it came, the most frequent first.
    pub fn outcomes(&self) -> Vec<(Outcome, u64)> {
        let mut outcomes = self.outcomes.clone();
        outcomes
            .sort_by(|one, two| two.1.cmp(&one.1).then_with(|| one.0.to_string().cmp(&two.0.to_string())));
        outcomes
    }

    pub fn good(&self) -> u64 {
        self.sum(Outcome::is_good)
    }

    /// All that were not good, never sent ones included.
    pub fn bad(&self) -> u64 {
        self.sum(|outcome| !outcome.is_good())
    }

    pub fn errors(&self) -> u64 {
        self.sum(Outcome::is_error)
    }

    fn sum(&self, of: impl Fn(&Outcome) -> bool) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| of(outcome)).map(|(_, count)| count).sum()
    }
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Run {
    pub tally: Tally,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Run {
    /// Good answers a second.
    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    pub fn rate(&self) -> f64 {
        self.tally.good() as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn merged_tallies_are_as_one_that_saw_all() {
        let begun = Instant::now();
        let (mut one, mut two, mut all) = (Tally::new(begun), Tally::new(begun), Tally::new(begun));
        for n in 1..=1000_u64 {
            let outcome = || match n % 100 {
                0 => Outcome::Refused(409, "seat_taken".into()),
                1 => Outcome::Failed(Failure::TimedOut),
                _ => Outcome::Good(200),
            };
            let (now, latency) = (begun + Duration::from_millis(n * 2), Duration::from_millis(n));
            if n % 2 == 0 { &mut one } else { &mut two }.add(outcome(), now, latency);
            all.add(outcome(), now, latency);
        }
        one.merge(&two);
        assert_eq!(one.latency(), all.latency());
        assert_eq!(one.outcomes(), all.outcomes());
        assert_eq!(one.timeline(), all.timeline());
        assert_eq!((one.good(), one.bad()), (980, 20));
    }

    #[tokio::test]
    async fn latency_is_of_good_answers_and_of_silence_but_not_of_refusals() {
        let begun = Instant::now();
        let mut tally = Tally::new(begun);
        for ms in 1..=100 {
            tally.add(Outcome::Good(200), begun, Duration::from_millis(ms));
        }
        for _ in 0..1000 {
            tally.add(Outcome::Refused(503, "overloaded".into()), begun, Duration::from_micros(5));
        }
        let found = tally.percentiles();
        assert!((found.p50 - 50.0).abs() < 0.1 && (found.p99 - 99.0).abs() < 0.1, "{found:?}");
        tally.add(Outcome::Failed(Failure::TimedOut), begun, Duration::from_secs(15));
        assert!(tally.percentiles().max > 14_900.0);
        assert_eq!(tally.outcomes()[0].0.to_string(), "503 overloaded");
    }
}

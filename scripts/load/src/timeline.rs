//! What happened in each second: counts, and latency in steps of a fifth, which is enough for a curve.

use tokio::time::Instant;

/// Steps between a latency and its double.
const STEPS: u32 = 4;
/// Shortest and longest that are told apart: 16 µs and 2^27 µs, which is two minutes.
const OCTAVES: (u32, u32) = (4, 27);
const BUCKETS: usize = ((OCTAVES.1 - OCTAVES.0) * STEPS) as usize;
/// An hour: no run is longer.
const SECONDS: u64 = 3600;

/// The seconds of a run, from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    begun: Instant,
    seconds: Vec<Second>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Second {
    pub good: u64,
    pub bad: u64,
    latency: [u32; BUCKETS],
}

impl Timeline {
    pub fn new(begun: Instant) -> Self {
        Self { begun, seconds: Vec::new() }
    }

    pub(crate) fn count(&mut self, now: Instant, good: bool) {
        let second = self.second(now);
        *if good { &mut second.good } else { &mut second.bad } += 1;
    }

    pub(crate) fn record(&mut self, now: Instant, micros: u64) {
        self.second(now).latency[bucket(micros)] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let longest = self.seconds.len().max(other.seconds.len());
        self.seconds.resize(longest, Second::default());
        for (mine, others) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.good += others.good;
            mine.bad += others.bad;
            for (bucket, more) in mine.latency.iter_mut().zip(&others.latency) {
                *bucket += more;
            }
        }
    }

    /// From the first second to the last in which anything ended.
    pub fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    fn second(&mut self, now: Instant) -> &mut Second {
        let at = now.saturating_duration_since(self.begun).as_secs().min(SECONDS);
        let at = usize::try_from(at).unwrap_or_default();
        if self.seconds.len() <= at {
            self.seconds.resize(at + 1, Second::default());
        }
        &mut self.seconds[at]
    }
}

impl Default for Second {
    fn default() -> Self {
        Self { good: 0, bad: 0, latency: [0; BUCKETS] }
    }
}

impl Second {
    /// Of 0 to 100, in milliseconds; `None` where nothing was measured.
    pub fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let total: u64 = self.latency.iter().map(|count| u64::from(*count)).sum();
        let mut left = share(total, percent);
        for (at, count) in self.latency.iter().enumerate() {
            let count = u64::from(*count);
            if count > 0 && left <= count {
                return Some(upper_end_micros(at) / 1e3);
            }
            left = left.saturating_sub(count);
        }
        None
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count"
)]
fn share(total: u64, percent: f64) -> u64 {
    ((total as f64 * percent / 100.0).ceil() as u64).max(1)
}

/// By the octave, and the two bits behind the highest.
fn bucket(micros: u64) -> usize {
    let micros = micros.clamp(1 << OCTAVES.0, (1 << OCTAVES.1) - 1);
    let octave = micros.ilog2();
    let step = (micros >> (octave - 2)) & 3;
    (((octave - OCTAVES.0) * STEPS) as usize) + usize::try_from(step).unwrap_or_default()
}

fn upper_end_micros(bucket: usize) -> f64 {
    let bucket = u32::try_from(bucket).unwrap_or_default();
    let octave = OCTAVES.0 + bucket / STEPS;
    f64::from(1_u32 << octave) * (1.0 + f64::from(bucket % STEPS + 1) / f64::from(STEPS))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_latency_lies_at_most_a_quarter_below_the_end_of_its_bucket() {
        for micros in [16, 17, 100, 1000, 1023, 1024, 123_456, 9_999_999, 100_000_000] {
            let end = upper_end_micros(bucket(micros));
            let exact = f64::from(u32::try_from(micros).unwrap());
            assert!(exact <= end && end <= exact * 1.26, "{micros} {end}");
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    #[tokio::test]
    async fn seconds_are_told_apart_also_those_without_an_answer() {
        let begun = Instant::now();
        let mut timeline = Timeline::new(begun);
        timeline.record(begun, 100_000);
        timeline.count(begun, true);
        timeline.count(begun + Duration::from_millis(2500), false);
        let found: Vec<_> = timeline.seconds().iter().map(|second| (second.good, second.bad)).collect();
        assert_eq!(found, [(1, 0), (0, 0), (0, 1)]);
        assert!(timeline.seconds()[0].percentile_ms(99.0).is_some_and(|ms| (100.0..126.0).contains(&ms)));
        assert_eq!(timeline.seconds()[1].percentile_ms(99.0), None);
    }
}

//! When requests are to start: stretches of time, each with a rate that stays or changes evenly.
//!
//! `10s@1000` is ten seconds at 1,000 a second, `5s@1000..5000` a ramp, `20s@0` a pause; a list is
//! separated by commas. The k-th start is where the integral of the rate reaches k (or, of random
//! arrivals, the sum of k draws of mean 1: a Poisson process of that rate).

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use rand::{Rng as _, SeedableRng as _};

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    pub seconds: f64,
    /// Starts a second at its beginning and at its end.
    pub rate: (f64, f64),
}

/// Stretches, one after the other.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Schedule {
    pub segments: Vec<Segment>,
}

impl Segment {
    fn starts(&self) -> f64 {
        self.seconds * f64::midpoint(self.rate.0, self.rate.1)
    }

    /// When `count` starts are done, in seconds from its beginning: the root of
    /// `rate.0 * t + slope / 2 * t * t = count`, in the form that also holds for a slope of 0.
    fn moment(&self, count: f64) -> f64 {
        let slope = (self.rate.1 - self.rate.0) / self.seconds;
        let root = (self.rate.0 * self.rate.0 + 2.0 * slope * count).max(0.0).sqrt();
        let divisor = self.rate.0 + root;
        if divisor > 0.0 { (2.0 * count / divisor).min(self.seconds) } else { 0.0 }
    }
}

impl Schedule {
    /// One rate for one time.
    pub fn constant(rate: f64, seconds: f64) -> Self {
        Self { segments: vec![Segment { seconds, rate: (rate, rate) }] }
    }

    /// How long all of it takes.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.segments.iter().map(|segment| segment.seconds).sum())
    }

    /// The start times, evenly spaced; the first at 0.
    pub fn even(&self) -> Vec<Duration> {
        let mut next = 0.0;
        self.starts(|| std::mem::replace(&mut next, 1.0))
    }

    /// The start times of a Poisson process; the same seed gives the same.
    pub fn random(&self, seed: u64) -> Vec<Duration> {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        self.starts(|| -(1.0 - random.random::<f64>()).ln())
    }

    /// `gap` in units of expected starts.
    fn starts(&self, mut gap: impl FnMut() -> f64) -> Vec<Duration> {
        let (mut found, mut begun, mut target) = (Vec::new(), 0.0, gap());
        for segment in &self.segments {
            let starts = segment.starts();
            while target < starts {
                found.push(Duration::from_secs_f64(begun + segment.moment(target)));
                target += gap();
            }
            target -= starts;
            begun += segment.seconds;
        }
        found
    }
}

impl FromStr for Schedule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let segments = text.split(',').map(|part| {
            segment(part.trim()).with_context(|| format!("{part:?} is not like 10s@1000 or 10s@100..1000"))
        });
        Ok(Self { segments: segments.collect::<anyhow::Result<_>>()? })
    }
}

fn segment(text: &str) -> anyhow::Result<Segment> {
    let (seconds, rate) = text.split_once("s@").context("there is no s@")?;
    let (from, to) = rate.split_once("..").unwrap_or((rate, rate));
    let segment = Segment { seconds: seconds.parse()?, rate: (from.parse()?, to.parse()?) };
    let numbers = [segment.seconds, segment.rate.0, segment.rate.1];
    anyhow::ensure!(
        segment.seconds > 0.0 && numbers.iter().all(|number| number.is_finite() && *number >= 0.0),
        "a number is out of range"
    );
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(schedule: &str) -> Vec<f64> {
        let schedule: Schedule = schedule.parse().unwrap();
        schedule.even().iter().map(Duration::as_secs_f64).collect()
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced() {
        assert_eq!(seconds("1s@4"), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(Schedule::constant(4.0, 1.0), "1s@4".parse().unwrap());
    }

    #[test]
    fn a_ramp_has_the_starts_of_its_mean_and_gets_denser() {
        let starts = seconds("10s@0..100");
        assert_eq!(starts.len(), 500);
        let early = starts.iter().filter(|at| **at < 5.0).count();
        assert_eq!(early, 125);
        assert!(starts.is_sorted());
        let back = seconds("10s@100..0");
        assert_eq!(back.iter().filter(|at| **at < 5.0).count(), 375);
    }

    #[test]
    fn segments_follow_each_other_without_a_seam() {
        let starts = seconds("1s@2, 1s@0, 1s@4..4");
        assert_eq!(starts, [0.0, 0.5, 2.0, 2.25, 2.5, 2.75]);
        // Half a start is left over by the first segment and counts in the second.
        assert_eq!(seconds("0.75s@2,1s@2"), [0.0, 0.5, 1.0, 1.5]);
    }

    #[test]
    fn random_arrivals_have_the_rate_and_the_spread_of_poisson() {
        let schedule = Schedule::constant(1000.0, 20.0);
        let starts = schedule.random(7);
        assert_eq!(starts, schedule.random(7));
        assert!((19_500..20_500).contains(&starts.len()), "{}", starts.len());
        let gaps: Vec<f64> =
            starts.windows(2).map(|two| (two[1].as_secs_f64() - two[0].as_secs_f64()) * 1e3).collect();
        let count = f64::from(u32::try_from(gaps.len()).unwrap());
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((0.95..1.05).contains(&mean) && (0.9..1.1).contains(&variance), "{mean} {variance}");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10@5", "s@5", "0s@5", "1s@-5", "1s@x", "1s@1..", "infs@1", "1s@1,,"] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}

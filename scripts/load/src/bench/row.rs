//! A row of the table: samples, what they come to, and what was promised.

use serde::Serialize;

/// What a row must reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Target {
    /// The ratio to the baseline is at least this.
    Ratio(f64),
    /// The figure itself is at most this.
    AtMost(f64),
}

/// One measurement, and that of the baseline right before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    pub measured: f64,
    pub baseline: Option<f64>,
}

/// What was measured of one thing.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub baseline: Option<String>,
    pub unit: &'static str,
    pub target: Target,
    pub samples: Vec<Sample>,
    /// What else is to be known.
    pub note: String,
}

/// Median and ends of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// Of numbers in any order; 0 of none.
    pub fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |place: usize| numbers.get(place).copied().unwrap_or_default();
        let last = numbers.len().saturating_sub(1);
        Self { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), low: at(0), high: at(last) }
    }
}

impl Row {
    /// A row with a baseline.
    pub fn ratio(name: &str, baseline: &str, unit: &'static str, least: f64, samples: Vec<Sample>) -> Self {
        let (name, baseline) = (name.to_owned(), Some(baseline.to_owned()));
        Self { name, baseline, unit, target: Target::Ratio(least), samples, note: String::new() }
    }

    /// A row with a limit.
    pub fn limit(name: &str, unit: &'static str, most: f64, measured: Vec<f64>) -> Self {
        let samples = measured.into_iter().map(|measured| Sample { measured, baseline: None }).collect();
        let target = Target::AtMost(most);
        Self { name: name.to_owned(), baseline: None, unit, target, samples, note: String::new() }
    }

    /// The same with a baseline, which is shown and not judged: what the limit leaves on this machine.
    pub fn beside(self, baseline: &str, based_on: &[f64]) -> Self {
        let samples = self.samples.iter().zip(based_on);
        let samples = samples.map(|(sample, baseline)| Sample { baseline: Some(*baseline), ..*sample });
        Self { baseline: Some(baseline.to_owned()), samples: samples.collect(), ..self }
    }

    pub fn noting(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Of what was measured.
    pub fn measured(&self) -> Spread {
        Spread::of(self.samples.iter().map(|sample| sample.measured).collect())
    }

    /// Of the baseline.
    pub fn based_on(&self) -> Option<Spread> {
        let found: Vec<f64> = self.samples.iter().filter_map(|sample| sample.baseline).collect();
        (!found.is_empty()).then(|| Spread::of(found))
    }

    /// What is compared with the target: the ratios pair by pair, or the figures themselves.
    pub fn judged(&self) -> Spread {
        match self.target {
            Target::AtMost(_) => self.measured(),
            Target::Ratio(_) => {
                let pairs =
                    self.samples.iter().filter_map(|sample| Some((sample.measured, sample.baseline?)));
                Spread::of(pairs.map(|(measured, baseline)| measured / baseline).collect())
            }
        }
    }

    /// Whether the median keeps what was promised.
    pub fn is_ok(&self) -> bool {
        let judged = self.judged().median;
        !self.samples.is_empty()
            && match self.target {
                Target::Ratio(least) => judged >= least,
                Target::AtMost(most) => judged <= most,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(baseline: f64, measured: f64) -> Sample {
        Sample { measured, baseline: Some(baseline) }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_pairs_and_not_of_the_sides() {
        // The machine was half as fast from the second pair on: the ratios do not show it.
        let samples = vec![pair(100.0, 90.0), pair(50.0, 45.0), pair(50.0, 40.0)];
        let row = Row::ratio("polls", "bare", "/s", 0.9, samples);
        assert_eq!(row.judged(), Spread { median: 0.9, low: 0.8, high: 0.9 });
        assert_eq!(row.measured().median.to_bits(), 45.0_f64.to_bits());
        assert!(row.is_ok());
    }

    #[test]
    fn a_limit_is_kept_up_to_its_figure_and_nothing_measured_is_missed() {
        assert!(Row::limit("p99", "ms", 5.0, vec![4.0, 5.0, 9.0]).is_ok());
        assert!(!Row::limit("p99", "ms", 5.0, vec![4.0, 5.1, 9.0, 6.0]).is_ok());
        assert!(!Row::limit("p99", "ms", 5.0, vec![]).is_ok());
        assert_eq!(Spread::of(vec![1.0, 4.0, 2.0, 3.0]).median.to_bits(), 2.5_f64.to_bits());
    }
}

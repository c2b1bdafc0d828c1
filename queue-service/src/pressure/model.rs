//! Reports of pressure, and the bounds they are judged by. No I/O, no clock.

use serde::Deserialize;

use crate::queues::settings::Adaptive;

/// How a process of the service behind the line has had it lately. Null = too little to tell.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Pressure {
    /// Which process.
    pub reporter: String,
    pub p99_ms: Option<f64>,
    /// Answers 5xx among all, 0 to 1.
    pub error_rate: Option<f64>,
    /// The longest wait for a connection to its store.
    pub pool_wait_ms: Option<f64>,
}

impl Pressure {
    /// The first measure beyond its bound.
    pub fn excess(&self, bounds: &Adaptive) -> Option<&'static str> {
        let measures = [
            ("p99_ms", self.p99_ms, bounds.p99_ms),
            ("error_rate", self.error_rate, bounds.error_rate),
            ("pool_wait_ms", self.pool_wait_ms, bounds.pool_wait_ms),
        ];
        let beyond =
            |measure: Option<f64>, bound: Option<f64>| measure.zip(bound).is_some_and(|(m, b)| m > b);
        measures.into_iter().find(|(_, measure, bound)| beyond(*measure, *bound)).map(|(word, ..)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_beyond_a_bound_that_is_set_counts() {
        let pressure =
            Pressure { reporter: "a".into(), p99_ms: Some(900.0), error_rate: Some(0.2), pool_wait_ms: None };
        assert_eq!(pressure.excess(&Adaptive::default()), Some("p99_ms"));
        assert_eq!(pressure.excess(&Adaptive { p99_ms: None, ..Adaptive::default() }), Some("error_rate"));
        assert_eq!(
            pressure.excess(&Adaptive { p99_ms: Some(900.0), error_rate: None, ..Adaptive::default() }),
            None
        );
    }
}

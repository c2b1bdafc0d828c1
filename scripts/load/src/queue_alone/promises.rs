//! What the moments of admission say about rate and order; no I/O.

use tokio::time::Instant;

use crate::crowd::Findings;

pub const RATE: &str = "never more are let in in any second than may be";
pub const ORDER: &str = "who joined first is let in first";
pub const CAP: &str = "never more are active than may be";

const WINDOW_MS: i64 = 1000;

/// Somebody who was let in, as they were told.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The join was sent after this moment …
    pub asked: Instant,
    /// … and the place was there at this one.
    pub answered: Instant,
    /// Since 1970.
    pub admitted_ms: i64,
}

/// An exact sliding window: the one who comes `most` behind another comes at least a window later. (Rounding down to
/// milliseconds keeps differences of whole seconds.)
pub fn rate(admissions: &[Admission], most: u32, findings: &Findings) {
    let mut moments: Vec<i64> = admissions.iter().map(|admission| admission.admitted_ms).collect();
    moments.sort_unstable();
    for (first, last) in moments.iter().zip(moments.iter().skip(most as usize)) {
        findings.expect(last - first >= WINDOW_MS, RATE, || format!("{} in {} ms", most + 1, last - first));
    }
}

/// Who had a place before another asked for one is not let in later. In the order in which people asked, the
/// latest admission of those who had their places by then is carried along.
pub fn order(admissions: &[Admission], findings: &Findings) {
    let (mut asked, mut answered) = (admissions.to_vec(), admissions.to_vec());
    asked.sort_unstable_by_key(|admission| admission.asked);
    answered.sort_unstable_by_key(|admission| admission.answered);
    let mut before = answered.iter().peekable();
    let mut latest = i64::MIN;
    for later in &asked {
        while let Some(earlier) = before.next_if(|earlier| earlier.answered < later.asked) {
            latest = latest.max(earlier.admitted_ms);
        }
        let late = latest.saturating_sub(later.admitted_ms);
        findings.expect(late <= 0, ORDER, || format!("{late} ms after one who asked later"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admissions(of: &[(u64, u64, i64)]) -> Vec<Admission> {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let admission = |(asked, answered, admitted_ms): &(u64, u64, i64)| Admission {
            asked: at(*asked),
            answered: at(*answered),
            admitted_ms: *admitted_ms,
        };
        of.iter().map(admission).collect()
    }

    fn broken(promise: &str, check: impl FnOnce(&Findings)) -> u64 {
        let findings = Findings::default();
        check(&findings);
        findings.of(promise).map_or(0, |broken| broken.times)
    }

    #[test]
    fn one_too_many_in_any_second_is_found() {
        let told = admissions(&[(0, 1, 0), (0, 1, 500), (0, 1, 1000), (0, 1, 1499)]);
        assert_eq!(broken(RATE, |findings| rate(&told, 2, findings)), 1);
        assert_eq!(broken(RATE, |findings| rate(&told, 3, findings)), 0);
    }

    #[test]
    fn who_is_overtaken_is_found_and_who_joined_at_the_same_time_is_not() {
        let overlapping = admissions(&[(0, 10, 300), (5, 12, 200)]);
        assert_eq!(broken(ORDER, |findings| order(&overlapping, findings)), 0);
        let overtaken = admissions(&[(0, 10, 300), (11, 12, 200), (20, 21, 400)]);
        assert_eq!(broken(ORDER, |findings| order(&overtaken, findings)), 1);
    }
}

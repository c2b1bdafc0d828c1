//! A line a second for who watches, and what it said, for the plots.

use std::time::Duration;

use tokio::time::Instant;

use super::{Kind, Tallies};
use crate::report::{grouped, say, whole};
use crate::tally::Tally;

/// What somebody else knows about a second: names and numbers.
pub type Sample = Vec<(&'static str, f64)>;

/// Once a second until it is dropped: says how far the run is. `due` = how much was to be asked by now, `sample`
/// = what else is worth a look; all samples stay in `kept`.
pub async fn watch(
    tallies: &Tallies,
    due: impl Fn() -> u64,
    mut sample: impl AsyncFnMut() -> Sample,
    kept: &mut Vec<(f64, Sample)>,
) {
    let mut every =
        tokio::time::interval_at(tallies.begun() + Duration::from_secs(1), Duration::from_secs(1));
    loop {
        every.tick().await;
        let found = sample().await;
        let seconds = tallies.begun().elapsed().as_secs_f64();
        say(&line(tallies, seconds, due(), &found));
        kept.push((seconds, found));
    }
}

fn line(tallies: &Tallies, seconds: f64, due: u64, sample: &Sample) -> String {
    let (answers, errors) = tallies.answers_and_errors();
    let mut parts = vec![
        format!("{seconds:4.0} s"),
        format!("offered {:>9}", grouped(due)),
        format!("done {:>9}", grouped(answers)),
        format!("errors {:>3}", grouped(errors)),
    ];
    let p99 = last_second(tallies);
    if !p99.is_empty() {
        let each = p99.iter().map(|(kind, p99)| format!("{} {}", kind.name(), whole(*p99)));
        parts.push(format!("p99 ms: {}", each.collect::<Vec<_>>().join(" · ")));
    }
    parts.extend(sample.iter().map(|(name, number)| format!("{name} {}", whole(*number))));
    parts.join("  ")
}

/// Percentile 99 of the last whole second, of each kind of which there was a good answer.
fn last_second(tallies: &Tallies) -> Vec<(Kind, f64)> {
    let elapsed = Instant::now().saturating_duration_since(tallies.begun()).as_secs();
    let Some(last) = elapsed.checked_sub(1).and_then(|last| usize::try_from(last).ok()) else {
        return Vec::new();
    };
    let of = |kind| {
        let second = |tally: &mut Tally| tally.timeline().seconds().get(last)?.percentile_ms(99.0);
        tallies.with(kind, second).map(|p99| (kind, p99))
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

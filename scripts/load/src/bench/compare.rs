//! Samples: of the most that goes, and of latency at half of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::ensure;

use super::CONNECTIONS;
use crate::arrivals::{self, Plan};
use crate::closed;
use crate::schedule::Schedule;
use crate::tally::Run;
use crate::work::{Live, Work};

/// Good answers a second of a closed loop; an answer that is not good makes the sample worthless.
pub async fn rate<W: Work>(to: SocketAddr, time: Duration, work: &Arc<W>) -> anyhow::Result<f64> {
    rate_from(to, time, work, &Arc::default()).await
}

/// As [`rate`]; `next` goes on counting where the sample before has ended.
pub async fn rate_from<W: Work>(
    to: SocketAddr,
    time: Duration,
    work: &Arc<W>,
    next: &Arc<AtomicU64>,
) -> anyhow::Result<f64> {
    let run = closed::run_from(to, CONNECTIONS, time, work, next, &Arc::default()).await?;
    all_good(&run)?;
    Ok(run.rate())
}

/// Percentile 99 in ms of an open loop of random arrivals.
pub async fn p99<W: Work>(to: SocketAddr, rate: f64, seconds: f64, work: &Arc<W>) -> anyhow::Result<f64> {
    let plan = Plan {
        connections: CONNECTIONS,
        seed: Some(rate.to_bits()),
        ..Plan::new(Schedule::constant(rate, seconds))
    };
    let run = arrivals::run(to, &plan, work, &Arc::<Live>::default()).await?;
    all_good(&run)?;
    Ok(run.tally.percentiles().p99)
}

/// More requests than random arrivals of a rate can be.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
pub fn enough(rate: f64, seconds: f64) -> u32 {
    let mean = rate * seconds;
    (mean + 6.0 * mean.sqrt() + 10.0) as u32
}

/// Refuses a run with a single answer that is not good, and one without any.
pub fn all_good(run: &Run) -> anyhow::Result<()> {
    let told: Vec<String> =
        run.tally.outcomes().iter().take(4).map(|(what, times)| format!("{times} × {what}")).collect();
    ensure!(run.tally.bad() == 0 && run.tally.good() > 0, "not all answers are good: {}", told.join(", "));
    Ok(())
}

//! Samples: of the most that goes and what it costs, and of latency at half of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::ensure;

use super::CONNECTIONS;
use super::row::Spread;
use crate::arrivals::{self, Plan};
use crate::closed;
use crate::schedule::Schedule;
use crate::stand::{Service, Usage};
use crate::tally::Run;
use crate::work::{Live, Work};

/// A process that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub to: SocketAddr,
    pub id: u32,
}

/// What a closed loop found.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Good answers a second.
    pub rate: f64,
    pub answers: f64,
    /// Processor time for each answer, in microseconds: of the process asked, and of this one.
    pub served_us: f64,
    pub asked_us: f64,
}

/// Processor time on both sides of pairs. It shows what a rate is made of, and hardly depends on what else runs.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    measured: Vec<f64>,
    baseline: Vec<f64>,
    asking: Vec<f64>,
}

impl Side {
    pub fn of(service: &Service) -> anyhow::Result<Self> {
        Ok(Self { to: service.public(), id: service.id()? })
    }
}

impl Costs {
    pub fn add(&mut self, measured: &Measured, baseline: &Measured) {
        self.measured.push(measured.served_us);
        self.baseline.push(baseline.served_us);
        self.asking.push(measured.asked_us);
    }

    /// In words.
    pub fn told(&self) -> String {
        let median = |numbers: &[f64]| Spread::of(numbers.to_vec()).median;
        let (served, bare, asking) = (median(&self.measured), median(&self.baseline), median(&self.asking));
        format!("processor time: {served:.1} µs an answer, baseline {bare:.1} µs, generator {asking:.1} µs")
    }
}

/// Good answers a second of a closed loop; an answer that is not good makes the sample worthless.
pub async fn rate<W: Work>(to: SocketAddr, time: Duration, work: &Arc<W>) -> anyhow::Result<f64> {
    let run = closed::run(to, CONNECTIONS, time, work).await?;
    all_good(&run)?;
    Ok(run.rate())
}

/// As [`rate`], with the processor time of both ends; `next` goes on counting where the sample before has ended.
#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
pub async fn metered<W: Work>(
    side: Side,
    time: Duration,
    work: &Arc<W>,
    next: &Arc<AtomicU64>,
) -> anyhow::Result<Measured> {
    let used = || anyhow::Ok((Usage::of(side.id)?.processor, Usage::of(std::process::id())?.processor));
    let (served, asked) = used()?;
    let run = closed::run_from(side.to, CONNECTIONS, time, work, next, &Arc::default()).await?;
    let (then_served, then_asked) = used()?;
    all_good(&run)?;
    let answers = run.tally.good() as f64;
    let each = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / answers;
    let (served_us, asked_us) = (each(served, then_served), each(asked, then_asked));
    Ok(Measured { rate: run.rate(), answers, served_us, asked_us })
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

//! The open loop: requests start when the plan says, not when an answer came.
//!
//! ```text
//!   plan ── start times ──▶ pacer (a thread that sleeps) ── permits ──▶ connections
//! ```
//!
//! The start times are known before the run. The pacer, a thread of its own because timers of the runtime
//! are of a millisecond, gives a permit for each that has come; a free connection takes a permit, and with
//! it the next start. While all are busy the starts wait, nothing is left out, and what they waited is part
//! of their latency. What nobody took by the end counts as never sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::Client;
use crate::schedule::Schedule;
use crate::tally::{Outcome, Run, Tally};
use crate::work::{Live, Work, put};

/// The pacer sleeps at least so long: starts that are closer together come together.
const TICK: Duration = Duration::from_micros(100);
/// As many permits as are given at once at most.
const MOST_PERMITS: usize = 10_000;

/// How a run is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    pub schedule: Schedule,
    pub connections: usize,
    /// Random arrivals of this seed; `None` = evenly spaced ones.
    pub seed: Option<u64>,
    /// How long after the last start waiting ones may still be sent.
    pub grace: Duration,
    /// Counted as `TimedOut` when the answer takes longer.
    pub patience: Duration,
}

impl Plan {
    /// 64 connections, even arrivals, 5 s of grace, 15 s of patience.
    pub fn new(schedule: Schedule) -> Self {
        let (grace, patience) = (Duration::from_secs(5), Duration::from_secs(15));
        Self { schedule, connections: 64, seed: None, grace, patience }
    }

    fn starts(&self) -> Vec<Duration> {
        match self.seed {
            Some(seed) => self.schedule.random(seed),
            None => self.schedule.even(),
        }
    }
}

/// Start times, handed out when they have come. For runs that are more than one request a start.
#[derive(Debug)]
pub struct Pacer {
    begun: Instant,
    starts: Vec<Duration>,
    due: Semaphore,
    next: AtomicU64,
}

/// A start that has come.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Counted from 0.
    pub n: u64,
    /// When it was to be.
    pub intended: Instant,
}

impl Pacer {
    /// Begins now. `live.due` counts the starts that have come; `grace` after the last, nobody gets one any more.
    pub fn start(starts: Vec<Duration>, grace: Duration, live: &Arc<Live>) -> Arc<Self> {
        let (due, next) = (Semaphore::new(0), AtomicU64::new(0));
        let pacer = Arc::new(Self { begun: Instant::now(), starts, due, next });
        let (pacing, live) = (pacer.clone(), live.clone());
        // Ends by itself: the starts are counted, and the grace is short.
        drop(std::thread::spawn(move || pacing.pace(grace, &live)));
        pacer
    }

    /// The moment that starts are counted from.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The next start, when it has come; `None` behind the last, or when the time is up.
    pub async fn next(&self) -> Option<Start> {
        self.due.acquire().await.ok()?.forget();
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let after = self.starts.get(usize::try_from(n).ok()?)?;
        Some(Start { n, intended: self.begun + *after })
    }

    /// How many starts were not taken.
    pub fn left(&self) -> u64 {
        let starts = u64::try_from(self.starts.len()).unwrap_or(u64::MAX);
        starts.saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// Nobody gets a start any more.
    pub fn stop(&self) {
        self.due.close();
    }

    fn pace(&self, grace: Duration, live: &Live) {
        let mut given = 0;
        while given < self.starts.len() && !self.due.is_closed() {
            let late = self.begun.elapsed();
            let come = self.starts[given..].partition_point(|start| *start <= late).min(MOST_PERMITS);
            live.due.fetch_add(u64::try_from(come).unwrap_or_default(), Ordering::Relaxed);
            self.due.add_permits(come);
            given += come;
            let next = self.starts.get(given).map_or(Duration::ZERO, |start| start.saturating_sub(late));
            std::thread::sleep(next.max(TICK));
        }
        let end = Instant::now() + grace;
        while Instant::now() < end && !self.due.is_closed() && self.left() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.due.close();
    }
}

/// Carries out a plan. `live` may be watched meanwhile.
pub async fn run<W: Work>(
    address: SocketAddr,
    plan: &Plan,
    work: &Arc<W>,
    live: &Arc<Live>,
) -> anyhow::Result<Run> {
    let pacer = Pacer::start(plan.starts(), plan.grace, live);
    let begun = pacer.begun();
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        let (work, live, pacer) = (work.clone(), live.clone(), pacer.clone());
        let (mut client, mut tally) = (Client::new(address).patient(plan.patience), Tally::new(begun));
        tasks.spawn(async move {
            let mut request = Vec::new();
            while let Some(Start { n, intended }) = pacer.next().await {
                request.clear();
                if !work.ask(n, &mut request) {
                    tally.count(Outcome::Unsent, 1);
                    break;
                }
                put(&*work, n, &request, intended, &mut client, &mut tally, &live).await;
            }
            tally
        });
    }
    let mut tally = Tally::new(begun);
    while let Some(done) = tasks.join_next().await {
        tally.merge(&done?);
    }
    pacer.stop();
    tally.count(Outcome::Unsent, pacer.left());
    Ok(Run { tally, took: begun.elapsed() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::get;
    use crate::work::Prepared;

    /// Answers each request so long after it came.
    async fn slow_server(delay: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        tokio::time::sleep(delay).await;
                        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        tasks.detach_all();
        address
    }

    fn polls() -> Arc<Prepared> {
        Arc::new(Prepared::new(vec![get("/", None)]))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn starts_come_at_their_time_whatever_the_answers_do() {
        let address = slow_server(Duration::from_millis(50)).await;
        let plan = Plan { connections: 32, ..Plan::new("1s@200".parse().unwrap()) };
        let run = run(address, &plan, &polls(), &Arc::default()).await.unwrap();
        assert_eq!((run.tally.good(), run.tally.bad()), (200, 0));
        assert!(
            (Duration::from_millis(950)..Duration::from_millis(1500)).contains(&run.took),
            "{:?}",
            run.took
        );
        let p50 = run.tally.percentile(50.0);
        assert!((Duration::from_millis(49)..Duration::from_millis(90)).contains(&p50), "{p50:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_waits_for_a_connection_waits_in_its_latency() {
        let address = slow_server(Duration::from_millis(20)).await;
        let plan = Plan { connections: 1, ..Plan::new("0.5s@100".parse().unwrap()) };
        let run = run(address, &plan, &polls(), &Arc::default()).await.unwrap();
        // 50 requests of 20 ms one after the other: the last was to start after 0.49 s and ends after 1 s.
        assert_eq!(run.tally.good(), 50);
        assert!(run.tally.percentile(100.0) > Duration::from_millis(450), "{:?}", run.tally.percentiles());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_not_sent_by_the_end_is_counted() {
        let address = slow_server(Duration::from_millis(100)).await;
        let grace = Duration::from_millis(100);
        let plan = Plan { connections: 1, grace, ..Plan::new("0.5s@100".parse().unwrap()) };
        let run = run(address, &plan, &polls(), &Arc::default()).await.unwrap();
        assert_eq!(run.tally.good() + run.tally.bad(), 50);
        let unsent = run.tally.outcomes().into_iter().find(|(outcome, _)| *outcome == Outcome::Unsent);
        assert!(unsent.is_some_and(|(_, count)| (40..48).contains(&count)), "{:?}", run.tally.outcomes());
    }
}

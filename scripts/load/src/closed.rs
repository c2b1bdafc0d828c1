//! The closed loop: so many connections, each asks again as soon as it was answered. Finds the most that goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::Client;
use crate::tally::{Run, Tally};
use crate::work::{Live, Work, put};

/// Asks for so long, or until there is nothing left to ask. Latency is that of single requests.
pub async fn run<W: Work>(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    work: &Arc<W>,
) -> anyhow::Result<Run> {
    run_from(address, connections, time, work, &Arc::default(), &Arc::default()).await
}

/// As [`run`], with `next` counted on from run to run, and `live` to watch.
pub async fn run_from<W: Work>(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    work: &Arc<W>,
    next: &Arc<AtomicU64>,
    live: &Arc<Live>,
) -> anyhow::Result<Run> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (work, next, live) = (work.clone(), next.clone(), live.clone());
        tasks.spawn(async move {
            let (mut client, mut tally) = (Client::new(address), Tally::new(begun));
            let (mut request, mut last) = (Vec::new(), begun);
            while last.duration_since(begun) < time {
                let n = next.fetch_add(1, Ordering::Relaxed);
                request.clear();
                if !work.ask(n, &mut request) {
                    break;
                }
                let intended = Instant::now();
                put(&*work, n, &request, intended, &mut client, &mut tally, &live).await;
                last = Instant::now();
            }
            (tally, last)
        });
    }
    let (mut tally, mut last) = (Tally::new(begun), begun);
    while let Some(done) = tasks.join_next().await {
        let (other, ended) = done?;
        tally.merge(&other);
        last = last.max(ended);
    }
    Ok(Run { tally, took: last.duration_since(begun) })
}

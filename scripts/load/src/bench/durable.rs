//! Latency of requests that end with a commit, and of the disk meanwhile: no commit is faster than its sync. The disk is
//! asked on the side, by small writes of our own in the folder of the logs.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use super::row::{Row, Spread};
use super::{Bench, compare};
use crate::report::whole;
use crate::work::Work;

/// Seldom enough not to be in the way.
const EVERY: Duration = Duration::from_millis(20);
const PAGE: [u8; 8192] = [b'x'; 8192];

/// One sample, in ms.
pub struct Late {
    p99: f64,
    longest_sync: f64,
}

/// Percentile 99 of an open loop, while the disk is watched.
pub async fn p99<W: Work>(
    bench: &Bench,
    to: SocketAddr,
    rate: f64,
    seconds: f64,
    work: &Arc<W>,
) -> anyhow::Result<Late> {
    let disk = Disk::watch(&bench.stand.place.folder)?;
    let p99 = compare::p99(to, rate, seconds, work).await?;
    Ok(Late { p99, longest_sync: disk.longest()?.as_secs_f64() * 1e3 })
}

/// The row of these samples.
pub fn row(name: &str, most: f64, rate: f64, samples: &[Late]) -> Row {
    let beside: Vec<_> =
        samples.iter().map(|late| format!("{:.0} beside {:.0}", late.p99, late.longest_sync)).collect();
    let disk = Spread::of(samples.iter().map(|late| late.longest_sync).collect()).median;
    let note = format!(
        "open loop, {}/s; the disk's longest sync meanwhile: {disk:.0} ms; each sample beside it: {}",
        whole(rate),
        beside.join(", ")
    );
    Row::limit(name, "ms", most, samples.iter().map(|late| late.p99).collect()).noting(note)
}

/// A thread that writes and syncs a page, over and over.
struct Disk {
    over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Duration>>,
    path: PathBuf,
}

impl Disk {
    fn watch(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join("disk");
        let (mut file, over) = (File::create(&path)?, Arc::new(AtomicBool::new(false)));
        let seen = over.clone();
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !seen.load(Ordering::Relaxed) {
                let begun = Instant::now();
                file.rewind()?;
                file.write_all(&PAGE)?;
                file.sync_data()?;
                longest = longest.max(begun.elapsed());
                thread::sleep(EVERY);
            }
            Ok(longest)
        });
        Ok(Self { over, thread, path })
    }

    fn longest(self) -> anyhow::Result<Duration> {
        self.over.store(true, Ordering::Relaxed);
        let longest =
            self.thread.join().map_err(|_| anyhow!("the thread that watched the disk panicked"))??;
        std::fs::remove_file(&self.path)?;
        Ok(longest)
    }
}

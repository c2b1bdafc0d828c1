//! What is asked, and what is to be thought of the answers.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::http::{Answer, Client, Failure};
use crate::tally::{Outcome, Tally};

/// Many requests of one kind. Shared by all connections.
pub trait Work: Send + Sync + 'static {
    /// Writes request `n` (counted from 0) behind what `into` holds, which is nothing. `false`: there is no
    /// such request, and none behind it.
    fn ask(&self, n: u64, into: &mut Vec<u8>) -> bool;

    /// Hears the answer to request `n`. `Err` names what is wrong with it: it then counts as that, whatever
    /// its status is. Statuses ≥ 400 are counted by status and code without further ado.
    fn hear(&self, n: u64, answer: &Answer<'_>) -> Result<(), &'static str> {
        let _ = (n, answer);
        Ok(())
    }
}

/// The same requests again and again, in turn.
#[derive(Debug)]
pub struct Prepared {
    requests: Vec<Vec<u8>>,
    again: bool,
}

impl Prepared {
    /// In turn, and from the front again.
    pub fn new(requests: Vec<Vec<u8>>) -> Self {
        Self { requests, again: true }
    }

    /// Each once.
    pub fn once(requests: Vec<Vec<u8>>) -> Self {
        Self { requests, again: false }
    }
}

impl Work for Prepared {
    fn ask(&self, n: u64, into: &mut Vec<u8>) -> bool {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        let at = if self.again { n % self.requests.len().max(1) } else { n };
        self.requests.get(at).map(|request| into.extend_from_slice(request)).is_some()
    }
}

/// How far a run is, for who watches it. Counts of requests.
#[derive(Debug, Default)]
pub struct Live {
    /// Were to be sent by now (open loop only).
    pub due: AtomicU64,
    pub sent: AtomicU64,
    pub good: AtomicU64,
    pub bad: AtomicU64,
}

impl Live {
    /// `(due, sent, good, bad)`
    pub fn read(&self) -> (u64, u64, u64, u64) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (read(&self.due), read(&self.sent), read(&self.good), read(&self.bad))
    }
}

/// Puts request `n`, which is in `request`, and writes down what became of it.
pub(crate) async fn put(
    work: &impl Work,
    n: u64,
    request: &[u8],
    intended: Instant,
    client: &mut Client,
    tally: &mut Tally,
    live: &Live,
) {
    live.sent.fetch_add(1, Ordering::Relaxed);
    let outcome = match client.send(request).await {
        Ok(answer) => judged(work, n, &answer),
        Err(failure) => Outcome::Failed(failure),
    };
    let now = Instant::now();
    let side = if outcome.is_good() { &live.good } else { &live.bad };
    side.fetch_add(1, Ordering::Relaxed);
    tally.add(outcome, now, now.saturating_duration_since(intended));
    // A server that cannot be reached is not asked a hundred thousand times a second.
    if tally.ended_with(Failure::NotConnected) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn judged(work: &impl Work, n: u64, answer: &Answer<'_>) -> Outcome {
    match work.hear(n, answer) {
        Err(wrong) => Outcome::Wrong(wrong),
        Ok(()) if answer.status < 400 => Outcome::Good(answer.status),
        Ok(()) => Outcome::Refused(answer.status, answer.code().into()),
    }
}

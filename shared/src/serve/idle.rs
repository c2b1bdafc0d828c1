//! A connection on which nothing happens is closed.
//!
//! ```text
//!   a request is answered · bytes are taken ─▶ busy until now ─▶ so long ago, and nothing under way? ─▶ idle
//! ```
//!
//! This bounds the header of the next request, too: what a client sends bit by bit is no answer to it. hyper has
//! such a time-out, and makes and registers a timer for every request; here there is one for the connection.
//! HTTP/2 is pinged, which is busy; event streams send something every few seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What a connection does. Clones are of the same connection.
#[derive(Clone)]
pub struct Busy(Arc<Parts>);

struct Parts {
    begun: Instant,
    /// Until when it was busy, in ms since it began.
    until_ms: AtomicU64,
    under_way: AtomicUsize,
}

/// A request that is being worked on, until this is dropped.
pub struct UnderWay(Busy);

impl Busy {
    /// A connection that begins.
    pub fn new() -> Self {
        let (until_ms, under_way) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self(Arc::new(Parts { begun: Instant::now(), until_ms, under_way }))
    }

    /// Something happens.
    pub fn note(&self) {
        let ms = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.until_ms.store(ms, Ordering::Relaxed);
    }

    /// A request is being worked on.
    pub fn begin(&self) -> UnderWay {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Waits until nothing has happened for `limit`.
    pub async fn until_idle(self, limit: Duration) {
        loop {
            let deadline = self.busy_until() + limit;
            sleep_until(deadline).await;
            if self.0.under_way.load(Ordering::Relaxed) > 0 {
                self.note();
            } else if self.busy_until() + limit <= deadline {
                return;
            }
        }
    }

    fn busy_until(&self) -> Instant {
        self.0.begun + Duration::from_millis(self.0.until_ms.load(Ordering::Relaxed))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.note();
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(75);
    const SOON: Duration = Duration::from_secs(74);

    #[tokio::test(start_paused = true)]
    async fn what_happens_puts_it_off_and_a_request_holds_it_up() {
        let busy = Busy::new();
        let mut idle = std::pin::pin!(busy.clone().until_idle(LIMIT));
        timeout(SOON, idle.as_mut()).await.unwrap_err();
        busy.note();
        timeout(SOON, idle.as_mut()).await.unwrap_err();
        let request = busy.begin();
        timeout(Duration::from_secs(3600), idle.as_mut()).await.unwrap_err();
        drop(request);
        timeout(SOON, idle.as_mut()).await.unwrap_err();
        advance(Duration::from_secs(1)).await;
        timeout(Duration::from_millis(10), idle.as_mut()).await.unwrap();
    }
}

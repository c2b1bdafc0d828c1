//! The numbers of a queue for everybody: at most a moment old, and asked for once however many want them.
//!
//! ```text
//!   page ─▶ known, young, nothing contradicts it? ─ yes ─▶ answer (no call to Redis)
//!                                                 └ no ──▶ one report for all who wait
//! ```
//!
//! Operators are not answered from here: theirs are exact.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use shared::clock::Clock;
use shared::coalesce::{Coalescer, Lane, Shape, Unanswered};
use tokio::time::Instant;

use super::Report;
use crate::redis::StoreError;

/// With the second that a page may be cached, nobody sees numbers much older than a poll's.
const MOMENT: Duration = Duration::from_millis(250);
/// All who wait have the same report.
const REPORTS: Shape = Shape { lanes: 1, crowd: 1, max: 8_192, waiting: 8_192 };

/// See the module.
pub struct Recent {
    clock: Clock,
    last: Arc<ArcSwapOption<Known>>,
    reports: Coalescer<(), Arc<Report>, StoreError>,
}

struct Known {
    asked_at: Instant,
    /// What tests had added to the time then.
    offset_ms: i64,
    report: Arc<Report>,
}

impl Recent {
    /// Nothing is known yet; `ask` asks for the numbers of now. And what asks.
    pub fn new<F, Fut>(clock: Clock, ask: F) -> (Self, Vec<Lane>)
    where
        F: Fn() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Arc<Report>, StoreError>> + Send + 'static,
    {
        let last: Arc<ArcSwapOption<Known>> = Arc::default();
        let (known, time) = (last.clone(), clock.clone());
        let (reports, lanes) = Coalescer::new(REPORTS, move |waiting: Vec<()>| {
            let (known, time, ask) = (known.clone(), time.clone(), ask.clone());
            async move {
                let (asked_at, offset_ms) = (Instant::now(), time.offset_ms());
                let report = ask().await?;
                known.store(Some(Arc::new(Known { asked_at, offset_ms, report: report.clone() })));
                Ok(vec![report; waiting.len()])
            }
        });
        (Self { clock, last, reports }, lanes)
    }

    /// The numbers of a moment ago, unless `is_so` contradicts them.
    pub async fn report(
        &self,
        is_so: impl Fn(&Report) -> bool,
    ) -> Result<Result<Arc<Report>, StoreError>, Unanswered> {
        if let Some(known) = &*self.last.load()
            && known.asked_at.elapsed() < MOMENT
            && known.offset_ms == self.clock.offset_ms()
            && is_so(&known.report)
        {
            return Ok(Ok(known.report.clone()));
        }
        self.reports.submit(()).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::Settings;
    use super::super::model::{Pace, QueueState};
    use super::*;

    fn report(waiting: u64) -> Report {
        Report {
            state: QueueState::Open,
            opens_at: None,
            waiting,
            scheduled: 0,
            active: 0,
            admitted_total: 0,
            expired_total: 0,
            left_total: 0,
            completed_total: 0,
            replaced_total: 0,
            closed_total: 0,
            pace: Pace { minute: 0.0, five_minutes: 0.0 },
            cap_room: None,
            has_room: true,
            settings: Settings::default(),
            remaining: None,
            sold_out: None,
            held_until: None,
            outflow: 1.0,
            outflow_reason: None,
            lanes: Vec::new(),
            draw: None,
        }
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "a test of concurrency spawns")]
    async fn a_crowd_that_asks_is_one_report_a_moment() {
        let (clock, asked) = (Clock::system(), Arc::new(AtomicU64::new(0)));
        let counter = asked.clone();
        let (recent, lanes) = Recent::new(clock.clone(), move || {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(Arc::new(report(number)))
            }
        });
        for lane in lanes {
            tokio::spawn(lane);
        }
        let waiting = async || recent.report(|_| true).await.unwrap().map(|report| report.waiting);
        let crowd = futures_util::future::join_all((0..100).map(|_| waiting())).await;
        // Who came while the first was under way waits for the second, which is of after they came.
        assert!(crowd.iter().all(|seen| matches!(seen, Ok(1 | 2))), "{crowd:?}");
        let first = asked.load(Ordering::SeqCst);
        assert_eq!(waiting().await.unwrap(), first);
        tokio::time::sleep(MOMENT).await;
        assert_eq!(waiting().await.unwrap(), first + 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiting().await.unwrap(), first + 2);
        let newer = recent.report(|known| known.waiting > first + 2).await.unwrap().unwrap();
        assert_eq!(newer.waiting, first + 3);
    }
}

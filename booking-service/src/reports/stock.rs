//! Which dates have changed, and the loop that tells what is left of them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::model::StockReport;
use super::{CALL_LIMIT, FIRST_PAUSE, LONGEST_PAUSE, Unheard, store};
use crate::db::Db;
use crate::metrics;
use crate::queue_service::QueueService;
use crate::retry::{jittered, longer};
use crate::rounds::Mood;

const PATH: &str = "/internal/v1/stock";
const MOST_ITEMS: usize = 500;
/// Between two rounds.
const REST: Duration = Duration::from_secs(1);
/// Between two that tell everything.
const ALL_EVERY: Duration = Duration::from_secs(15);
/// A count that takes long is not made again before that many times as long has passed.
const SPARING: u32 = 20;
/// And yet within this time: the queue service should not take old numbers for true.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The dates whose seats this replica has changed and not yet reported. Clones are the same set.
#[derive(Clone, Default)]
pub struct Stock(Arc<Marks>);

#[derive(Default)]
struct Marks {
    changed: Mutex<HashSet<Uuid>>,
    wake: Notify,
}

impl Stock {
    /// Takes note that seats of these dates changed hands. Call after the commit: before it, the
    /// count may come too soon to see it.
    pub fn changed(&self, schedules: &[Uuid]) {
        let mut changed = self.0.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let were_none = changed.is_empty();
        changed.extend(schedules);
        if were_none && !changed.is_empty() {
            self.0.wake.notify_one();
        }
    }

    fn take(&self) -> Vec<Uuid> {
        self.0.changed.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

/// Starts the reports of stock.
pub fn run(lifecycle: &Lifecycle, db: Db, stock: Stock, service: QueueService) {
    let reporter = Reporter { db, stock, service };
    lifecycle.spawn_loop("reports of stock", reporter.report());
}

struct Reporter {
    db: Db,
    stock: Stock,
    service: QueueService,
}

impl Reporter {
    async fn report(self) {
        let mut mood = Mood::new("reports of stock to the queue service");
        let mut failures = 0;
        let mut all_due = Instant::now();
        loop {
            // Asked first: in a busy sale there is always a mark that would wake sooner.
            let all =
                Instant::now() >= all_due || timeout_at(all_due, self.stock.0.wake.notified()).await.is_err();
            let outcome = self.round(all).await;
            mood.note(&outcome);
            if let Ok(took) = outcome {
                failures = 0;
                if all {
                    let rest = rest_after(took, ALL_EVERY);
                    all_due = Instant::now() + jittered(rest.mul_f64(0.8), rest);
                }
                // Everything takes longer than a few queues, which should not wait for that.
                let rest = if all { REST } else { rest_after(took, REST) };
                tokio::time::sleep(rest).await;
            } else {
                metrics::report_failed("stock");
                tokio::time::sleep(longer(FIRST_PAUSE, LONGEST_PAUSE, failures)).await;
                failures = failures.saturating_add(1);
                all_due = Instant::now();
            }
        }
    }

    /// Tells what all queues have left, or those that were marked; answers how long the count took.
    async fn round(&self, all: bool) -> Result<Duration, Unheard> {
        let changed = self.stock.take();
        if !all && changed.is_empty() {
            return Ok(Duration::ZERO);
        }
        let of = if all { None } else { Some(changed.as_slice()) };
        let (left, took) = {
            let mut lane = self.db.lane().await?;
            let begun = Instant::now();
            (store::left(&mut lane, self.db.offset_ms(), of).await?, begun.elapsed())
        };
        metrics::seconds(metrics::STOCK_COUNT, took.as_secs_f64());
        if let Some((as_of, left)) = left {
            for items in left.chunks(MOST_ITEMS) {
                self.service.tell(PATH, &StockReport { as_of, items }, CALL_LIMIT).await?;
                metrics::reported("stock");
            }
        }
        Ok(took)
    }
}

/// How long the same is not counted again.
fn rest_after(took: Duration, least: Duration) -> Duration {
    took.saturating_mul(SPARING).clamp(least, LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_takes_a_twentieth_of_the_time_at_most() {
        assert_eq!(rest_after(Duration::from_millis(6), REST), REST);
        assert_eq!(rest_after(Duration::from_millis(200), REST), Duration::from_secs(4));
        assert_eq!(rest_after(Duration::from_millis(200), ALL_EVERY), ALL_EVERY);
        assert_eq!(rest_after(Duration::MAX, ALL_EVERY), LONGEST_REST);
    }

    #[tokio::test]
    async fn a_mark_wakes_once_and_is_taken_once() {
        let (stock, date) = (Stock::default(), Uuid::nil());
        stock.changed(&[]);
        stock.changed(&[date]);
        stock.changed(&[date]);
        stock.0.wake.notified().await;
        assert_eq!(stock.take(), [date]);
        assert!(stock.take().is_empty());
        let woken = tokio::time::timeout(Duration::from_millis(1), stock.0.wake.notified()).await;
        assert!(woken.is_err(), "woken without a mark");
        stock.changed(&[date]);
        stock.0.wake.notified().await;
    }
}

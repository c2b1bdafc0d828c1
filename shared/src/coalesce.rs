//! Batching by arrival.
//!
//! ```text
//!                          ┌─▶ lane [ batch under way ] ─┐
//!   callers ──▶ inbox ─────┤                             ├──▶ each caller its own outcome
//!                 ▲        └─▶ lane [ batch under way ] ─┘
//!                 └── what arrives while every lane is busy forms the next batch
//! ```
//!
//! An idle coalescer runs its batch at once, with whoever is on this thread's heels; a busy one grows its batches to
//! what arrived meanwhile, up to [`Shape::max`]. Few go together behind the batch that is under way, unless that takes
//! long ([`LONG`]); a crowd of [`Shape::crowd`] goes beside it, while a lane is free. Outcomes come back in the order of the items.
//! Invariants, and who keeps them:
//!
//! - items go to batches in the order of arrival: the inbox is a channel, and a free lane takes from
//!   its front. With several lanes the batches themselves overlap;
//! - a caller hears its outcome when its batch has ended, not before: `run` has returned by then;
//! - a caller that goes away before its batch begins takes its item along; later it does not: the
//!   batch is under way;
//! - a batch that fails, or panics, fails for each of its items and for no others; the lane goes on;
//! - the inbox is bounded: past [`Shape::waiting`] items callers wait, and the request's own time
//!   limit ends the wait;
//! - when the last handle is dropped the lanes finish what was handed in, and end.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

/// How wide and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Batches under way at the same time, at most.
    pub lanes: usize,
    /// Items with which a batch begins beside another; a batch has its price, which fewer would not be worth.
    pub crowd: usize,
    /// Items in a batch.
    pub max: usize,
    /// Items that wait in the inbox.
    pub waiting: usize,
}

/// A batch that takes longer does not hold up anybody: it may be stuck.
const LONG: Duration = Duration::from_millis(50);

/// Runs batches; see the module. `I` item, `O` its outcome, `E` the error of a whole batch.
pub struct Coalescer<I, O, E> {
    inbox: mpsc::Sender<Waiting<I, O, E>>,
    traffic: Arc<Traffic>,
}

/// What a free lane has to know of the others.
struct Traffic {
    crowd: usize,
    /// Batches under way.
    busy: AtomicUsize,
    /// A batch has ended, or there is a crowd. At most one lane waits for it: the one that has the inbox.
    changed: Notify,
}

/// A batch under way, however it ends.
struct UnderWay(Arc<Traffic>);

/// What drives one lane. Ends when every handle of its coalescer is gone.
pub type Lane = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Waiting<I, O, E> {
    item: I,
    answer: oneshot::Sender<Result<O, E>>,
}

type Inbox<I, O, E> = Arc<Mutex<mpsc::Receiver<Waiting<I, O, E>>>>;

/// There is no outcome: the process is stopping, or the batch panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no outcome: the service is stopping, or failed")]
pub struct Unanswered;

impl<I, O, E> Coalescer<I, O, E>
where
    I: Send + 'static,
    O: Send + 'static,
    E: Clone + Send + 'static,
{
    /// A coalescer and its lanes, each to be spawned. `run` must answer with one outcome per item,
    /// in their order.
    pub fn new<F, Fut>(shape: Shape, run: F) -> (Self, Vec<Lane>)
    where
        F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<O>, E>> + Send + 'static,
    {
        let (inbox, outbox) = mpsc::channel(shape.waiting);
        let (outbox, run) = (Arc::new(Mutex::new(outbox)), Arc::new(run));
        let (busy, changed) = (AtomicUsize::new(0), Notify::new());
        let traffic = Arc::new(Traffic { crowd: shape.crowd, busy, changed });
        let lane = |_| -> Lane { Box::pin(drive(outbox.clone(), shape.max, traffic.clone(), run.clone())) };
        let lanes = (0..shape.lanes).map(lane).collect();
        (Self { inbox, traffic }, lanes)
    }

    /// Hands one item in and waits for its outcome.
    pub async fn submit(&self, item: I) -> Result<Result<O, E>, Unanswered> {
        let (answer, outcome) = oneshot::channel();
        self.inbox.send(Waiting { item, answer }).await.map_err(|_| Unanswered)?;
        if self.inbox.max_capacity() - self.inbox.capacity() >= self.traffic.crowd {
            self.traffic.changed.notify_one();
        }
        outcome.await.map_err(|_| Unanswered)
    }
}

impl Traffic {
    /// Until a batch may begin: alone, with a crowd, or beside one that takes long.
    async fn opening<T>(&self, inbox: &mpsc::Receiver<T>) {
        let opening = async {
            while self.busy.load(Ordering::Acquire) > 0 && inbox.len() < self.crowd {
                self.changed.notified().await;
            }
        };
        drop(tokio::time::timeout(LONG, opening).await);
    }

    fn begin(self: Arc<Self>) -> UnderWay {
        self.busy.fetch_add(1, Ordering::AcqRel);
        UnderWay(self)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

async fn drive<I, O, E, F, Fut>(inbox: Inbox<I, O, E>, max: usize, traffic: Arc<Traffic>, run: Arc<F>)
where
    E: Clone,
    F: Fn(Vec<I>) -> Fut,
    Fut: Future<Output = Result<Vec<O>, E>>,
{
    loop {
        let mut arrived = Vec::new();
        let under_way;
        {
            let mut inbox = inbox.lock().await;
            traffic.opening(&inbox).await;
            if inbox.recv_many(&mut arrived, max).await == 0 {
                return;
            }
            // The first of a crowd wakes this lane before the others have had their turn.
            tokio::task::yield_now().await;
            while arrived.len() < max
                && let Ok(waiting) = inbox.try_recv()
            {
                arrived.push(waiting);
            }
            under_way = traffic.clone().begin();
        }
        arrived.retain(|waiting| !waiting.answer.is_closed());
        if arrived.is_empty() {
            continue;
        }
        let (items, answers): (Vec<I>, Vec<_>) = arrived.into_iter().map(|w| (w.item, w.answer)).unzip();
        // What is dropped unsent tells its caller that there is no outcome; who went away needs none.
        match AssertUnwindSafe(async { run(items).await }).catch_unwind().await {
            Ok(Ok(outcomes)) if outcomes.len() == answers.len() => {
                answers.into_iter().zip(outcomes).for_each(|(to, outcome)| drop(to.send(Ok(outcome))));
            }
            Ok(Err(error)) => answers.into_iter().for_each(|to| drop(to.send(Err(error.clone())))),
            Ok(Ok(outcomes)) => {
                tracing::error!(items = answers.len(), outcomes = outcomes.len(), "a batch lost count");
            }
            Err(_) => tracing::error!(items = answers.len(), "a batch panicked"),
        }
        drop(under_way);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test of concurrency spawns")]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    const SHAPE: Shape = Shape { lanes: 1, crowd: 1, max: 64, waiting: 1000 };

    /// A coalescer whose batches wait for a permit each, and the sizes of those that began.
    struct Gated {
        coalescer: Arc<Coalescer<u64, u64, &'static str>>,
        gate: Arc<Semaphore>,
        begun: Arc<std::sync::Mutex<Vec<Vec<u64>>>>,
        lanes: Vec<tokio::task::JoinHandle<()>>,
    }

    /// 13 panics, 14 fails its batch, 15 loses an outcome.
    fn gated(shape: Shape) -> Gated {
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::default());
        let (key, log) = (gate.clone(), Arc::<std::sync::Mutex<Vec<Vec<u64>>>>::clone(&begun));
        let (coalescer, lanes) = Coalescer::new(shape, move |items: Vec<u64>| {
            log.lock().unwrap().push(items.clone());
            let key = key.clone();
            async move {
                key.acquire().await.unwrap().forget();
                assert!(!items.contains(&13), "as the test wants it");
                if items.contains(&14) {
                    return Err("no");
                }
                let outcomes = items.iter().filter(|item| **item != 15).map(|item| item * 2);
                Ok(outcomes.collect())
            }
        });
        let lanes = lanes.into_iter().map(tokio::spawn).collect();
        Gated { coalescer: Arc::new(coalescer), gate, begun, lanes }
    }

    impl Gated {
        fn submit(
            &self,
            item: u64,
        ) -> tokio::task::JoinHandle<Result<Result<u64, &'static str>, Unanswered>> {
            let coalescer = self.coalescer.clone();
            tokio::spawn(async move { coalescer.submit(item).await })
        }

        /// What has begun, once that many batches have.
        async fn until_begun(&self, batches: usize) -> Vec<Vec<u64>> {
            let begun = async {
                while self.begun.lock().unwrap().len() < batches {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), begun).await.expect("they begin");
            settle().await;
            self.begun.lock().unwrap().clone()
        }
    }

    /// Everybody who can go on has gone on: there is one thread.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_arrives_during_a_batch_forms_the_next_in_the_order_of_arrival() {
        let all = gated(SHAPE);
        let first = all.submit(1);
        assert_eq!(all.until_begun(1).await, [vec![1]], "an idle one begins at once");
        let later: Vec<_> = (100..200).map(|item| all.submit(item)).collect();
        settle().await;
        assert!(!first.is_finished(), "nobody hears anything before the batch has ended");
        all.gate.add_permits(3);
        assert_eq!(first.await.unwrap(), Ok(Ok(2)));
        for (item, outcome) in (100..200).zip(later) {
            assert_eq!(outcome.await.unwrap(), Ok(Ok(item * 2)), "each its own");
        }
        let expected = [vec![1], (100..164).collect(), (164..200).collect::<Vec<u64>>()];
        assert_eq!(all.until_begun(3).await, expected);
    }

    /// Two batches are under way, the third waits for either.
    #[tokio::test]
    async fn lanes_run_side_by_side_and_take_from_one_line() {
        let all = gated(Shape { lanes: 2, ..SHAPE });
        let first = all.submit(1);
        all.until_begun(1).await;
        let second = all.submit(2);
        all.until_begun(2).await;
        let rest = [all.submit(3), all.submit(4)];
        settle().await;
        assert_eq!(all.until_begun(2).await, [vec![1], vec![2]]);
        all.gate.add_permits(1);
        assert_eq!(all.until_begun(3).await, [vec![1], vec![2], vec![3, 4]]);
        all.gate.add_permits(2);
        for (task, outcome) in [first, second].into_iter().chain(rest).zip([2, 4, 6, 8]) {
            assert_eq!(task.await.unwrap(), Ok(Ok(outcome)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_go_behind_the_batch_that_is_under_way_and_a_crowd_goes_beside_it() {
        let all = gated(Shape { lanes: 2, crowd: 3, ..SHAPE });
        let mut tasks = vec![all.submit(1)];
        all.until_begun(1).await;
        tasks.extend([all.submit(2), all.submit(3)]);
        settle().await;
        assert_eq!(all.until_begun(1).await, [vec![1]]);
        tasks.push(all.submit(4));
        assert_eq!(all.until_begun(2).await, [vec![1], vec![2, 3, 4]]);
        tasks.push(all.submit(5));
        all.gate.add_permits(1);
        settle().await;
        assert_eq!(all.until_begun(2).await.len(), 2, "one of the two is under way still");
        all.gate.add_permits(1);
        assert_eq!(all.until_begun(3).await, [vec![1], vec![2, 3, 4], vec![5]]);
        all.gate.add_permits(1);
        for (task, item) in tasks.into_iter().zip(1..) {
            assert_eq!(task.await.unwrap(), Ok(Ok(item * 2)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_go_beside_a_batch_that_is_stuck() {
        let all = gated(Shape { lanes: 2, crowd: 3, ..SHAPE });
        let tasks = [1, 2].map(|item| all.submit(item));
        all.until_begun(1).await;
        let later = all.submit(3);
        settle().await;
        assert_eq!(all.until_begun(1).await, [vec![1, 2]]);
        tokio::time::sleep(LONG).await;
        assert_eq!(all.until_begun(2).await, [vec![1, 2], vec![3]]);
        all.gate.add_permits(2);
        assert_eq!(later.await.unwrap(), Ok(Ok(6)));
        for task in tasks {
            task.await.unwrap().unwrap().unwrap();
        }
    }

    /// A batch that panics or is given up makes room like any other
    #[tokio::test]
    async fn few_do_not_wait_for_a_batch_that_has_panicked() {
        let all = gated(Shape { lanes: 2, crowd: 3, ..SHAPE });
        let lost = all.submit(13);
        all.until_begun(1).await;
        let next = all.submit(2);
        settle().await;
        all.gate.add_permits(2);
        assert_eq!(lost.await.unwrap(), Err(Unanswered));
        assert_eq!(next.await.unwrap(), Ok(Ok(4)));
    }

    #[tokio::test]
    async fn a_failed_or_panicking_batch_fails_its_own_items_only() {
        let all = gated(Shape { max: 2, ..SHAPE });
        let first = all.submit(1);
        all.until_begun(1).await;
        let rest: Vec<_> = [2, 14, 3, 13, 15, 4, 5, 6].into_iter().map(|item| all.submit(item)).collect();
        settle().await;
        all.gate.add_permits(5);
        assert_eq!(first.await.unwrap(), Ok(Ok(2)));
        let mut outcomes = Vec::new();
        for task in rest {
            outcomes.push(task.await.unwrap());
        }
        let (failed, lost) = (Ok(Err("no")), Err(Unanswered));
        assert_eq!(outcomes, [failed, failed, lost, lost, lost, lost, Ok(Ok(10)), Ok(Ok(12))]);
    }

    #[tokio::test]
    async fn who_goes_away_before_the_batch_is_left_out_and_later_is_not() {
        let all = gated(SHAPE);
        let under_way = all.submit(1);
        all.until_begun(1).await;
        let (gone, stays) = (all.submit(2), all.submit(3));
        settle().await;
        under_way.abort();
        gone.abort();
        settle().await;
        all.gate.add_permits(2);
        assert_eq!(stays.await.unwrap(), Ok(Ok(6)));
        assert_eq!(all.until_begun(2).await, [vec![1], vec![3]]);
    }

    #[tokio::test]
    async fn a_full_inbox_makes_callers_wait_and_loses_nobody() {
        let all = gated(Shape { max: 1, waiting: 1, ..SHAPE });
        let tasks: Vec<_> = (0..20).map(|item| all.submit(item * 100)).collect();
        settle().await;
        assert_eq!(all.begun.lock().unwrap().len(), 1);
        all.gate.add_permits(20);
        for (item, task) in (0..20).zip(tasks) {
            assert_eq!(task.await.unwrap(), Ok(Ok(item * 200)));
        }
    }

    #[tokio::test]
    async fn at_the_end_what_was_handed_in_is_finished() {
        let all = gated(Shape { lanes: 2, ..SHAPE });
        let first = all.submit(1);
        all.until_begun(1).await;
        let tasks = [first, all.submit(2), all.submit(3)];
        settle().await;
        let Gated { coalescer, gate, lanes, .. } = all;
        drop(coalescer);
        gate.add_permits(3);
        for task in tasks {
            assert!(task.await.unwrap().is_ok());
        }
        for lane in lanes {
            tokio::time::timeout(Duration::from_secs(5), lane).await.expect("the lane ends").unwrap();
        }
    }

    #[tokio::test]
    async fn a_lane_that_was_dropped_tells_its_callers() {
        let (coalescer, lanes) = Coalescer::<u64, u64, ()>::new(SHAPE, |_| std::future::pending());
        let waits = coalescer.submit(1);
        drop(lanes);
        assert_eq!(waits.await, Err(Unanswered));
    }

    /// Whoever is handed in is served after those before and not after those behind: of 1,000 callers,
    /// each there again as soon as it was answered, nobody sees more than the others go first.
    #[tokio::test]
    async fn nobody_is_overtaken() {
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let shape = Shape { lanes: 2, crowd: 10, max: 50, waiting: 2000 };
        let (coalescer, lanes) = Coalescer::<(), usize, ()>::new(shape, move |items: Vec<()>| {
            let first = count.fetch_add(items.len(), Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok((first..).take(items.len()).collect())
            }
        });
        for lane in lanes {
            tokio::spawn(lane);
        }
        let coalescer = Arc::new(coalescer);
        let callers = (0..1000).map(|_| {
            let (coalescer, served) = (coalescer.clone(), served.clone());
            tokio::spawn(async move {
                let mut most = 0;
                for _ in 0..20 {
                    let before = served.load(Ordering::SeqCst);
                    let turn = coalescer.submit(()).await.unwrap().unwrap();
                    most = most.max(turn.saturating_sub(before));
                }
                most
            })
        });
        let all = futures_util::future::join_all(callers.collect::<Vec<_>>()).await;
        let most = all.into_iter().map(Result::unwrap).max().unwrap();
        assert!(most <= 1000, "{most} went before somebody");
        assert_eq!(served.load(Ordering::SeqCst), 20_000);
    }
}

//! Batching by arrival.
//!
//! ```text
//!   callers ──▶ inbox ──▶ [ batch in flight ] ──▶ each caller its own outcome
//!                 ▲              │
//!                 └── what arrives meanwhile forms the next batch
//! ```
//!
//! No timer: an idle coalescer runs a batch of one at once; a busy one grows its batches to what
//! arrived while the last was under way, up to `max`. Outcomes come back in the order of the
//! items. Invariants, and who keeps them:
//!
//! - items go to the batch in the order of arrival: the inbox is a channel;
//! - a caller that goes away does not take its item back: the batch may be under way already;
//! - a batch that fails, fails for each of its items with the same error, and for no others;
//! - the inbox is bounded: past `waiting` items callers wait, and the request's own time limit
//!   ends the wait.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

/// Runs batches one after another; see the module. `I` item, `O` its outcome, `E` the batch's error.
pub struct Coalescer<I, O, E> {
    inbox: mpsc::Sender<Waiting<I, O, E>>,
}

struct Waiting<I, O, E> {
    item: I,
    answer: oneshot::Sender<Result<O, E>>,
}

/// The coalescer's task has ended: the process is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the service is stopping")]
pub struct Stopped;

impl<I, O, E> Coalescer<I, O, E>
where
    I: Send + 'static,
    O: Send + 'static,
    E: Clone + Send + 'static,
{
    /// A coalescer and the task that drives it. The task ends when every handle is gone. `run`
    /// must answer with one outcome per item, in their order.
    pub fn new<F, Fut>(max: usize, waiting: usize, run: F) -> (Self, impl Future<Output = ()> + Send)
    where
        F: Fn(Vec<I>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<O>, E>> + Send,
    {
        let (inbox, outbox) = mpsc::channel(waiting);
        (Self { inbox }, drive(outbox, max, run))
    }

    /// Hands one item in and waits for its outcome.
    pub async fn submit(&self, item: I) -> Result<Result<O, E>, Stopped> {
        let (answer, outcome) = oneshot::channel();
        self.inbox.send(Waiting { item, answer }).await.map_err(|_| Stopped)?;
        outcome.await.map_err(|_| Stopped)
    }
}

async fn drive<I, O, E, F, Fut>(mut inbox: mpsc::Receiver<Waiting<I, O, E>>, max: usize, run: F)
where
    E: Clone,
    F: Fn(Vec<I>) -> Fut,
    Fut: Future<Output = Result<Vec<O>, E>>,
{
    let mut arrived = Vec::with_capacity(max);
    while inbox.recv_many(&mut arrived, max).await > 0 {
        let (items, answers): (Vec<I>, Vec<_>) = arrived.drain(..).map(|w| (w.item, w.answer)).unzip();
        // A caller that went away does not need its answer.
        match run(items).await {
            Ok(outcomes) => answers.into_iter().zip(outcomes).for_each(|(to, o)| drop(to.send(Ok(o)))),
            Err(error) => answers.into_iter().for_each(|to| drop(to.send(Err(error.clone())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test of concurrency spawns")]
    async fn what_arrives_during_a_batch_forms_the_next_and_everybody_gets_their_own() {
        let batches = Arc::new(AtomicUsize::new(0));
        let count = batches.clone();
        let (coalescer, task) = Coalescer::<u64, u64, ()>::new(64, 1000, move |items: Vec<u64>| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                Ok(items.into_iter().map(|item| item * 2).collect())
            }
        });
        tokio::spawn(task);
        let all = futures_util::future::join_all((0..100).map(|item| coalescer.submit(item))).await;
        let expected: Vec<_> = (0..100).map(|item| Ok(Ok(item * 2))).collect();
        assert_eq!(all, expected);
        assert!(batches.load(Ordering::SeqCst) <= 4, "100 items in batches of 64 and what fits");
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test of concurrency spawns")]
    async fn a_failed_batch_fails_its_own_items_only() {
        let (coalescer, task) =
            Coalescer::<bool, (), &'static str>::new(8, 8, |items: Vec<bool>| async move {
                if items.contains(&false) { Err("no") } else { Ok(vec![(); items.len()]) }
            });
        tokio::spawn(task);
        assert_eq!(coalescer.submit(false).await, Ok(Err("no")));
        assert_eq!(coalescer.submit(true).await, Ok(Ok(())));
    }
}

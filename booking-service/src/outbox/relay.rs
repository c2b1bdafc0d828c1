//! The loop that tells the queue service.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::json;
use shared::lifecycle::Lifecycle;
use tokio::time::Instant;
use uuid::Uuid;

use super::Outbox;
use super::store::{self, Message};
use crate::db::{self, Db};
use crate::metrics;
use crate::queue_service::QueueService;
use crate::retry::{jittered, longer};
use crate::rounds::{self, Mood};

const BATCH: i64 = 500;
const IDLE: Duration = Duration::from_millis(500);
const LEASE: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const TIDY_EVERY: Duration = Duration::from_secs(15);

/// Starts the relay.
pub fn run(lifecycle: &Lifecycle, outbox: &Outbox, service: QueueService) {
    let mut relay = Relay { db: outbox.db.clone(), service, queues: HashMap::new() };
    let wake = outbox.wake.clone();
    lifecycle.spawn_loop("relay of completions", async move {
        let mut mood = Mood::new("outbox");
        loop {
            let outcome = relay.round().await;
            mood.note(&outcome);
            if !matches!(outcome, Ok(true)) {
                let idle = jittered(IDLE.mul_f64(0.8), IDLE.mul_f64(1.2));
                // Whether woken or not, the next round looks; the time-out is no failure.
                drop(tokio::time::timeout(idle, wake.notified()).await);
            }
        }
    });
    let db = outbox.db.clone();
    rounds::every(lifecycle, "old completions", TIDY_EVERY, move || {
        let db = db.clone();
        async move {
            let mut lane = db.lane().await?;
            store::drop_moot(&mut lane, db.offset_ms()).await?;
            metrics::level(metrics::OUTBOX_WAITING, store::waiting(&mut lane).await?.cast_unsigned());
            db::Result::Ok(false)
        }
    });
}

/// How one queue has been answering.
#[derive(Default)]
struct Standing {
    failures: u32,
    rests_until: Option<Instant>,
}

struct Relay {
    db: Db,
    service: QueueService,
    queues: HashMap<String, Standing>,
}

impl Relay {
    /// One batch; `true` when there may be more at once.
    async fn round(&mut self) -> db::Result<bool> {
        let now = now();
        let resting: Vec<String> = self
            .queues
            .iter()
            .filter(|(_, standing)| standing.rests_until.is_some_and(|until| until > now))
            .map(|(queue, _)| queue.clone())
            .collect();
        let messages = store::lease(&mut *self.db.lane().await?, BATCH, LEASE, &resting).await?;
        let full = messages.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
        let mut by_queue: BTreeMap<String, Vec<Message>> = BTreeMap::new();
        for message in messages {
            by_queue.entry(message.queue.clone()).or_default().push(message);
        }
        for (queue, batch) in by_queue {
            self.tell(&queue, &batch).await?;
        }
        Ok(full)
    }

    async fn tell(&mut self, queue: &str, batch: &[Message]) -> db::Result<()> {
        let ids: Vec<Uuid> = batch.iter().map(|message| message.id).collect();
        let jtis: Vec<&str> = batch.iter().map(|message| message.jti.as_str()).collect();
        let path = format!("/internal/v1/queues/{queue}/completions");
        let outcome = self.service.tell(&path, &json!({ "jtis": jtis }), CALL_LIMIT).await;
        let standing = self.queues.entry(queue.to_owned()).or_default();
        let mut lane = self.db.lane().await?;
        match outcome {
            Ok(()) => {
                store::delivered(&mut lane, &ids).await?;
                metrics::many(metrics::DELIVERED, ids.len() as u64);
                for message in batch {
                    metrics::seconds(metrics::OUTBOX_LAG, message.age_seconds);
                }
                if standing.failures > 0 {
                    tracing::info!(queue, "completions are heard again");
                    *standing = Standing::default();
                    store::hasten(&mut lane, queue).await?;
                }
            }
            Err(error) => {
                metrics::one(metrics::DELIVERY_FAILURES);
                if standing.failures == 0 {
                    tracing::warn!(queue, %error, "completions are not heard; trying on");
                }
                let pause = longer(FIRST_PAUSE, LONGEST_PAUSE, standing.failures);
                standing.failures = standing.failures.saturating_add(1);
                standing.rests_until = Some(now() + pause);
                store::put_off(&mut lane, &ids, pause).await?;
            }
        }
        Ok(())
    }
}

/// The monotonic clock: how long a queue rests on this replica.
fn now() -> Instant {
    Instant::now()
}

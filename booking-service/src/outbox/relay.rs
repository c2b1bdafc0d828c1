//! The loop that tells the queue service.
//!
//! ```text
//!   look: which queues have messages? ─▶ one task a queue, at most WIDTH at once
//!   task: lease the oldest ─ lane given back ─ POST ─ delivered · released · put aside
//! ```
//!
//! A queue that does not answer holds a task of its own for [`CALL_LIMIT`] and then rests; those that
//! failed last time share half of the width. Whatever is under way, the relay uses one connection
//! ([`Desk`]), its own. Its commits do not wait for the disk, nor the sale's for them: a lease or a deletion that a
//! crash of the database loses is a message told twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use shared::lifecycle::Lifecycle;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::Outbox;
use super::model::{Fate, Standing, Verdict};
use super::store::{self, Message};
use crate::crash;
use crate::db::{self, Db, Lane};
use crate::metrics;
use crate::queue_service::QueueService;
use crate::retry::{jittered, longer};
use crate::rounds::{self, Mood};

/// Queues that are told at the same time.
const WIDTH: usize = 16;
const IDLE: Duration = Duration::from_millis(500);
/// At least between two looks: what arrives in between goes together.
const GATHER: Duration = Duration::from_millis(20);
const LEASE: Duration = Duration::from_secs(5);
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// The database, too, may go without a word.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
const TELL_LIMIT: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Until a message that was refused for good is tried again.
const ASIDE: Duration = Duration::from_secs(600);
const MEASURE_EVERY: Duration = Duration::from_secs(2);
const TIDY_EVERY: Duration = Duration::from_secs(15);

/// Starts the relay. `db`: commits need not outlive a crash ([`Db::unflushed`]).
pub fn run(lifecycle: &Lifecycle, outbox: &Outbox, db: Db, service: QueueService) {
    let desk = Desk { db, turn: Arc::default() };
    let relay = Relay {
        desk: desk.clone(),
        service: Arc::new(service),
        standings: HashMap::new(),
        telling: JoinSet::new(),
        busy: HashMap::new(),
    };
    lifecycle.spawn_loop("relay of completions", relay.run(outbox.wake.clone()));
    let measured = desk.clone();
    rounds::every(lifecycle, "state of the outbox", MEASURE_EVERY, move || {
        let desk = measured.clone();
        async move {
            measure(&desk).await?;
            db::Result::Ok(false)
        }
    });
    rounds::every(lifecycle, "old completions", TIDY_EVERY, move || {
        let desk = desk.clone();
        async move {
            store::drop_moot(&mut desk.turn().await?.lane, desk.db.offset_ms()).await?;
            db::Result::Ok(false)
        }
    });
}

async fn measure(desk: &Desk) -> db::Result<()> {
    let mut turn = desk.turn().await?;
    let (waiting, aside) = store::counts(&mut turn.lane).await?;
    let queues = store::queues(&mut turn.lane).await?;
    let oldest = queues.iter().filter_map(|queue| queue.oldest_seconds).fold(0.0, f64::max);
    metrics::level(metrics::OUTBOX_WAITING, waiting);
    metrics::level(metrics::OUTBOX_ASIDE, aside);
    metrics::amount(metrics::OUTBOX_OLDEST, oldest);
    Ok(())
}

/// The relay's way to the database: one after the other.
#[derive(Clone)]
struct Desk {
    db: Db,
    turn: Arc<Mutex<()>>,
}

struct Turn {
    lane: Lane,
    _turn: OwnedMutexGuard<()>,
}

impl Desk {
    async fn turn(&self) -> db::Result<Turn> {
        let turn = self.turn.clone().lock_owned().await;
        Ok(Turn { lane: self.db.lane().await?, _turn: turn })
    }
}

struct Relay {
    desk: Desk,
    service: Arc<QueueService>,
    /// Of the queues that nobody is telling now.
    standings: HashMap<String, Standing>,
    telling: JoinSet<Told>,
    /// The queues in `telling`, and whether they failed last time.
    busy: HashMap<String, bool>,
}

/// What came of the telling of one queue.
struct Told {
    queue: String,
    standing: Standing,
    outcome: db::Result<()>,
}

impl Relay {
    async fn run(mut self, wake: Arc<Notify>) {
        let mut mood = Mood::new("outbox");
        loop {
            let look = within(LOOK_LIMIT, self.look()).await;
            mood.note(&look);
            tokio::time::sleep(GATHER).await;
            let idle = jittered(IDLE.mul_f64(0.8), IDLE.mul_f64(1.2));
            let mut done = tokio::select! {
                () = wake.notified() => None,
                done = self.telling.join_next(), if !self.telling.is_empty() => done,
                () = tokio::time::sleep(idle) => None,
            };
            while let Some(told) = done.or_else(|| self.telling.try_join_next()) {
                // A task that panicked has said so; the loop ends, and with it the process.
                let Ok(told) = told else { return };
                mood.note(&told.outcome);
                self.busy.remove(&told.queue);
                self.standings.insert(told.queue, told.standing);
                done = None;
            }
        }
    }

    /// Begins to tell the queues that have messages: those first that heard last time, and of these the
    /// one that waits longest, so that none is passed over for ever when there are more than WIDTH.
    async fn look(&mut self) -> db::Result<()> {
        let waiting = store::queues(&mut self.desk.turn().await?.lane).await?;
        self.standings.retain(|name, standing| {
            standing.is_failing() || waiting.iter().any(|waiting| waiting.queue == *name)
        });
        let is_failing = |queue: &str| self.standings.get(queue).is_some_and(Standing::is_failing);
        let (failing, sound): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| waiting.queue).partition(|queue| is_failing(queue));
        let now = now();
        for queue in sound.into_iter().chain(failing) {
            let standing = self.standings.entry(queue.clone()).or_default();
            let slow = self.busy.values().filter(|failing| **failing).count();
            let full = self.busy.len() >= WIDTH || (standing.is_failing() && slow >= WIDTH / 2);
            if full || standing.rests(now) || self.busy.contains_key(&queue) {
                continue;
            }
            let standing = std::mem::take(standing);
            self.busy.insert(queue.clone(), standing.is_failing());
            let teller = Teller { desk: self.desk.clone(), service: self.service.clone(), queue, standing };
            self.telling.spawn(teller.tell());
        }
        Ok(())
    }
}

/// Tells one queue, once.
struct Teller {
    desk: Desk,
    service: Arc<QueueService>,
    queue: String,
    standing: Standing,
}

impl Teller {
    async fn tell(mut self) -> Told {
        let outcome = within(TELL_LIMIT, async {
            self.tell_line().await?;
            if self.standing.is_failing() { Ok(()) } else { self.tell_aside().await }
        });
        let outcome = outcome.await;
        Told { queue: self.queue, standing: self.standing, outcome }
    }

    /// The oldest messages in line.
    async fn tell_line(&mut self) -> db::Result<()> {
        let batch = self.standing.batch();
        let messages = store::lease(&mut self.desk.turn().await?.lane, &self.queue, batch, LEASE).await?;
        if messages.is_empty() {
            return Ok(());
        }
        crash::point("relay.leased")?;
        let (verdict, error) = self.call(&messages).await;
        crash::point("relay.told")?;
        let was_failing = self.standing.is_failing();
        let pause = |failures| longer(FIRST_PAUSE, LONGEST_PAUSE, failures);
        let fate = self.standing.note(verdict, messages.len(), now(), pause);
        self.log(verdict, &error, was_failing, &messages);
        self.settle(fate, &messages).await?;
        crash::point("relay.settled")
    }

    /// One message that stands aside, when it is due.
    async fn tell_aside(&mut self) -> db::Result<()> {
        let message = store::lease_aside(&mut self.desk.turn().await?.lane, &self.queue, LEASE).await?;
        let Some(message) = message else { return Ok(()) };
        let heard = self.call(std::slice::from_ref(&message)).await.0 == Verdict::Heard;
        self.settle(if heard { Fate::Delivered } else { Fate::Aside }, &[message]).await
    }

    /// The call itself; no lane is held meanwhile.
    async fn call(&self, messages: &[Message]) -> (Verdict, String) {
        let jtis: Vec<&str> = messages.iter().map(|message| message.jti.as_str()).collect();
        let path = format!("/internal/v1/queues/{}/completions", self.queue);
        let body = json!({ "jtis": jtis });
        let answer: reqwest::Result<Released> = self.service.exchange(&path, &body, CALL_LIMIT).await;
        match answer {
            Ok(Released { .. }) => (Verdict::Heard, String::new()),
            Err(error) => {
                metrics::one(metrics::DELIVERY_FAILURES);
                (Verdict::of(error.status().map(|status| status.as_u16())), error.to_string())
            }
        }
    }

    async fn settle(&self, fate: Fate, messages: &[Message]) -> db::Result<()> {
        let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
        let mut turn = self.desk.turn().await?;
        match fate {
            Fate::Delivered => {
                store::delivered(&mut turn.lane, &ids).await?;
                metrics::many(metrics::DELIVERED, ids.len() as u64);
                for message in messages {
                    metrics::seconds(metrics::OUTBOX_LAG, message.age_seconds);
                }
            }
            Fate::Released => store::release(&mut turn.lane, &ids).await?,
            Fate::Aside => {
                for id in ids {
                    store::put_aside(&mut turn.lane, id, jittered(ASIDE, ASIDE.mul_f64(1.2))).await?;
                }
                metrics::one(metrics::PUT_ASIDE);
            }
        }
        Ok(())
    }

    fn log(&mut self, verdict: Verdict, error: &str, was_failing: bool, messages: &[Message]) {
        let queue = &self.queue;
        match (verdict, messages) {
            (Verdict::Heard, _) if was_failing => tracing::info!(queue, "completions are heard again"),
            (Verdict::Later(Some(401 | 403)), _) if self.standing.is_news(verdict) => {
                tracing::error!(queue, error, "SERVICE_TOKEN is not the queue service's; trying on");
            }
            (Verdict::Later(_), _) if self.standing.is_news(verdict) => {
                tracing::warn!(queue, error, "completions are not heard; trying on");
            }
            (Verdict::Never(_), [message]) => {
                tracing::error!(queue, id = %message.id, error, "a completion is refused for good; put aside");
            }
            _ => {}
        }
    }
}

/// What the queue service says when it has heard; nothing else is taken for that.
#[derive(Deserialize)]
struct Released {
    #[expect(dead_code, reason = "that it is there is what counts")]
    released: u64,
}

async fn within<T>(limit: Duration, work: impl Future<Output = db::Result<T>>) -> db::Result<T> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(db::Error::Unavailable("no answer in time".to_owned())))
}

/// The monotonic clock: how long a queue rests on this replica.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

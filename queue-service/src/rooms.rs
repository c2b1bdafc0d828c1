//! The rooms of this replica: one per queue, opened when the queue is first heard of.
//!
//! A queue made through another replica is heard of within a second, or at its first request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use shared::clock::Clock;
use shared::lifecycle::Lifecycle;

use crate::admission;
use crate::line::{self, Room};
use crate::queues::{QueueId, Queues};
use crate::redis::{Redis, StoreError};

const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// All rooms. Clones share them.
#[derive(Clone)]
pub struct Rooms {
    inner: Arc<Inner>,
}

struct Inner {
    queues: Queues,
    redis: Redis,
    clock: Clock,
    lifecycle: Lifecycle,
    /// Read at each request, so without a lock.
    open: ArcSwap<HashMap<QueueId, Arc<Room>>>,
    /// Held by who opens one.
    opening: Mutex<()>,
}

impl Rooms {
    /// Without rooms; `listen` opens those of the queues that exist.
    pub fn new(queues: Queues, redis: Redis, clock: Clock, lifecycle: Lifecycle) -> Self {
        Self {
            inner: Arc::new(Inner {
                queues,
                redis,
                clock,
                lifecycle,
                open: ArcSwap::default(),
                opening: Mutex::default(),
            }),
        }
    }

    /// The room of a queue, or `None` when there is no such queue.
    pub async fn get(&self, id: &QueueId) -> Result<Option<Arc<Room>>, StoreError> {
        if let Some(room) = self.at_hand(id.as_str()) {
            return Ok(Some(room));
        }
        Ok(self.inner.queues.exists(id).await?.then(|| self.open(id)))
    }

    /// Opens the room of a queue that exists.
    pub fn open(&self, id: &QueueId) -> Arc<Room> {
        let inner = &self.inner;
        let _opening = inner.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = self.at_hand(id.as_str()) {
            return room;
        }
        let (queues, redis, clock) = (inner.queues.clone(), inner.redis.clone(), inner.clock.clone());
        let room = Room::open(id.clone(), queues, redis, clock, &inner.lifecycle);
        let mut open = HashMap::clone(&inner.open.load());
        open.insert(id.clone(), room.clone());
        inner.open.store(Arc::new(open));
        inner.lifecycle.spawn_loop("admission", admission::run(room.clone()));
        inner.lifecycle.spawn_loop("view", line::follow(room.clone()));
        inner.lifecycle.spawn_loop("signs of life", line::beat(room.clone()));
        inner.lifecycle.spawn_loop("silence", line::sweep(room.clone()));
        room
    }

    /// Hears of new queues until dropped.
    pub async fn listen(self) {
        loop {
            match self.inner.queues.ids().await {
                Ok(ids) => {
                    for id in ids.iter().filter(|id| self.at_hand(id.as_str()).is_none()) {
                        if let Err(error) = self.get(id).await {
                            tracing::debug!(queue = id.as_str(), %error, "cannot open a room");
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot list queues"),
            }
            tokio::time::sleep(LISTEN_EVERY).await;
        }
    }

    /// The rooms that are open.
    pub fn all(&self) -> Vec<Arc<Room>> {
        self.inner.open.load().values().cloned().collect()
    }

    /// The room of that name, when it is open.
    pub fn at_hand(&self, id: &str) -> Option<Arc<Room>> {
        self.inner.open.load().get(id).cloned()
    }
}

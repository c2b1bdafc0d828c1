//! Queues: their settings, their state, and who runs on this replica for each of them.
//!
//! ```text
//!             pause ┌────────┐ drain ┌──────────┐ close ┌────────┐
//!   open ──────────▶│ paused │       │ draining │       │ closed │
//!    ▲              └────────┘       └──────────┘       └────────┘
//!    └───────────────── resume ends each of the three ──────┘
//! ```
//!
//! `opens_at` in the future makes an open queue *scheduled*; `closes_at` in the past makes any
//! queue *closed*. Invariants, and who keeps them:
//!
//! - settings change whole or not at all: [`Settings::checked`] and one script;
//! - every script reads settings and state from Redis, so a change holds for the next step of
//!   every replica, and no replica acts on an old copy;
//! - `PUT` never changes what an operator stopped: the script leaves that field alone.

pub mod http;
pub mod model;
pub mod recent;
pub mod settings;
pub(crate) mod store;

use std::sync::Arc;

use shared::clock::Clock;

use crate::keys::{Keyspace, QueueKeys};
use crate::redis::{Redis, StoreError, When};
pub use model::{QueueId, Report, Stop};
pub use settings::Settings;

/// The queues of one Redis.
#[derive(Clone)]
pub struct Queues {
    redis: Redis,
    keyspace: Keyspace,
    clock: Clock,
}

impl Queues {
    pub fn new(redis: Redis, keyspace: Keyspace, clock: Clock) -> Self {
        Self { redis, keyspace, clock }
    }

    /// The keys of a queue.
    pub fn keys(&self, id: &QueueId) -> QueueKeys {
        self.keyspace.queue(id.as_str())
    }

    /// Whether the queue has been made.
    pub async fn exists(&self, id: &QueueId) -> Result<bool, StoreError> {
        store::exists(&self.redis, &self.keyspace, id).await
    }

    /// All queues, in the order of their ids.
    pub async fn ids(&self) -> Result<Vec<QueueId>, StoreError> {
        store::ids(&self.redis, &self.keyspace).await
    }

    /// Creates a queue or changes its settings; true when it is new.
    pub async fn put(&self, id: &QueueId, settings: &Settings) -> Result<bool, StoreError> {
        store::put(&self.redis, &self.keyspace, id, settings, When::now(&self.clock)).await
    }

    /// Pauses, drains, closes or (with `None`) resumes a queue.
    pub async fn stop(&self, id: &QueueId, stop: Option<Stop>) -> Result<(), StoreError> {
        store::stop(&self.redis, &self.keys(id), When::now(&self.clock), stop).await
    }

    /// The numbers of a queue at this moment.
    pub async fn report(&self, id: &QueueId) -> Result<Arc<Report>, StoreError> {
        store::report(&self.redis, &self.keys(id), When::now(&self.clock)).await.map(Arc::new)
    }

    /// Gives a store that has lost a queue the settings that this replica remembers.
    pub async fn regain(&self, id: &QueueId, settings: &[String]) -> Result<bool, StoreError> {
        store::regain(&self.redis, &self.keyspace, id, settings).await
    }

    /// Whether Redis answers.
    pub async fn reachable(&self) -> Result<(), StoreError> {
        store::ping(&self.redis).await
    }
}

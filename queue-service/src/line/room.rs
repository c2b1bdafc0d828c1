//! What one replica has running for one queue, and the verbs of the line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shared::clock::Clock;
use shared::coalesce::{Coalescer, Stopped};
use shared::lifecycle::Lifecycle;
use tokio::sync::Notify;

use super::model::{Ended, Scene, Standing};
use super::store::{self, Look, Seen, Verdict};
use crate::keys::QueueKeys;
use crate::queues::QueueId;
use crate::redis::{Redis, StoreError, When};

/// Requests in one script call; keeps a call around a millisecond.
const BATCH: usize = 256;
/// Requests that may wait for the next call.
const BACKLOG: usize = 8_192;

/// A queue on this replica.
pub struct Room {
    pub id: QueueId,
    pub keys: QueueKeys,
    pub clock: Clock,
    pub redis: Redis,
    /// Rung when something happened that admission may act on.
    pub bell: Notify,
    /// Whether the last step of admission left anybody in line.
    pub crowded: AtomicBool,
    joins: Coalescer<String, Seen, StoreError>,
    looks: Coalescer<Look, Seen, StoreError>,
}

/// A live place and the queue around it.
#[derive(Clone, Debug)]
pub struct Stay {
    pub user: String,
    pub place: u64,
    pub standing: Standing,
    pub scene: Arc<Scene>,
    /// Made by this call.
    pub fresh: bool,
}

/// Why a verb of the line was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the queue is closed")]
    Closed,
    #[error("the queue is draining")]
    Draining,
    #[error("the user is in line already")]
    AlreadyInQueue,
    #[error("the place has ended")]
    Ended(Ended),
    #[error("the user has no place")]
    NoPlace,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Room {
    /// Opens a room: its batches run until the process stops.
    pub fn open(
        id: QueueId,
        keys: QueueKeys,
        redis: Redis,
        clock: Clock,
        lifecycle: &Lifecycle,
    ) -> Arc<Self> {
        let context = (redis.clone(), keys.clone(), clock.clone());
        let (joins, run_joins) = Coalescer::new(BATCH, BACKLOG, move |users: Vec<String>| {
            let (redis, keys, clock) = context.clone();
            async move { store::join(&redis, &keys, When::now(&clock), &users).await }
        });
        let context = (redis.clone(), keys.clone(), clock.clone());
        let (looks, run_looks) = Coalescer::new(BATCH, BACKLOG, move |looks: Vec<Look>| {
            let (redis, keys, clock) = context.clone();
            async move { store::look(&redis, &keys, When::now(&clock), &looks).await }
        });
        lifecycle.spawn_support("joins", run_joins);
        lifecycle.spawn_support("polls", run_looks);
        let (bell, crowded) = (Notify::new(), AtomicBool::new(true));
        Arc::new(Self { id, keys, clock, redis, bell, crowded, joins, looks })
    }

    /// Takes a place in line, or finds the one the user has.
    pub async fn join(&self, user: &str) -> Result<Stay, Refusal> {
        let seen = self.joins.submit(user.to_owned()).await??;
        let stay = stay(user, seen).map_err(|refusal| match refusal {
            Refusal::Ended(Ended::QueueClosed) => Refusal::Closed,
            other => other,
        })?;
        if stay.fresh {
            self.crowded.store(true, Ordering::Relaxed);
            self.bell.notify_one();
        }
        Ok(stay)
    }

    /// Polls: the standing of a place (or of whatever place the user has), and a sign of life.
    pub async fn look(&self, user: &str, place: Option<u64>) -> Result<Stay, Refusal> {
        let seen = self.looks.submit(Look { user: user.to_owned(), place }).await??;
        stay(user, seen)
    }

    /// Ends a stay. Leaving twice is leaving once.
    pub async fn leave(&self, user: &str, place: Option<u64>) -> Result<(), StoreError> {
        let look = Look { user: user.to_owned(), place };
        if store::leave(&self.redis, &self.keys, When::now(&self.clock), &look).await? {
            self.bell.notify_one();
        }
        Ok(())
    }
}

fn stay(user: &str, Seen { scene, verdict }: Seen) -> Result<Stay, Refusal> {
    match verdict {
        Verdict::Stands { place, standing, fresh } => {
            Ok(Stay { user: user.to_owned(), place, standing, scene, fresh })
        }
        Verdict::Ended(ended) => Err(Refusal::Ended(ended)),
        Verdict::NoPlace => Err(Refusal::NoPlace),
        Verdict::AlreadyInQueue => Err(Refusal::AlreadyInQueue),
        Verdict::Draining => Err(Refusal::Draining),
    }
}

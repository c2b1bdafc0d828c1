//! The state of the service: what handlers work with.

use std::ops::Deref;
use std::sync::Arc;

use shared::clock::Clock;
use shared::lifecycle::Lifecycle;
use shared::limits::Limits;
use shared::problem::Problem;
use shared::secrets::SecretsConfig;
use shared::tokens::user::UserTokens;

use crate::entry::EntryTokens;
use crate::line::Room;
use crate::line::token::QueueTokens;
use crate::queues::{QueueId, Queues};
use crate::redis::{Redis, StoreError};
use crate::refusals;
use crate::rooms::Rooms;

/// What handlers work with. A clone is a reference.
#[derive(Clone)]
pub struct App(Arc<Parts>);

pub struct Parts {
    pub queues: Queues,
    pub rooms: Rooms,
    pub redis: Redis,
    pub entry_tokens: EntryTokens,
    pub queue_tokens: QueueTokens,
    pub users: UserTokens,
    pub limits: Arc<Limits>,
    pub secrets: SecretsConfig,
    pub clock: Clock,
    pub lifecycle: Lifecycle,
}

impl From<Parts> for App {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// The room of the queue that a path names.
    pub async fn room(&self, queue: Option<&str>) -> Result<Arc<Room>, Problem> {
        if let Some(room) = queue.and_then(|queue| self.rooms.at_hand(queue)) {
            return Ok(room);
        }
        let room = match queue.and_then(QueueId::parse) {
            Some(id) => Box::pin(self.rooms.get(&id)).await?,
            None => None,
        };
        room.ok_or_else(|| Problem::new(&refusals::QUEUE_NOT_FOUND, "There is no such queue."))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            // Asked through a room, so there was one: the store was emptied, and gets it back (`follower.rs`).
            StoreError::NoQueue => Problem::unavailable("queue's store", "it has lost the queue"),
            StoreError::OrderFixed => {
                Problem::invalid_field("order", "people are in line in the present order")
                    .renamed(&refusals::INVALID_SETTINGS)
            }
            StoreError::Failed(cause) => Problem::unavailable("queue's store", cause),
        }
    }
}

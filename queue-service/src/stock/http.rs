//! Stock on the wire.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::extract::RawBody;
use shared::problem::Problem;

use super::{Stock, Taken};
use crate::app::App;
use crate::caller::Service;
use crate::queues::QueueId;
use crate::redis::{StoreError, When};

/// Beyond it scripts are not exact, nor are most readers of JSON.
const MOST_REMAINING: u64 = (1 << 53) - 1;

/// Body of a count.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Count {
    /// The moment of the count, by the clock of the store that was counted; a later one wins.
    as_of: DateTime<Utc>,
    items: Vec<CountOfQueue>,
}

/// What is left in one queue.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct CountOfQueue {
    queue: String,
    remaining: u64,
    /// All sold, and nothing held that might come back.
    sold_out: bool,
}

/// How many counts were taken; unknown queues and earlier counts are not.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CountTaken {
    taken: u64,
}

/// `POST /internal/v1/stock`
pub async fn stock(State(app): State<App>, _: Service, body: RawBody) -> Result<Json<CountTaken>, Problem> {
    let Count { as_of, items } = body.parse()?;
    if items.iter().any(|item| item.remaining > MOST_REMAINING) {
        return Err(Problem::invalid_field("items", "remaining must be below 2^53"));
    }
    let mut taken = 0;
    for item in items {
        let Some(id) = QueueId::parse(&item.queue) else { continue };
        let Some(room) = app.rooms.get(&id).await? else { continue };
        let stock = Stock { remaining: item.remaining, sold_out: item.sold_out, as_of };
        match super::stock(&room.redis, &room.keys, When::now(&room.clock), &stock).await {
            Ok(Taken::TooLate) | Err(StoreError::NoQueue) => continue,
            Ok(Taken::Noted) => {}
            Ok(Taken::Closed) => {
                tracing::info!(queue = id.as_str(), "sold out: the queue is closed");
                room.bell.notify_one();
            }
            Err(error) => return Err(error.into()),
        }
        taken += 1;
    }
    Ok(Json(CountTaken { taken }))
}

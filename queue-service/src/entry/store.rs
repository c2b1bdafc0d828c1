//! The streams of revocations, one a queue, read as one feed.

use std::collections::BTreeMap;

use redis::Cmd;
use redis::streams::StreamRangeReply;
use serde::Serialize;

use crate::queues::{QueueId, Queues};
use crate::redis::{Redis, StoreError};

/// A token that opens nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Revocation {
    pub queue: String,
    pub jti: String,
    /// When the token would have ended by itself, in seconds since 1970.
    pub exp: i64,
}

/// How far a reader has come, per queue: the id of the last stream entry it has seen.
pub type FeedCursor = BTreeMap<String, String>;

/// A part of the feed.
pub struct Part {
    /// Those still in force.
    pub items: Vec<Revocation>,
    /// Behind the last one read, in force or not.
    pub cursor: FeedCursor,
    /// Whether there may be more.
    pub full: bool,
}

/// Up to `limit` revocations after `cursor`, oldest first.
///
/// A stream's ids begin with the millisecond of Redis, which orders the streams among each other.
pub async fn revocations(
    redis: &Redis,
    queues: &Queues,
    ids: &[QueueId],
    cursor: &FeedCursor,
    limit: usize,
    now: i64,
) -> Result<Part, StoreError> {
    let commands = ids.iter().map(|id| {
        let after = cursor.get(id.as_str()).map_or_else(|| "-".to_owned(), |seen| format!("({seen}"));
        Cmd::xrange_count(queues.keys(id).revoked(), after, "+", limit)
    });
    let replies: Vec<StreamRangeReply> = redis.query_each(&commands.collect::<Vec<_>>()).await?;
    let mut entries = Vec::new();
    for (id, reply) in ids.iter().zip(replies) {
        for entry in reply.ids {
            let jti: Option<String> = entry.get("jti");
            let exp: Option<i64> = entry.get("exp");
            if let (Some(order), Some(jti), Some(exp)) = (order(&entry.id), jti, exp) {
                entries.push((order, entry.id, Revocation { queue: id.as_str().to_owned(), jti, exp }));
            }
        }
    }
    entries.sort_by_key(|(order, ..)| *order);
    entries.truncate(limit);
    let full = entries.len() >= limit;
    let mut cursor = cursor.clone();
    for (_, id, revocation) in &entries {
        cursor.insert(revocation.queue.clone(), id.clone());
    }
    let live = entries.into_iter().map(|(.., revocation)| revocation).filter(|r| r.exp > now);
    Ok(Part { items: live.collect(), cursor, full })
}

fn order(id: &str) -> Option<(u64, u64)> {
    let (ms, sequence) = id.split_once('-')?;
    Some((ms.parse().ok()?, sequence.parse().ok()?))
}

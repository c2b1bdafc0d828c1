//! Reads the admission log.

use redis::streams::{StreamId, StreamRangeReply};

use super::model::{Entry, How, Order};
use crate::keys::{Keyspace, QueueKeys};
use crate::queues::QueueId;
use crate::redis::{Redis, StoreError};

const PAGE: usize = 1_000;

pub async fn ids(redis: &Redis, keyspace: &Keyspace) -> Result<Vec<QueueId>, StoreError> {
    crate::queues::store::ids(redis, keyspace).await
}

/// The whole of the log, oldest first, and what its order is judged by.
pub async fn read(redis: &Redis, keys: &QueueKeys) -> Result<(Vec<Entry>, Order), StoreError> {
    let pipeline = redis::pipe().hmget(keys.settings(), &["order", "seed", "commitment"]).clone();
    let ((kind, seed, commitment),): ((Option<String>, Option<String>, Option<String>),) =
        redis.query(&pipeline).await?;
    let is_lottery = kind.as_deref() == Some("lottery");
    let draw = seed.zip(commitment).filter(|_| is_lottery);
    let (mut entries, mut after) = (Vec::new(), "-".to_owned());
    loop {
        let page = redis::pipe().xrange_count(keys.log(), after, "+", PAGE).clone();
        let (page,): (StreamRangeReply,) = redis.query(&page).await?;
        let Some(last) = page.ids.last() else { break };
        after = format!("({}", last.id);
        let parsed = page.ids.iter().map(|id| entry(id).ok_or_else(|| garbled(&id.id)));
        entries.extend(parsed.collect::<Result<Vec<_>, _>>()?);
    }
    Ok((entries, Order { draw }))
}

fn entry(id: &StreamId) -> Option<Entry> {
    let text = |name: &str| id.get::<String>(name);
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    let one = |word: &str| word.parse().ok();
    let out = |word: &str| match word.split_once('@') {
        Some((place, at)) => Some((place.parse().ok()?, Some(at.parse().ok()?))),
        None => Some((word.strip_suffix('!')?.parse().ok()?, None)),
    };
    Some(Entry {
        at_ms: id.id.split_once('-')?.0.parse().ok()?,
        let_in: text("in")?.split_whitespace().map(one).collect::<Option<_>>()?,
        how: How::parse(&text("how")?)?,
        users: number("users"),
        every_ms: number("every_ms").and_then(|ms: u64| i64::try_from(ms).ok()),
        max_active: number("max_active"),
        ended: text("out")?.split_whitespace().map(out).collect::<Option<_>>()?,
        active: number("active")?,
        epoch: number("epoch")?,
        commitment: text("commitment").unwrap_or_default(),
        drawn: text("drawn")?.split_whitespace().map(one).collect::<Option<_>>()?,
    })
}

fn garbled(id: &str) -> StoreError {
    StoreError::Failed(format!("the log's entry {id} cannot be read").into())
}

//! The loops that keep [`EndedEntries`] near the truth.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use shared::lifecycle::Lifecycle;
use tokio::time::Instant;

use super::{EndedEntries, Entry, REMEMBERED, store};
use crate::db::{self, Db};
use crate::queue_service::QueueService;
use crate::{metrics, rounds};

const SPENT_EVERY: Duration = Duration::from_millis(300);
const REVOKED_EVERY: Duration = Duration::from_millis(500);
const FORGET_EVERY: Duration = Duration::from_secs(30);
const FEED_LIMIT: Duration = Duration::from_secs(2);

/// `spent_at` is set before its transaction commits: every round overlaps the last by so much, and reads the same
/// stretch of time again when no transaction of then can be under way any more.
const OVERLAP: Duration = Duration::from_secs(1);
const AGAIN_AFTER: Duration = Duration::from_secs(40);
/// From the reading at the start to the first round, at the most.
const START: Duration = Duration::from_secs(10);

/// Takes in what was spent before this process began.
pub async fn load(db: &Db, ended: &EndedEntries) -> db::Result<()> {
    let now = db.clock().unix_seconds();
    let limit = i64::try_from(REMEMBERED).unwrap_or(i64::MAX);
    ended.spent(&store::in_force(&mut *db.lane().await?, now, limit).await?);
    Ok(())
}

/// Follows what other replicas spend.
pub fn follow_spent(lifecycle: &Lifecycle, db: Db, ended: EndedEntries) {
    // When the last round began; after one that failed all is read.
    let last = Arc::new(Mutex::new(Instant::now().checked_sub(START)));
    rounds::every(lifecycle, "spent entry tokens", SPENT_EVERY, move || {
        let (db, ended, last) = (db.clone(), ended.clone(), last.clone());
        async move {
            let begun = Instant::now();
            let before = last.lock().unwrap_or_else(PoisonError::into_inner).take();
            match before {
                None => load(&db, &ended).await?,
                Some(before) => {
                    let stretch = begun.duration_since(before) + OVERLAP;
                    ended.spent(&store::since(&mut *db.lane().await?, stretch, AGAIN_AFTER).await?);
                }
            }
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
            db::Result::Ok(false)
        }
    });
}

/// Forgets what has expired, here and in the table.
pub fn forget_expired(lifecycle: &Lifecycle, db: Db, ended: EndedEntries) {
    rounds::every(lifecycle, "expired entry tokens", FORGET_EVERY, move || {
        let (db, ended) = (db.clone(), ended.clone());
        async move {
            let now = db.clock().unix_seconds();
            metrics::level(metrics::ENDED_ENTRIES, ended.forget_expired(now));
            store::forget(&mut *db.lane().await?, now).await?;
            db::Result::Ok(false)
        }
    });
}

/// A page of the queue service's feed.
#[derive(Deserialize)]
struct Revocations {
    items: Vec<Revoked>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Revoked {
    queue: String,
    jti: String,
    exp: i64,
}

/// Follows what the queue service takes back.
pub fn follow_revoked(lifecycle: &Lifecycle, feed: QueueService, ended: EndedEntries) {
    let feed = Arc::new(feed);
    let cursor = Arc::new(Mutex::new(None::<String>));
    rounds::every(lifecycle, "the feed of revoked entry tokens", REVOKED_EVERY, move || {
        let (feed, ended, cursor) = (feed.clone(), ended.clone(), cursor.clone());
        async move {
            let from = cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let page = match page(&feed, from.as_deref()).await {
                // A cursor that the queue service no longer knows: from the beginning.
                Err(error) if from.is_some() && error.status().is_some_and(|s| s.is_client_error()) => {
                    *cursor.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return Err(error);
                }
                page => page?,
            };
            let entries: Vec<Entry> = page
                .items
                .into_iter()
                .map(|item| Entry { jti: item.jti, queue: item.queue, exp: item.exp })
                .collect();
            ended.revoked(&entries);
            let moved = page.next_cursor.is_some() && page.next_cursor != from;
            if moved {
                *cursor.lock().unwrap_or_else(PoisonError::into_inner) = page.next_cursor;
            }
            Ok::<_, reqwest::Error>(moved && !entries.is_empty())
        }
    });
}

async fn page(feed: &QueueService, cursor: Option<&str>) -> reqwest::Result<Revocations> {
    let mut path = "/internal/v1/revocations".to_owned();
    if let Some(cursor) = cursor {
        let encoded: String = cursor.bytes().map(escaped).collect();
        path = format!("{path}?cursor={encoded}");
    }
    feed.ask(&path, FEED_LIMIT).await
}

fn escaped(byte: u8) -> String {
    match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

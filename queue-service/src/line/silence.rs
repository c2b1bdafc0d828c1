//! Finds silent people anywhere in line, so that those behind them move up within a second.
//!
//! A replica reads the strings of `seen` (four bytes a place, 4 MB for a million people) and looks
//! for old signs of life in its own memory; only what looks silent is handed to `lapse.lua`, which
//! judges again. Redis so never scans the line. Every replica sweeps; twice is harmless.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::room::Room;
use super::store::{self, Extent};
use crate::keys::{SEEN_CHUNK, SEEN_EPOCH_MS};
use crate::redis::{StoreError, When};

const PAUSE: Duration = Duration::from_millis(250);
/// Places handed to one script call.
const BATCH: usize = 300;

/// Sweeps a room's line until dropped.
pub async fn run(room: Arc<Room>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if !room.crowded.load(Ordering::Relaxed) {
            continue;
        }
        if let Err(error) = sweep(&room).await {
            tracing::debug!(queue = room.id.as_str(), %error, "cannot sweep for silence");
        }
    }
}

/// One pass over the line; how many people lapsed.
pub async fn sweep(room: &Room) -> Result<u64, StoreError> {
    let extent = store::extent(&room.redis, &room.keys).await?;
    let Some((first, last)) = extent.chunks else { return Ok(0) };
    let Some(oldest) = oldest_sign_of_life(&extent, room.clock.offset_ms()) else { return Ok(0) };
    let mut lapsed = 0;
    for chunk in first..=last {
        let bytes = store::seen(&room.redis, &room.keys, chunk).await?;
        let places = silent_places(&bytes, chunk, oldest);
        for batch in places.chunks(BATCH) {
            lapsed += store::lapse(&room.redis, &room.keys, When::now(&room.clock), batch).await?;
        }
    }
    if lapsed > 0 {
        room.bell.notify_one();
    }
    Ok(lapsed)
}

/// Signs of life before this are too old, in tenths of seconds; `None` when nothing is.
fn oldest_sign_of_life(extent: &Extent, offset_ms: i64) -> Option<u32> {
    let now = extent.now_ms + offset_ms;
    if extent.waiting_ttl_ms == 0 || extent.opens_at_ms.is_some_and(|at| now < at + extent.waiting_ttl_ms) {
        return None;
    }
    u32::try_from((now - extent.waiting_ttl_ms - SEEN_EPOCH_MS) / 100).ok()
}

/// Places whose sign of life is older than `oldest`; zero is nobody.
fn silent_places(bytes: &[u8], chunk: u64, oldest: u32) -> Vec<u64> {
    let (words, _) = bytes.as_chunks::<4>();
    let seen = words.iter().map(|word| u32::from_be_bytes(*word));
    let places = (chunk * SEEN_CHUNK..).zip(seen);
    places.filter(|(_, seen)| (1..oldest).contains(seen)).map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_signs_of_life_are_silent() {
        let bytes: Vec<u8> = [50u32, 0, 99, 100, 40].iter().flat_map(|seen| seen.to_be_bytes()).collect();
        assert_eq!(silent_places(&bytes, 0, 100), [0, 2, 4]);
        assert_eq!(silent_places(&bytes, 2, 100), [131_072, 131_074, 131_076]);
    }

    #[test]
    fn nobody_is_silent_before_the_opening_has_lasted_as_long_as_the_ttl() {
        let extent = |opens_at_ms| Extent {
            now_ms: SEEN_EPOCH_MS + 60_000,
            waiting_ttl_ms: 10_000,
            opens_at_ms,
            chunks: Some((0, 0)),
        };
        assert_eq!(oldest_sign_of_life(&extent(None), 0), Some(500));
        assert_eq!(oldest_sign_of_life(&extent(Some(SEEN_EPOCH_MS + 55_000)), 0), None);
        assert_eq!(oldest_sign_of_life(&extent(Some(SEEN_EPOCH_MS + 50_000)), 0), Some(500));
    }
}

//! Writes the signs of life that this replica has gathered, and finds silent people anywhere in line, so
//! that those behind them move up.
//!
//! A replica reads the strings of `seen` (four bytes a place, 4 MB for a million people) into its own signs
//! and looks there for old ones; only what looks silent is handed to `lapse.lua`, which judges again.
//! Redis so never scans the line. Every replica sweeps; twice is harmless.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::feed::{self, LaneNumbers};
use super::model::Scene;
use super::room::Room;
use super::signs::{GRACE_MS, Rhythm, beats};
use super::store;
use crate::keys::{LANE, SEEN_CHUNK, SEEN_EPOCH_MS};
use crate::redis::{StoreError, When};

const BEAT_EVERY: Duration = Duration::from_millis(200);
/// Where people lapse sooner, every round writes everything.
const UNHURRIED_MS: u64 = 20_000;
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// A long line is swept less often: a chunk is a quarter of a megabyte.
const PER_CHUNK: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Places handed to one script call.
const BATCH: usize = 300;

/// Writes a room's signs of life until dropped.
pub async fn beat(room: Arc<Room>) {
    for round in 0_u64.. {
        tokio::time::sleep(BEAT_EVERY).await;
        let lapses_late =
            room.view.scene().is_some_and(|scene| !(1..UNHURRIED_MS).contains(&scene.waiting_ttl_ms));
        let rhythm = if lapses_late { Rhythm::InTurns(round) } else { Rhythm::All };
        for beat in beats(room.signs.take_unwritten(rhythm), room.view.now_ms()) {
            let when = When::now(&room.clock);
            if let Err(error) = feed::beat(&room.redis, &room.keys, when, &beat).await {
                tracing::debug!(queue = room.id.as_str(), %error, "cannot write signs of life");
                room.signs.give_back(&beat);
            }
        }
    }
}

/// Sweeps a room's line until dropped.
pub async fn sweep(room: Arc<Room>) {
    let mut pause = SWEEP_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        pause = SWEEP_EVERY;
        if !room.crowded.load(Ordering::Relaxed) {
            room.signs.keep(|_| false);
            continue;
        }
        match sweep_once(&room).await {
            Ok(chunks) => pause = (PER_CHUNK * chunks).clamp(SWEEP_EVERY, LONGEST_PAUSE),
            Err(error) => tracing::debug!(queue = room.id.as_str(), %error, "cannot sweep for silence"),
        }
    }
}

/// One pass over the line; how many chunks it has.
async fn sweep_once(room: &Room) -> Result<u32, StoreError> {
    let Some(scene) = room.view.scene() else { return Ok(0) };
    let chunks = chunks_of(&room.view.lanes());
    room.signs.keep(|chunk| chunks.contains(&chunk));
    if scene.waiting_ttl_ms == 0 {
        return Ok(0);
    }
    let oldest = oldest_sign_of_life(&scene, room.view.now_ms());
    let mut lapsed = 0;
    for chunk in &chunks {
        let bytes = feed::seen(&room.redis, &room.keys, *chunk).await?;
        let seen = room.signs.merge(*chunk, &bytes);
        let Some(oldest) = oldest else { continue };
        let places = (chunk * SEEN_CHUNK..).zip(seen).filter(|(_, seen)| (1..oldest).contains(seen));
        let places: Vec<u64> = places.map(|(place, _)| place).filter(|place| room.view.has(*place)).collect();
        for batch in places.chunks(BATCH) {
            lapsed += store::lapse(&room.redis, &room.keys, When::now(&room.clock), batch).await?;
        }
    }
    if lapsed > 0 {
        room.bell.notify_one();
    }
    Ok(u32::try_from(chunks.len()).unwrap_or(u32::MAX))
}

/// The chunks that may hold anybody, of all lanes.
fn chunks_of(lanes: &[LaneNumbers]) -> Vec<u64> {
    let chunks = |(lane, numbers): (u64, &LaneNumbers)| {
        let base = lane * (LANE / SEEN_CHUNK);
        base + numbers.floor..=base + numbers.last / SEEN_CHUNK
    };
    (0..).zip(lanes).flat_map(chunks).collect()
}

/// Signs of life before this are too old, in tenths of seconds; `None` when nothing is.
fn oldest_sign_of_life(scene: &Scene, now: i64) -> Option<u32> {
    let silence = i64::try_from(scene.waiting_ttl_ms).ok()? + GRACE_MS;
    if scene.silence_since().is_some_and(|at| now < at.timestamp_millis() + silence) {
        return None;
    }
    u32::try_from((now - silence - SEEN_EPOCH_MS) / 100).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_chunks_of_its_own() {
        let lanes =
            [LaneNumbers { last: 70_000, floor: 0, drawn: 0 }, LaneNumbers { last: 5, floor: 0, drawn: 0 }];
        assert_eq!(chunks_of(&lanes), [0, 1, LANE / SEEN_CHUNK]);
    }
}

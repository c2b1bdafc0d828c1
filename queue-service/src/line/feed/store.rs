//! Keys of the feed.

use std::sync::LazyLock;

use tokio::time::Instant;

use super::{Claim, Departure, Event, Heard, LaneNumbers, News};
use crate::keys::{QueueKeys, SEEN_CHUNK};
use crate::line::model::Admission;
use crate::line::signs::Beat;
use crate::line::store::{Header, scene};
use crate::redis::{Redis, Script, StoreError, When};

static FOLLOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../follow.lua")));
static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../beat.lua")));
static REGAIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../regain.lua")));

/// Admissions in one call.
const CLAIMS_PER_CALL: usize = 200;

/// How many departures one answer has at the most.
pub const MOST_DEPARTURES: usize = 1_000;

pub async fn follow(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    replica: &str,
    heard: &Heard,
) -> Result<News, StoreError> {
    type Answer = (Header, u64, u8, Vec<(u64, u64, u64, u64)>, Vec<Event>, Vec<String>);
    let asked_at = Instant::now();
    let args = [replica.to_owned(), heard.last.clone(), heard.version.clone()];
    let (header, others, newcomer, lanes, events, settings): Answer =
        redis.run(&FOLLOW, keys, when, &args).await?;
    let lanes = lanes.into_iter().map(|(_, last, floor, drawn)| LaneNumbers { last, floor, drawn });
    Ok(News {
        scene: scene(header)?,
        asked_at,
        others,
        is_newcomer: newcomer == 1,
        lanes: lanes.collect(),
        departures: events.into_iter().filter_map(Departure::parse).collect(),
        settings,
    })
}

/// Strings of `gone`, by the numbers of their chunks; an empty one = nobody is gone.
pub async fn gone(redis: &Redis, keys: &QueueKeys, chunks: &[u64]) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut pipeline = redis::pipe();
    for chunk in chunks {
        pipeline.get(keys.gone(*chunk));
    }
    redis.query(&pipeline).await
}

/// One string of `seen`: four bytes a place, from place `chunk` × [`SEEN_CHUNK`] on.
pub async fn seen(redis: &Redis, keys: &QueueKeys, chunk: u64) -> Result<Vec<u8>, StoreError> {
    let (bytes,): (Vec<u8>,) = redis.query(redis::pipe().get(keys.seen(chunk))).await?;
    debug_assert!(bytes.len() as u64 <= SEEN_CHUNK * 4);
    Ok(bytes)
}

/// Writes signs of life.
pub async fn beat(redis: &Redis, keys: &QueueKeys, when: When, beat: &Beat) -> Result<(), StoreError> {
    let mut args = vec![beat.seen.to_string()];
    for places in beat.places.chunk_by(|one, next| one / SEEN_CHUNK == next / SEEN_CHUNK) {
        args.extend([(places[0] / SEEN_CHUNK).to_string(), places.len().to_string()]);
        args.extend(places.iter().map(|place| format!("#{}", place % SEEN_CHUNK)));
    }
    let _done: u8 = redis.run(&BEAT, keys, when, &args).await?;
    Ok(())
}

/// Puts admissions back that the store has forgotten; how many were.
pub async fn regain(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    claims: &[Claim],
) -> Result<u64, StoreError> {
    let mut regained = 0;
    for claims in claims.chunks(CLAIMS_PER_CALL) {
        let six = |claim: &Claim| {
            let Admission { jti, admitted_at, iat, exp } = &claim.admission;
            let admitted_at = admitted_at.timestamp_millis().to_string();
            [
                claim.user.clone(),
                claim.place.to_string(),
                jti.clone(),
                admitted_at,
                iat.to_string(),
                exp.to_string(),
            ]
        };
        let args: Vec<String> = claims.iter().flat_map(six).collect();
        regained += redis.run::<u64>(&REGAIN, keys, when, &args).await?;
    }
    Ok(regained)
}

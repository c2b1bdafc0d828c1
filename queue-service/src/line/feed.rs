//! Keys of the line: what a replica asks to keep its view of the line, and what it gives back.

use std::sync::LazyLock;

use super::model::{Admission, Scene};
use super::signs::Sign;
use super::store::{Header, scene};
use crate::keys::{QueueKeys, SEEN_CHUNK};
use crate::redis::{Redis, Script, StoreError, When};

static FOLLOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("follow.lua")));
static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("beat.lua")));
static REGAIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("regain.lua")));

/// Places in one command; the words of a call must fit the stack of Lua.
const SIGNS_PER_CALL: usize = 1_500;
/// Admissions in one call.
const CLAIMS_PER_CALL: usize = 200;

/// What a replica has so far.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Id of the last departure; empty = it begins.
    pub last: String,
    /// Version of the settings.
    pub version: String,
}

/// What happened since.
#[derive(Debug)]
pub struct News {
    pub scene: Scene,
    /// Other replicas that follow.
    pub others: u64,
    /// The others may not have known of this replica.
    pub is_newcomer: bool,
    pub lanes: Vec<LaneNumbers>,
    pub departures: Vec<Departure>,
    /// Fields and values, when the version differs.
    pub settings: Vec<String>,
}

/// How far one lane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneNumbers {
    pub last: u64,
    /// The first chunk that counts; all before are gone.
    pub floor: u64,
    /// Numbers up to this one were drawn by lot.
    pub drawn: u64,
}

/// What one call of a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    pub id: String,
    pub at_ms: i64,
    pub moves: Vec<Move>,
    /// Places whose slots were given up.
    pub slots_ended: Vec<u64>,
}

/// What became of places in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Gone(u64),
    /// All of the place's lane, up to it.
    GoneThrough(u64),
    /// Lost and proven.
    Back(u64),
}

/// How many departures one answer has at the most.
pub const MOST_DEPARTURES: usize = 1_000;

type Event = (String, String, String);

pub async fn follow(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    replica: &str,
    heard: &Heard,
) -> Result<News, StoreError> {
    type Answer = (Header, u64, u8, Vec<(u64, u64, u64, u64)>, Vec<Event>, Vec<String>);
    let args = [replica.to_owned(), heard.last.clone(), heard.version.clone()];
    let (header, others, newcomer, lanes, events, settings): Answer =
        redis.run(&FOLLOW, keys, when, &args).await?;
    let lanes = lanes.into_iter().map(|(_, last, floor, drawn)| LaneNumbers { last, floor, drawn });
    Ok(News {
        scene: scene(header)?,
        others,
        is_newcomer: newcomer == 1,
        lanes: lanes.collect(),
        departures: events.into_iter().filter_map(departure).collect(),
        settings,
    })
}

fn departure((id, gone, ended): Event) -> Option<Departure> {
    let at_ms = id.split_once('-')?.0.parse().ok()?;
    let one = |word: &str| match word.as_bytes().first()? {
        b'<' => word[1..].parse().ok().map(Move::GoneThrough),
        b'+' => word[1..].parse().ok().map(Move::Back),
        _ => word.parse().ok().map(Move::Gone),
    };
    let slot = |word: &str| word.split_once('@')?.0.parse().ok();
    Some(Departure {
        at_ms,
        moves: gone.split_whitespace().filter_map(one).collect(),
        slots_ended: ended.split_whitespace().filter_map(slot).collect(),
        id,
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
pub async fn beat(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    chunk: u64,
    signs: &[Sign],
) -> Result<(), StoreError> {
    for signs in signs.chunks(SIGNS_PER_CALL) {
        let mut args = vec![chunk.to_string()];
        args.extend(signs.iter().flat_map(|(place, seen)| [place.to_string(), seen.to_string()]));
        let _done: u8 = redis.run(&BEAT, keys, when, &args).await?;
    }
    Ok(())
}

/// An admission that this replica has told somebody of.
#[derive(Clone, Debug)]
pub struct Claim {
    pub user: String,
    pub place: u64,
    pub admission: Admission,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_departure_says_who_left_who_is_back_and_which_slots_ended() {
        let event = ("1790000000007-3".to_owned(), "5 <9 +7".to_owned(), "3@1790000000000".to_owned());
        let moves = vec![Move::Gone(5), Move::GoneThrough(9), Move::Back(7)];
        let told = departure(event).unwrap();
        assert_eq!((told.at_ms, told.moves, told.slots_ended), (1_790_000_000_007, moves, vec![3]));
    }
}

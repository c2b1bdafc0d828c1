//! Keys of the line: what the verbs of the line ask Redis. `feed.rs` has what views ask.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use redis::Value;

use super::model::{Admission, Ended, Scene, Standing};
use crate::keys::QueueKeys;
use crate::queues::model::{Pace, QueueState};
use crate::queues::settings::{Lane, Rate};
use crate::redis::{Redis, Script, StoreError, When};

static JOIN: LazyLock<Script> = LazyLock::new(|| Script::once(include_str!("join.lua")));
static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("look.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("leave.lua")));
static LAPSE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lapse.lua")));

/// Whose place a poll asks for.
#[derive(Clone, Debug)]
pub struct Look {
    pub user: String,
    /// `None`: whatever place the user has.
    pub place: Option<u64>,
}

/// What a script said of one person, and of the queue at that moment.
#[derive(Clone, Debug)]
pub struct Seen {
    pub scene: Arc<Scene>,
    pub verdict: Verdict,
}

/// Whether a call made the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was there before.
    Known,
    /// It was made.
    Fresh,
    /// It was made, and ended the one that the user had.
    Replaced,
}

/// Who wants to join.
#[derive(Clone, Debug)]
pub struct Join {
    pub user: String,
    /// The lane that the user token claims; empty = everybody's.
    pub lane: String,
}

/// What leaving has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    Admission,
    PlaceInLine,
}

/// What a script said of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The person has a live place.
    Stands { place: u64, standing: Standing, news: News },
    /// The place has ended.
    Ended(Ended),
    /// The user has no live place.
    NoPlace,
    /// The queue's settings refuse a second join.
    AlreadyInQueue,
    /// Nobody may join any more.
    Draining,
}

pub async fn join(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    joins: &[Join],
) -> Result<Vec<Seen>, StoreError> {
    let args: Vec<String> = joins.iter().flat_map(|join| [join.user.clone(), join.lane.clone()]).collect();
    answers(redis.run(&JOIN, keys, when, &args).await?)
}

pub async fn look(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    looks: &[Look],
) -> Result<Vec<Seen>, StoreError> {
    let args: Vec<String> = looks.iter().flat_map(|look| [look.user.clone(), or_empty(look.place)]).collect();
    answers(redis.run(&LOOK, keys, when, &args).await?)
}

/// Ends a stay.
pub async fn leave(redis: &Redis, keys: &QueueKeys, when: When, look: &Look) -> Result<Left, StoreError> {
    let args = [look.user.clone(), or_empty(look.place)];
    let left: u8 = redis.run(&LEAVE, keys, when, &args).await?;
    Ok(match left {
        0 => Left::Nothing,
        1 => Left::Admission,
        _ => Left::PlaceInLine,
    })
}

/// Takes those of `places` out of line that are silent; how many were.
pub async fn lapse(redis: &Redis, keys: &QueueKeys, when: When, places: &[u64]) -> Result<u64, StoreError> {
    let args: Vec<String> = places.iter().map(u64::to_string).collect();
    redis.run(&LAPSE, keys, when, &args).await
}

fn or_empty(place: Option<u64>) -> String {
    place.map(|place| place.to_string()).unwrap_or_default()
}

/// Numbers and words of a header, as `prelude/answer.lua` has them.
pub type Header = ([i64; 14], [String; 3]);

fn answers((header, rows): (Header, Vec<Value>)) -> Result<Vec<Seen>, StoreError> {
    let scene = Arc::new(scene(header)?);
    let one = |row: &Value| Ok(Seen { scene: scene.clone(), verdict: verdict(row)? });
    rows.iter().map(one).collect()
}

/// The queue as a header tells it.
pub fn scene((numbers, words): Header) -> Result<Scene, StoreError> {
    let [
        now,
        opens_at,
        waiting,
        in_line,
        minute,
        five,
        waiting_ttl_ms,
        users,
        every_ms,
        claim_window_ms,
        hold_until,
        remaining,
        renews,
        silence_from,
    ] = numbers;
    let [state, redirect_url, lanes] = words;
    let natural = |number: i64| u64::try_from(number).unwrap_or_default();
    let rate = || {
        let every_seconds = u32::try_from(every_ms / 1000).ok()?;
        Some(Rate { users: u32::try_from(users).ok()?, every_seconds })
    };
    Ok(Scene {
        now: moment(now)?,
        state: QueueState::parse(&state).ok_or_else(|| garbled(&state))?,
        opens_at: (opens_at >= 0).then(|| moment(opens_at)).transpose()?,
        redirect_url: Some(redirect_url).filter(|url| !url.is_empty()),
        waiting: natural(waiting),
        in_line: natural(in_line),
        pace: Pace::from_milli(minute, five),
        waiting_ttl_ms: natural(waiting_ttl_ms),
        claim_window_ms: natural(claim_window_ms),
        rate: rate(),
        lanes: named_lanes(&lanes),
        is_held: now < hold_until,
        remaining: u64::try_from(remaining).ok(),
        renews: renews == 1,
        silence_from: (silence_from > 0).then(|| moment(silence_from)).transpose()?,
    })
}

/// From `name share name share`.
fn named_lanes(text: &str) -> Vec<Lane> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let lane =
        |pair: &[&str; 2]| Some(Lane { lane: pair[0].to_owned(), share_percent: pair[1].parse().ok()? });
    words.as_chunks::<2>().0.iter().filter_map(lane).collect()
}

fn verdict(row: &Value) -> Result<Verdict, StoreError> {
    let Value::Array(values) = row else { return Err(garbled("an answer")) };
    let word = |at: usize| match values.get(at) {
        Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).map_err(|_| garbled("a word")),
        _ => Err(garbled("a word")),
    };
    let number = |at: usize| match values.get(at) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    };
    let natural = |at| u64::try_from(number(at)).unwrap_or_default();
    let (place, position) = (natural(1), natural(2));
    let standing = match word(0)? {
        "scheduled" => Standing::Scheduled,
        "waiting" => Standing::Waiting { position },
        "active" => Standing::Active(Admission {
            jti: word(3)?.to_owned(),
            admitted_at: moment(number(4))?,
            iat: number(5),
            exp: number(6),
        }),
        "none" => return Ok(Verdict::NoPlace),
        "already_in_queue" => return Ok(Verdict::AlreadyInQueue),
        "queue_draining" => return Ok(Verdict::Draining),
        other => return Ended::parse(other).map(Verdict::Ended).ok_or_else(|| garbled(other)),
    };
    let news = match number(7) {
        1 => News::Fresh,
        2 => News::Replaced,
        _ => News::Known,
    };
    Ok(Verdict::Stands { place, standing, news })
}

pub fn moment(ms: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(ms).ok_or_else(|| garbled("a time"))
}

pub fn garbled(what: &str) -> StoreError {
    StoreError::Failed(format!("a script answered something unknown: {what}").into())
}

//! Keys of the line.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use redis::Value;

use super::model::{Admission, Ended, Scene, Standing};
use crate::keys::{QueueKeys, SEEN_CHUNK};
use crate::queues::model::{Pace, QueueState, Rate};
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

/// What a script said of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The person has a live place; `fresh` when this call made it.
    Stands { place: u64, standing: Standing, fresh: bool },
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
    users: &[String],
) -> Result<Vec<Seen>, StoreError> {
    answers(redis.run(&JOIN, keys, when, users).await?)
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

/// Ends a stay; false when there was none.
pub async fn leave(redis: &Redis, keys: &QueueKeys, when: When, look: &Look) -> Result<bool, StoreError> {
    let args = [look.user.clone(), or_empty(look.place)];
    redis.run(&LEAVE, keys, when, &args).await
}

/// Takes those of `places` out of line that are silent; how many were.
pub async fn lapse(redis: &Redis, keys: &QueueKeys, when: When, places: &[u64]) -> Result<u64, StoreError> {
    let args: Vec<String> = places.iter().map(u64::to_string).collect();
    redis.run(&LAPSE, keys, when, &args).await
}

/// What a sweep for silence needs to know about the line.
pub struct Extent {
    /// Time of Redis, ms since 1970.
    pub now_ms: i64,
    pub waiting_ttl_ms: i64,
    pub opens_at_ms: Option<i64>,
    /// The strings of `seen` that may hold anybody, by number; `None` when nobody is in line.
    pub chunks: Option<(u64, u64)>,
}

pub async fn extent(redis: &Redis, keys: &QueueKeys) -> Result<Extent, StoreError> {
    type Row = ((i64, i64), (Option<i64>, Option<String>), (Option<u64>, Option<u64>), u64);
    let pipeline = redis::pipe()
        .cmd("TIME")
        .cmd("HMGET")
        .arg(keys.settings())
        .arg(&["wait_ms", "opens_at"])
        .cmd("HMGET")
        .arg(keys.counters())
        .arg(&["seen_floor", "place"])
        .zcard(keys.waiting())
        .clone();
    let ((seconds, micros), (wait_ms, opens_at), (floor, last), waiting): Row =
        redis.query(&pipeline).await?;
    let last = last.unwrap_or_default();
    Ok(Extent {
        now_ms: seconds * 1000 + micros / 1000,
        waiting_ttl_ms: wait_ms.unwrap_or(0),
        opens_at_ms: opens_at.and_then(|text| text.parse().ok()),
        chunks: (waiting > 0).then(|| (floor.unwrap_or_default(), last / SEEN_CHUNK)),
    })
}

/// One string of `seen`: four bytes a place, from place `chunk` × [`SEEN_CHUNK`] on.
pub async fn seen(redis: &Redis, keys: &QueueKeys, chunk: u64) -> Result<Vec<u8>, StoreError> {
    let (bytes,): (Vec<u8>,) = redis.query(redis::pipe().get(keys.seen(chunk))).await?;
    debug_assert!(bytes.len() as u64 <= SEEN_CHUNK * 4);
    Ok(bytes)
}

fn or_empty(place: Option<u64>) -> String {
    place.map(|place| place.to_string()).unwrap_or_default()
}

type Header = (i64, String, i64, String, u64, u64, i64, i64, u64, i64, i64, u64);
type Answer = (String, u64, u64, String, i64, i64, i64, Option<u8>);

fn answers((header, rows): (Header, Vec<Value>)) -> Result<Vec<Seen>, StoreError> {
    let scene = Arc::new(scene(header)?);
    let one = |row: &Value| Ok(Seen { scene: scene.clone(), verdict: verdict(row)? });
    rows.iter().map(one).collect()
}

fn scene(header: Header) -> Result<Scene, StoreError> {
    let (
        now,
        state,
        opens_at,
        redirect_url,
        waiting,
        in_line,
        minute,
        five,
        waiting_ttl_ms,
        users,
        every_ms,
        claim_window_ms,
    ) = header;
    let rate = || {
        let every_seconds = u32::try_from(every_ms / 1000).ok()?;
        Some(Rate { users: u32::try_from(users).ok()?, every_seconds })
    };
    Ok(Scene {
        now: moment(now)?,
        state: QueueState::parse(&state).ok_or_else(|| garbled(&state))?,
        opens_at: (opens_at >= 0).then(|| moment(opens_at)).transpose()?,
        redirect_url: Some(redirect_url).filter(|url| !url.is_empty()),
        waiting,
        in_line,
        pace: Pace::from_milli(minute, five),
        waiting_ttl_ms,
        claim_window_ms,
        rate: if users < 0 { None } else { rate() },
    })
}

fn verdict(row: &Value) -> Result<Verdict, StoreError> {
    let Value::Array(values) = row else { return Err(garbled("an answer")) };
    let mut values = values.clone();
    values.resize(8, Value::Nil);
    let (kind, place, position, jti, admitted_at, iat, exp, fresh): Answer =
        redis::from_redis_value(Value::Array(values)).map_err(redis::RedisError::from)?;
    let standing = match kind.as_str() {
        "scheduled" => Standing::Scheduled,
        "waiting" => Standing::Waiting { position },
        "active" => Standing::Active(Admission { jti, admitted_at: moment(admitted_at)?, iat, exp }),
        "none" => return Ok(Verdict::NoPlace),
        "already_in_queue" => return Ok(Verdict::AlreadyInQueue),
        "queue_draining" => return Ok(Verdict::Draining),
        other => return Ended::parse(other).map(Verdict::Ended).ok_or_else(|| garbled(other)),
    };
    Ok(Verdict::Stands { place, standing, fresh: fresh == Some(1) })
}

fn moment(ms: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(ms).ok_or_else(|| garbled("a time"))
}

fn garbled(what: &str) -> StoreError {
    StoreError::Failed(format!("a script answered something unknown: {what}").into())
}

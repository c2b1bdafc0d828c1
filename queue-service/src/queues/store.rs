//! Keys of settings and numbers.

use std::sync::LazyLock;

use super::model::{Draw, LaneReport, Pace, QueueId, QueueState, Report, Stop};
use super::settings::Settings;
use crate::keys::{Keyspace, QueueKeys};
use crate::redis::{Redis, Script, StoreError, When};
use chrono::{DateTime, Utc};

static PUT: LazyLock<Script> = LazyLock::new(|| Script::without_prelude(include_str!("settings.lua")));
static STOP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("stop.lua")));
static REGAIN: LazyLock<Script> = LazyLock::new(|| Script::without_prelude(include_str!("regain.lua")));
static REPORT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("report.lua")));

pub async fn exists(redis: &Redis, keyspace: &Keyspace, id: &QueueId) -> Result<bool, StoreError> {
    let settings = keyspace.settings_of(id.as_str());
    let (exists,): (bool,) = redis.query(redis::pipe().exists(settings)).await?;
    Ok(exists)
}

pub async fn ids(redis: &Redis, keyspace: &Keyspace) -> Result<Vec<QueueId>, StoreError> {
    let (ids,): (Vec<String>,) = redis.query(redis::pipe().smembers(keyspace.queues())).await?;
    let mut ids: Vec<_> = ids.iter().filter_map(|id| QueueId::parse(id)).collect();
    ids.sort();
    Ok(ids)
}

/// The id is listed before the settings exist: a listed id without settings is no queue yet, but
/// settings without a listed id would be a queue that no replica serves.
pub async fn put(
    redis: &Redis,
    keyspace: &Keyspace,
    id: &QueueId,
    settings: &Settings,
    when: When,
) -> Result<bool, StoreError> {
    redis.query::<()>(redis::pipe().sadd(keyspace.queues(), id.as_str()).ignore()).await?;
    let draw = Draw::new(rand::random());
    let mut args = vec![when.arg(), draw.seed, draw.commitment];
    args.extend(fields(settings)?.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    let keys = keyspace.queue(id.as_str());
    redis.run_plain(&PUT, &[keys.settings(), keys.waiting(), keys.counters()], &args).await
}

/// The settings in the units of the scripts; empty = null.
fn fields(settings: &Settings) -> Result<Vec<(&'static str, String)>, StoreError> {
    fn or_empty(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let ms = |seconds: u32| (u64::from(seconds) * 1000).to_string();
    let moment = |at: Option<DateTime<Utc>>| or_empty(at.map(|at| at.timestamp_millis()));
    let json =
        serde_json::to_string(settings).map_err(|error| StoreError::Failed(error.to_string().into()))?;
    let lifetime = settings.entry_max_lifetime_seconds.unwrap_or(settings.entry_ttl_seconds);
    let lanes: Vec<String> =
        settings.lanes.iter().flatten().map(|l| format!("{} {}", l.lane, l.share_percent)).collect();
    Ok(vec![
        ("order", settings.order.word().to_owned()),
        ("opens_at", moment(settings.opens_at)),
        ("lanes", lanes.join(" ")),
        ("wait_ms", ms(settings.waiting_ttl_seconds)),
        ("users", or_empty(settings.admission.map(|rate| rate.users))),
        ("every_ms", settings.admission.map(|rate| ms(rate.every_seconds)).unwrap_or_default()),
        ("max_active", or_empty(settings.max_active)),
        ("entry_ttl_s", settings.entry_ttl_seconds.to_string()),
        ("max_life_s", lifetime.to_string()),
        ("claim_ms", ms(settings.claim_window_seconds)),
        ("rejoin", settings.rejoin.word().to_owned()),
        ("instant", u8::from(settings.instant_admission).to_string()),
        ("closes_at", moment(settings.closes_at)),
        ("redirect_url", settings.redirect_url.clone().unwrap_or_default()),
        ("adaptive", or_empty(settings.adaptive.map(|adaptive| adaptive.min_users))),
        ("closes_sold_out", u8::from(settings.close_when_sold_out).to_string()),
        ("json", json),
    ])
}

pub async fn stop(redis: &Redis, keys: &QueueKeys, when: When, stop: Option<Stop>) -> Result<(), StoreError> {
    let word = stop.map(Stop::word).unwrap_or_default().to_owned();
    let _done: i64 = redis.run(&STOP, keys, when, &[word]).await?;
    Ok(())
}

pub async fn ping(redis: &Redis) -> Result<(), StoreError> {
    redis.query::<()>(redis::pipe().cmd("PING").ignore()).await
}

/// Writes a lost queue's settings; false when somebody else has.
pub async fn regain(
    redis: &Redis,
    keyspace: &Keyspace,
    id: &QueueId,
    settings: &[String],
) -> Result<bool, StoreError> {
    redis.query::<()>(redis::pipe().sadd(keyspace.queues(), id.as_str()).ignore()).await?;
    redis.run_plain(&REGAIN, &[&keyspace.settings_of(id.as_str())], settings).await
}

type LaneRow = (String, u64, u64, u64, u64);

pub async fn report(redis: &Redis, keys: &QueueKeys, when: When) -> Result<Report, StoreError> {
    let (numbers, words, lanes): (Vec<i64>, [String; 5], Vec<LaneRow>) =
        redis.run(&REPORT, keys, when, &[]).await?;
    let garbled = || StoreError::Failed("a report has an unknown shape".into());
    let [
        opens_at,
        waiting,
        scheduled,
        active,
        admitted,
        expired,
        left,
        completed,
        replaced,
        closed,
        minute,
        five,
        cap_room,
        has_cap,
        remaining,
        sold_out,
        hold_until,
        outflow,
        has_room,
    ] = numbers.try_into().map_err(|_| garbled())?;
    let [state, json, commitment, seed, outflow_reason] = words;
    let natural = |number: i64| u64::try_from(number).unwrap_or_default();
    let lane = |(name, waiting, before_draw, last_drawn, admitted)| LaneReport {
        name,
        waiting,
        first_drawn: before_draw + 1,
        last_drawn,
        admitted,
    };
    let told = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Report {
        state: QueueState::parse(&state).ok_or_else(garbled)?,
        opens_at: (opens_at >= 0).then(|| DateTime::from_timestamp_millis(opens_at)).flatten(),
        waiting: natural(waiting),
        scheduled: natural(scheduled),
        active: natural(active),
        admitted_total: natural(admitted),
        expired_total: natural(expired),
        left_total: natural(left),
        completed_total: natural(completed),
        replaced_total: natural(replaced),
        closed_total: natural(closed),
        pace: Pace::from_milli(minute, five),
        cap_room: (has_cap == 1).then_some(cap_room),
        has_room: has_room == 1,
        settings: serde_json::from_str(&json).map_err(|_| garbled())?,
        remaining: u64::try_from(remaining).ok(),
        sold_out: (sold_out >= 0).then_some(sold_out == 1),
        held_until: (hold_until > 0).then(|| DateTime::from_timestamp_millis(hold_until)).flatten(),
        outflow: as_share(outflow),
        outflow_reason: told(outflow_reason),
        lanes: lanes.into_iter().map(lane).collect(),
        draw: told(commitment).map(|commitment| (commitment, told(seed))),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
fn as_share(thousandths: i64) -> f64 {
    thousandths as f64 / 1000.0
}

//! The registry in Redis.

use std::sync::LazyLock;
use std::time::Duration;

use super::model::{Published, Registry};
use crate::redis::{Redis, Script, StoreError, When};

static EXCHANGE: LazyLock<Script> = LazyLock::new(|| Script::without_prelude(include_str!("exchange.lua")));

/// What a replica says of one key.
pub struct Known<'a> {
    pub kid: &'a str,
    pub x: &'a str,
    pub first_ms: Option<i64>,
    /// None = it has the file.
    pub held_ms: Option<i64>,
    pub last_exp: i64,
    pub mac: String,
}

/// Tells the registry what this replica knows; answers the time of Redis and what all know.
pub async fn exchange(
    redis: &Redis,
    registry: &str,
    when: When,
    keep: Duration,
    known: &[Known<'_>],
) -> Result<(i64, Registry), StoreError> {
    fn or_empty(ms: Option<i64>) -> String {
        ms.map(|ms| ms.to_string()).unwrap_or_default()
    }
    let mut args = vec![when.arg(), keep.as_millis().to_string()];
    for key in known {
        args.extend([key.kid.to_owned(), key.x.to_owned()]);
        args.extend([or_empty(key.first_ms), or_empty(key.held_ms)]);
        args.extend([key.last_exp.to_string(), key.mac.clone()]);
    }
    let answer: Vec<String> = redis.run_plain(&EXCHANGE, &[registry], &args).await?;
    let (now, entries) = answer.split_first().ok_or_else(|| unreadable("no time"))?;
    let now = now.parse().map_err(|_| unreadable(now))?;
    let entries = entries.chunks_exact(2).filter_map(|entry| Published::parse(&entry[0], &entry[1]));
    Ok((now, entries.collect()))
}

fn unreadable(answer: &str) -> StoreError {
    StoreError::Failed(format!("the registry of keys answers {answer}").into())
}

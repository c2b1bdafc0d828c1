//! Keys of admission.

use std::sync::LazyLock;
use std::time::Duration;

use crate::keys::QueueKeys;
use crate::redis::{Redis, Script, StoreError, When};

static TICK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("tick.lua")));
static BY_HAND: LazyLock<Script> = LazyLock::new(|| Script::once(include_str!("tick.lua")));
static COMPLETE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("complete.lua")));

/// What one step did and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub admitted: u64,
    /// Another step would do something now.
    pub more: bool,
    pub waiting: u64,
    pub active: u64,
    /// When the rate has room again for those in line; `None` when it is not what they wait for.
    pub rate_frees_in: Option<Duration>,
}

pub async fn step(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    forced: Option<u64>,
) -> Result<Step, StoreError> {
    let script = if forced.is_some() { &BY_HAND } else { &TICK };
    let forced = forced.map(|users| users.to_string()).unwrap_or_default();
    let (admitted, more, waiting, active, pause): (u64, bool, u64, u64, i64) =
        redis.run(script, keys, when, &[forced]).await?;
    let rate_frees_in = u64::try_from(pause).ok().map(Duration::from_millis);
    Ok(Step { admitted, more, waiting, active, rate_frees_in })
}

pub async fn complete(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    jtis: &[String],
) -> Result<u64, StoreError> {
    redis.run(&COMPLETE, keys, when, jtis).await
}

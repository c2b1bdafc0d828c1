//! Keys of admission.

use std::sync::LazyLock;

use crate::keys::QueueKeys;
use crate::redis::{PreludeArgs, Redis, Script, StoreError};

static TICK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("tick.lua")));
static COMPLETE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("complete.lua")));

/// What one step did and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub admitted: u64,
    /// Another step would do something now.
    pub more: bool,
    pub waiting: u64,
    pub active: u64,
}

pub async fn step(
    redis: &Redis,
    keys: &QueueKeys,
    offset_ms: i64,
    forced: Option<u64>,
) -> Result<Step, StoreError> {
    let forced = forced.map(|users| users.to_string()).unwrap_or_default();
    let (admitted, more, waiting, active) =
        redis.run(&TICK, keys, PreludeArgs { offset_ms }, &[forced]).await?;
    Ok(Step { admitted, more, waiting, active })
}

pub async fn complete(
    redis: &Redis,
    keys: &QueueKeys,
    offset_ms: i64,
    jtis: &[String],
) -> Result<u64, StoreError> {
    redis.run(&COMPLETE, keys, PreludeArgs { offset_ms }, jtis).await
}

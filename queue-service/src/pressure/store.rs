//! Keys of pressure.

use std::sync::LazyLock;

use crate::keys::QueueKeys;
use crate::redis::{Redis, Script, StoreError, When};

static PRESSURE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("pressure.lua")));

/// What came of a report of pressure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outflow {
    /// Of the rate, 0 to 1.
    pub share: f64,
    /// This report has slowed a rate that was whole.
    pub is_first_slowing: bool,
    pub is_whole_again: bool,
}

pub async fn pressure(
    redis: &Redis,
    keys: &QueueKeys,
    when: When,
    reporter: &str,
    excess: &str,
) -> Result<Outflow, StoreError> {
    let args = [reporter.to_owned(), excess.to_owned()];
    let (before, after): (u32, u32) = redis.run(&PRESSURE, keys, when, &args).await?;
    Ok(Outflow {
        share: f64::from(after) / 1000.0,
        is_first_slowing: before == 1000 && after < 1000,
        is_whole_again: before < 1000 && after == 1000,
    })
}

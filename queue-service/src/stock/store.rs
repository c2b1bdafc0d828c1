//! Keys of stock.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};

use crate::keys::QueueKeys;
use crate::redis::{Redis, Script, StoreError, When};

static STOCK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("stock.lua")));

/// What the booking service has counted.
#[derive(Clone, Copy, Debug)]
pub struct Stock {
    pub remaining: u64,
    /// All sold, nothing held.
    pub sold_out: bool,
    pub as_of: DateTime<Utc>,
}

/// What became of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A later one is known.
    TooLate,
    Noted,
    /// Noted, and it has closed the queue.
    Closed,
}

pub async fn stock(redis: &Redis, keys: &QueueKeys, when: When, stock: &Stock) -> Result<Taken, StoreError> {
    let sold_out = u8::from(stock.sold_out).to_string();
    let args = [stock.remaining.to_string(), sold_out, stock.as_of.timestamp_millis().to_string()];
    let taken: u8 = redis.run(&STOCK, keys, when, &args).await?;
    Ok(match taken {
        0 => Taken::TooLate,
        1 => Taken::Noted,
        _ => Taken::Closed,
    })
}

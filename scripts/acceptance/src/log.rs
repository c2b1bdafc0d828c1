//! The admission log of a queue, read from Redis itself: what the limits are held against from outside.

use redis::FromRedisValue as _;
use redis::streams::{StreamId, StreamRangeReply};

use crate::world::World;

/// What one step let in, and which slots it found ended.
#[derive(Clone, Debug)]
pub struct Admissions {
    pub at_ms: i64,
    /// Places in the order of admission.
    pub places: Vec<u64>,
    /// `rate`, `instant` or `hand`.
    pub how: String,
    /// How many were active after it.
    pub active: usize,
    /// Since when each of the slots was free.
    pub ended_ms: Vec<i64>,
}

impl World {
    /// All that is kept of it, oldest first.
    pub async fn admission_log(&self, queue: &str) -> Vec<Admissions> {
        let (url, prefix) = self.redis_url_and_prefix();
        let client = redis::Client::open(url).expect("REDIS_URL can be read");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
        let mut range = redis::cmd("XRANGE");
        range.arg(format!("{prefix}{{q:{queue}}}:log")).arg("-").arg("+");
        let log: StreamRangeReply = range.query_async(&mut connection).await.expect("Redis has the log");
        log.ids.iter().map(admissions).collect()
    }
}

fn admissions(entry: &StreamId) -> Admissions {
    let text = |name: &str| {
        let value = entry.map.get(name).unwrap_or_else(|| panic!("no {name} in {entry:?}"));
        String::from_redis_value_ref(value).unwrap_or_else(|error| panic!("{name} in {entry:?}: {error}"))
    };
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{word:?} in {entry:?}"));
    let at_ms = number(entry.id.split('-').next().unwrap_or_default());
    // `place@moment`: it had run out; `place!`: it was ended now.
    let ended = |word: &str| match word.split_once('@') {
        Some((_, moment)) => moment.parse().ok(),
        None => word.ends_with('!').then_some(at_ms),
    };
    let places = text("in").split_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>();
    let ended_ms = text("out").split_whitespace().map(ended).collect::<Option<_>>();
    Admissions {
        at_ms,
        places: places.unwrap_or_else(|| panic!("places in {entry:?}")),
        how: text("how"),
        active: text("active").parse().unwrap_or_else(|_| panic!("active in {entry:?}")),
        ended_ms: ended_ms.unwrap_or_else(|| panic!("ends in {entry:?}")),
    }
}

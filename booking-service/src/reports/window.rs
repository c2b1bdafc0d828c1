//! The last five seconds of requests, in buckets by how long they took.
//!
//! A slot a second; whoever answers a request adds to two counters of the current one and locks
//! nothing. Only the reporter turns: it reads all slots and empties the oldest. A request noted while
//! it turns may land in the second before; nothing depends on that.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use shared::serve::Watch;

use super::model::Reading;

/// What is counted: the API, not its documents, and nothing that has no route.
const COUNTED: &str = "/v1/";

const SLOTS: usize = 5;
/// With fewer requests a percentile or a rate would say nothing.
const FEWEST: u64 = 20;

/// Buckets are exact below 16 ms; above, eight to each doubling, so that none is wider than an
/// eighth of what is in it. The last one ends at 65 s, and takes whatever took longer.
const FIRST_OCTAVE: u32 = 4;
const LAST_OCTAVE: u32 = 15;
const EXACT: u64 = 1 << FIRST_OCTAVE;
const BUCKETS: usize = (1 << FIRST_OCTAVE) + 8 * (LAST_OCTAVE - FIRST_OCTAVE + 1) as usize;

/// See the module.
pub struct Window {
    slots: [Slot; SLOTS],
    current: AtomicUsize,
}

struct Slot {
    took: [AtomicU32; BUCKETS],
    failed: AtomicU32,
    pool_wait_ms: AtomicU32,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            took: std::array::from_fn(|_| AtomicU32::new(0)),
            failed: AtomicU32::new(0),
            pool_wait_ms: AtomicU32::new(0),
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| Slot::default()), current: AtomicUsize::new(0) }
    }
}

impl Watch for Window {
    fn note(&self, route: &str, took: Duration, failed: bool) {
        if route.starts_with(COUNTED) {
            self.add(took, failed);
        }
    }
}

impl Window {
    /// One request that took so long, and failed when it was answered 5xx.
    fn add(&self, took: Duration, failed: bool) {
        let slot = &self.slots[self.current.load(Ordering::Relaxed)];
        slot.took[bucket(millis(took))].fetch_add(1, Ordering::Relaxed);
        if failed {
            slot.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends a second, in which the longest wait for a connection was `pool_wait`; what all of the
    /// window was like.
    pub fn turn(&self, pool_wait: Duration) -> Reading {
        let current = self.current.load(Ordering::Relaxed);
        let waited = u32::try_from(millis(pool_wait)).unwrap_or(u32::MAX);
        self.slots[current].pool_wait_ms.store(waited, Ordering::Relaxed);
        let reading = self.reading();
        let next = (current + 1) % SLOTS;
        self.slots[next].empty();
        self.current.store(next, Ordering::Relaxed);
        reading
    }

    fn reading(&self) -> Reading {
        let sum = |counter: &dyn Fn(&Slot) -> u32| self.slots.iter().map(|s| u64::from(counter(s))).sum();
        let took: [u64; BUCKETS] =
            std::array::from_fn(|bucket| sum(&|slot| slot.took[bucket].load(Ordering::Relaxed)));
        let failed: u64 = sum(&|slot| slot.failed.load(Ordering::Relaxed));
        let waits = self.slots.iter().map(|slot| slot.pool_wait_ms.load(Ordering::Relaxed));
        let requests: u64 = took.iter().sum();
        let enough = requests >= FEWEST;
        Reading {
            p99_ms: enough.then(|| percentile(&took, requests, 99)),
            error_rate: enough.then(|| share(failed, requests)),
            pool_wait_ms: waits.max().unwrap_or_default().into(),
            requests,
        }
    }
}

impl Slot {
    fn empty(&self) {
        self.took.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.failed.store(0, Ordering::Relaxed);
        self.pool_wait_ms.store(0, Ordering::Relaxed);
    }
}

/// Rounded up: what took no time at all was still asked for.
fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn bucket(ms: u64) -> usize {
    if ms < EXACT {
        return index(ms);
    }
    let octave = ms.ilog2();
    if octave > LAST_OCTAVE {
        return BUCKETS - 1;
    }
    let eighth = (ms >> (octave - 3)) & 7;
    index(EXACT + 8 * u64::from(octave - FIRST_OCTAVE) + eighth)
}

/// The longest time that falls into a bucket.
fn top(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let (octaves, eighth) = ((bucket - EXACT) / 8, (bucket - EXACT) % 8);
    ((9 + eighth) << (octaves + 1)) - 1
}

fn index(bucket: u64) -> usize {
    usize::try_from(bucket).unwrap_or(BUCKETS - 1)
}

/// What that many percent of `requests` took at most.
fn percentile(took: &[u64; BUCKETS], requests: u64, percent: u64) -> u64 {
    let rank = (requests * percent).div_ceil(100);
    let mut seen = 0;
    let found = took.iter().position(|count| {
        seen += count;
        seen >= rank
    });
    top(found.unwrap_or(BUCKETS - 1))
}

#[expect(clippy::cast_precision_loss, reason = "counts of five seconds")]
fn share(part: u64, whole: u64) -> f64 {
    // No more than all: a request may have failed in a slot that was being emptied.
    (part as f64 / whole as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::ZERO;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_bucket_ends_where_the_next_begins_and_is_narrow() {
        for ms in 0..=65_535 {
            let (found, end) = (bucket(ms), top(bucket(ms)));
            assert!(ms <= end && end - ms <= ms / 8, "{ms} ms is in a bucket up to {end} ms");
            assert_eq!(bucket(end), found, "{ms} ms");
            assert!(found == BUCKETS - 1 || bucket(end + 1) == found + 1, "{ms} ms");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_slowest_of_a_hundred_is_not_the_p99_but_the_second_slowest_is() {
        let window = Window::default();
        (0..98).for_each(|_| window.add(ms(3), false));
        window.add(ms(12), false);
        window.add(ms(9000), false);
        assert_eq!(window.turn(QUIET).p99_ms, Some(12));
        window.add(ms(9000), false);
        assert!(window.turn(QUIET).p99_ms >= Some(9000));
    }

    #[test]
    fn failures_are_a_share_of_all() {
        let window = Window::default();
        (0..40).for_each(|n| window.add(ms(1), n % 4 == 0));
        let reading = window.turn(QUIET);
        assert_eq!((reading.error_rate, reading.requests), (Some(0.25), 40));
    }

    #[test]
    fn few_requests_say_nothing() {
        let window = Window::default();
        (0..19).for_each(|_| window.add(ms(5), true));
        let reading = window.turn(QUIET);
        assert_eq!((reading.p99_ms, reading.error_rate, reading.requests), (None, None, 19));
        window.add(ms(5), true);
        let reading = window.turn(QUIET);
        assert_eq!((reading.p99_ms, reading.error_rate, reading.requests), (Some(5), Some(1.0), 20));
    }

    #[test]
    fn five_seconds_later_all_is_forgotten() {
        let window = Window::default();
        (0..20).for_each(|_| window.add(ms(700), true));
        let first = window.turn(ms(40));
        for _ in 0..4 {
            assert_eq!(window.turn(QUIET), first);
        }
        let expected = Reading { p99_ms: None, error_rate: None, pool_wait_ms: 0, requests: 0 };
        assert_eq!(window.turn(QUIET), expected);
    }
}

//! The seats that are free as far as people know: by the last map that anybody has read, less what they were refused.
//!
//! It grows old as a page in a browser does: what others have taken since is on it still, and whoever wants it is
//! refused. That is the contention of these tests.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const AVAILABLE: &[u8] = b"\"available_seat_numbers\":[";
/// As many seats are looked at in one choice.
const LOOKED_AT: usize = 64;
/// A hall of 50,000 is megabytes: who finds nothing on a younger map does not read it again at once.
const OLD: Duration = Duration::from_millis(500);

/// What everybody shares.
#[derive(Debug, Default)]
pub struct Shown {
    map: Mutex<Map>,
}

#[derive(Debug, Default)]
struct Map {
    numbers: Vec<u32>,
    refused: HashSet<u32>,
    /// When somebody last went to read it.
    asked: Option<Instant>,
}

impl Shown {
    /// Whether nobody has gone to read the map just now, who would tell the others: then the caller goes.
    pub fn is_old(&self) -> bool {
        let (mut map, now) = (self.locked(), Instant::now());
        let is_old = map.asked.is_none_or(|asked| now > asked + OLD);
        if is_old {
            map.asked = Some(now);
        }
        is_old
    }

    /// Takes over a seat map; how many seats are free on it. `None`: that is no seat map.
    pub fn read(&self, body: &[u8]) -> Option<usize> {
        let numbers = available(body)?;
        let free = numbers.len();
        let mut map = self.locked();
        (map.numbers, map.refused) = (numbers, HashSet::new());
        Some(free)
    }

    /// Up to `count` neighbours that seem free, from a random one on; of the first `among` of them only.
    pub fn choose(&self, count: usize, among: usize) -> Vec<u32> {
        let map = self.locked();
        let candidates = &map.numbers[..map.numbers.len().min(among)];
        if candidates.is_empty() {
            return Vec::new();
        }
        let from = rand::random_range(0..candidates.len());
        let around = candidates[from..].iter().chain(&candidates[..from]).take(LOOKED_AT);
        let mut chosen: Vec<u32> =
            around.filter(|number| !map.refused.contains(number)).take(count).copied().collect();
        chosen.sort_unstable();
        chosen
    }

    /// These were not free.
    pub fn cross_out(&self, numbers: &[u32]) {
        self.locked().refused.extend(numbers);
    }

    fn locked(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list at the end of a seat map; the rest, which is megabytes, is not read.
fn available(body: &[u8]) -> Option<Vec<u32>> {
    let at = body.windows(AVAILABLE.len()).rposition(|window| window == AVAILABLE)?;
    let list = body.get(at + AVAILABLE.len() - 1..)?;
    let end = list.iter().position(|byte| *byte == b']')?;
    serde_json::from_slice(&list[..=end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &[u8] = br#"{"seats":[{"number":1}],"available_seat_numbers":[3,5,8],"x":[]}"#;

    #[test]
    fn seats_are_chosen_among_those_that_seem_free() {
        let shown = Shown::default();
        assert_eq!(shown.choose(2, 9), [0; 0]);
        assert_eq!(shown.read(MAP), Some(3));
        assert_eq!(shown.choose(9, 9), [3, 5, 8]);
        assert_eq!(shown.choose(1, 1), [3]);
        shown.cross_out(&[3, 5]);
        assert_eq!(shown.choose(2, 9), [8]);
        assert_eq!(shown.read(b"{}"), None);
        assert_eq!(shown.read(MAP), Some(3));
        assert_eq!(shown.choose(3, 9), [3, 5, 8]);
    }
}

//! What is to be done when, and at which door; handed out when its moment has come.
//!
//! A thread moves what has come from the heap to the doors: the timers of the runtime are of a millisecond, and
//! one for each of a million people would cost more than what they do.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering as Memory};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The thread sleeps so long at least and at most.
const NAPS: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(1));

/// Items, each once, until somebody says that one is done with.
pub struct Agenda<T> {
    later: Mutex<BinaryHeap<Entry<T>>>,
    doors: Vec<Door<T>>,
    /// Not done with.
    left: AtomicUsize,
    /// Have come so far.
    due: AtomicU64,
}

struct Door<T> {
    come: Mutex<VecDeque<(Instant, T)>>,
    permits: Semaphore,
}

struct Entry<T> {
    at: Instant,
    door: usize,
    item: T,
}

impl<T: Send + 'static> Agenda<T> {
    /// With so many doors; ends by itself when all items are done with, or at [`Agenda::stop`].
    pub fn open(doors: usize, items: impl Iterator<Item = (Instant, T)>) -> Arc<Self> {
        let door = || Door { come: Mutex::default(), permits: Semaphore::new(0) };
        let later: BinaryHeap<_> = items.map(|(at, item)| Entry { at, door: 0, item }).collect();
        let (left, due) = (AtomicUsize::new(later.len()), AtomicU64::new(0));
        let doors = std::iter::repeat_with(door).take(doors.max(1)).collect();
        let agenda = Arc::new(Self { later: Mutex::new(later), doors, left, due });
        if agenda.left() == 0 {
            agenda.stop();
        }
        let pacing = agenda.clone();
        drop(std::thread::spawn(move || pacing.pace()));
        agenda
    }

    /// `item` is to be done at this moment, behind that door.
    pub fn put(&self, at: Instant, door: usize, item: T) {
        if at <= Instant::now() {
            self.come(Entry { at, door, item });
        } else {
            locked(&self.later).push(Entry { at, door, item });
        }
    }

    /// The next item of a door, and when it was to be done; `None` behind the end.
    pub async fn next(&self, door: usize) -> Option<(Instant, T)> {
        let door = self.doors.get(door)?;
        door.permits.acquire().await.ok()?.forget();
        locked(&door.come).pop_front()
    }

    /// One item will not come back.
    pub fn done(&self) {
        if self.left.fetch_sub(1, Memory::Relaxed) == 1 {
            self.stop();
        }
    }

    /// Nobody gets anything any more.
    pub fn stop(&self) {
        for door in &self.doors {
            door.permits.close();
        }
    }

    /// How many items are not done with.
    pub fn left(&self) -> usize {
        self.left.load(Memory::Relaxed)
    }

    /// How often the moment of something has come.
    pub fn due(&self) -> u64 {
        self.due.load(Memory::Relaxed)
    }

    /// How many wait for a free connection.
    pub fn waiting(&self) -> usize {
        self.doors.iter().map(|door| locked(&door.come).len()).sum()
    }

    fn come(&self, entry: Entry<T>) {
        let Some(door) = self.doors.get(entry.door) else { return };
        self.due.fetch_add(1, Memory::Relaxed);
        locked(&door.come).push_back((entry.at, entry.item));
        door.permits.add_permits(1);
    }

    fn pace(&self) {
        while self.doors.iter().all(|door| !door.permits.is_closed()) {
            let now = Instant::now();
            let mut later = locked(&self.later);
            while later.peek().is_some_and(|entry| entry.at <= now) {
                later.pop().into_iter().for_each(|entry| self.come(entry));
            }
            let next = later.peek().map_or(NAPS.1, |entry| entry.at.saturating_duration_since(now));
            drop(later);
            std::thread::sleep(next.clamp(NAPS.0, NAPS.1));
        }
    }
}

/// Nothing is half done where it could panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The earliest is the greatest: the heap gives it first.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_come_in_the_order_of_their_moments_and_no_sooner() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let agenda = Agenda::open(2, [(at(30), 'c'), (at(10), 'a'), (at(20), 'b')].into_iter());
        for (ms, expected) in [(10, 'a'), (20, 'b'), (30, 'c')] {
            let found = agenda.next(0).await;
            assert_eq!(found, Some((at(ms), expected)));
            assert!(Instant::now() >= at(ms));
        }
        assert_eq!((agenda.due(), agenda.left()), (3, 3));
        agenda.put(begun, 1, 'd');
        assert_eq!(agenda.next(1).await, Some((begun, 'd')));
        (0..3).for_each(|_| agenda.done());
        assert_eq!(agenda.next(0).await, None);
    }
}

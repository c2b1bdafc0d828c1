//! The rounds that keep the halls of this replica right.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use tokio::time::Instant;
use uuid::Uuid;

use super::hall::{DatabaseTime, Hall};
use super::{MOST_SEATS, Parts, SeatMaps, Slot, store};
use crate::db::{self, Db};
use crate::metrics;
use crate::rounds::{self, Mood};

const EVERY: Duration = Duration::from_millis(100);
const UNREAD: Duration = Duration::from_secs(60);
const LONGEST_ROUND: Duration = Duration::from_secs(2);
/// A follower that was away for longer than this begins anew; changes are kept for much longer.
const LONGEST_GAP: Duration = Duration::from_secs(20);
const KEPT_SECONDS: f64 = 120.0;
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const SWEPT_AT_ONCE: i64 = 5000;

/// Starts the rounds, on a connection of their own (`aside`): they must not wait behind the sale.
pub fn run(lifecycle: &Lifecycle, maps: &SeatMaps, aside: Db) {
    let sweeping = aside.clone();
    let mut follower = Follower {
        parts: maps.0.clone(),
        db: aside,
        seen: None,
        last: Instant::now(),
        mood: Mood::new("seat maps"),
    };
    // Requests under way need it until they are answered.
    lifecycle.spawn_support("rounds of seat maps", async move {
        loop {
            follower.wait().await;
            follower.round().await;
        }
    });
    rounds::every(lifecycle, "old changes of seats", SWEEP_EVERY, move || {
        let db = sweeping.clone();
        async move {
            let gone = store::sweep(&mut *db.lane().await?, SWEPT_AT_ONCE, KEPT_SECONDS).await?;
            db::Result::Ok(gone == SWEPT_AT_ONCE.cast_unsigned())
        }
    });
}

struct Follower {
    parts: Arc<Parts>,
    db: Db,
    /// The snapshot of the last round.
    seen: Option<String>,
    last: Instant,
    mood: Mood,
}

impl Follower {
    async fn wait(&mut self) {
        let idle = self.parts.slots().is_empty();
        let asked = self.parts.asked.notified();
        if idle {
            asked.await;
            self.last = Instant::now();
        } else {
            // Whether asked or not, the next round looks; the time-out is no failure.
            drop(tokio::time::timeout_at(self.last + EVERY, asked).await);
        }
    }

    async fn round(&mut self) {
        let begun = Instant::now();
        if begun - self.last > LONGEST_GAP {
            self.parts.drop_all();
        }
        self.parts.drop_unread();
        let asked = tokio::time::timeout(LONGEST_ROUND, self.ask()).await;
        let outcome = asked.unwrap_or_else(|_| Err(db::Error::Unavailable("no answer in time".to_owned())));
        self.mood.note(&outcome);
        let failed = outcome.is_err();
        if failed {
            // Whoever answers next may have forgotten what the last one said.
            self.seen = None;
            self.parts.drop_all();
        }
        self.parts.rounds.send_modify(|last| *last = outcome);
        if failed {
            tokio::time::sleep(EVERY).await;
        } else {
            self.last = begun;
        }
    }

    async fn ask(&mut self) -> db::Result<()> {
        let (step, asked_at) = (self.parts.next_step(), Instant::now());
        let halls = self.parts.halls();
        let dates: Vec<Uuid> = halls.keys().copied().collect();
        let mut since: Vec<String> = halls.values().filter_map(|slot| slot.hall.get()?.joined_at()).collect();
        since.extend(self.seen.clone());
        if dates.is_empty() {
            self.seen = None;
            return Ok(());
        }
        let Some(news) = store::news(&mut *self.db.lane().await?, &dates, &since).await? else {
            return Ok(());
        };
        let database = DatabaseTime { told: news.now, asked_at };
        let mut changed: HashMap<Uuid, Vec<_>> = HashMap::new();
        for (date, number, state) in news.seats {
            changed.entry(date).or_default().push((number, state));
        }
        for (id, date) in news.dates {
            if let Some(hall) = halls.get(&id).and_then(|slot| slot.hall.get()) {
                hall.follow(step, database, date, changed.remove(&id).unwrap_or_default().into_iter());
            }
        }
        self.seen = Some(news.snapshot);
        Ok(())
    }
}

impl Parts {
    /// The dates whose halls have been read.
    fn halls(&self) -> HashMap<Uuid, Arc<Slot>> {
        let known = |slot: &Slot| slot.hall.initialized();
        self.slots().iter().filter(|(_, slot)| known(slot)).map(|(id, slot)| (*id, slot.clone())).collect()
    }

    fn drop_all(&self) {
        for (_, slot) in self.slots().drain() {
            slot.dropped.store(true, Ordering::SeqCst);
        }
    }

    /// Drops the halls that nobody reads, and the least read when there are too many seats.
    fn drop_unread(&self) {
        let mut slots = self.slots();
        let read_at = |slot: &Slot| *slot.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |slot: &Slot| slot.hall.get().map_or(0, Hall::count);
        let mut by_age: Vec<_> = slots.iter().map(|(id, slot)| (read_at(slot), *id, count(slot))).collect();
        by_age.sort_unstable_by(|a, b| b.cmp(a));
        let mut seats = 0;
        for (read_at, id, count) in by_age {
            if read_at.elapsed() < UNREAD && (seats == 0 || seats + count <= MOST_SEATS) {
                seats += count;
            } else if let Some(slot) = slots.remove(&id) {
                slot.dropped.store(true, Ordering::SeqCst);
            }
        }
        metrics::level(metrics::MAPPED_SEATS, seats as u64);
    }
}

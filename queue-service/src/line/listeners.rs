//! Who listens to which place, so that a change wakes those whom it concerns and nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use super::feed::{Departure, Move};
use crate::keys::LANE;
use crate::queues::model::QueueState;

/// The listeners of one room on this replica.
pub struct Listeners {
    by_place: Mutex<HashMap<u64, (usize, Arc<Notify>)>>,
    state: watch::Sender<Option<QueueState>>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { by_place: Mutex::default(), state: watch::Sender::new(None) }
    }
}

/// Somebody listens as long as this lives.
pub struct Listening {
    listeners: Arc<Listeners>,
    place: u64,
    /// Rung when something became of the place.
    pub bell: Arc<Notify>,
    /// Changes with the queue's state.
    pub state: watch::Receiver<Option<QueueState>>,
}

impl Listeners {
    /// From now on `place` is listened to.
    pub fn listen(self: &Arc<Self>, place: u64) -> Listening {
        let mut by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, bell) = by_place.entry(place).or_default();
        *count += 1;
        Listening { listeners: self.clone(), place, bell: bell.clone(), state: self.state.subscribe() }
    }

    /// Wakes those whom this concerns.
    pub fn tell(&self, state: QueueState, departures: &[Departure]) {
        self.state.send_if_modified(|known| known.replace(state) != Some(state));
        if departures.is_empty() {
            return;
        }
        let by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = |place: &u64| {
            if let Some((_, bell)) = by_place.get(place) {
                bell.notify_waiters();
            }
        };
        for departure in departures {
            departure.slots_ended.iter().for_each(ring);
            for step in &departure.moves {
                match step {
                    Move::Gone(place) | Move::Back(place) => ring(place),
                    Move::GoneThrough(last) => {
                        let same_lane = |place: &&u64| *place / LANE == last / LANE && *place <= last;
                        by_place.keys().filter(same_lane).for_each(ring);
                    }
                }
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut by_place = self.listeners.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = by_place.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                by_place.remove(&self.place);
            }
        }
    }
}

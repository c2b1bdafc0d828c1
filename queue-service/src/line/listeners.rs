//! Who listens to which place, so that a change wakes those whom it concerns and nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::feed::{Departure, Move};
use crate::keys::LANE;
use crate::queues::model::QueueState;

/// The listeners of one room on this replica.
pub struct Listeners {
    by_place: Mutex<HashMap<u64, watch::Sender<()>>>,
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
    /// Changes when something became of the place.
    pub bell: watch::Receiver<()>,
    /// Changes with the queue's state.
    pub state: watch::Receiver<Option<QueueState>>,
}

impl Listeners {
    /// From now on `place` is listened to.
    pub fn listen(self: &Arc<Self>, place: u64) -> Listening {
        let mut by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = by_place.entry(place).or_insert_with(|| watch::Sender::new(())).subscribe();
        Listening { listeners: self.clone(), place, bell, state: self.state.subscribe() }
    }

    /// Whether anybody listens.
    pub fn are_there(&self) -> bool {
        !self.by_place.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Wakes everybody: what happened was not heard one by one.
    pub fn tell_all(&self) {
        let by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        by_place.values().for_each(|bell| bell.send_replace(()));
    }

    /// Wakes those whom this concerns.
    pub fn tell(&self, state: QueueState, departures: &[Departure]) {
        self.state.send_if_modified(|known| known.replace(state) != Some(state));
        if departures.is_empty() {
            return;
        }
        let by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = |place: &u64| {
            if let Some(bell) = by_place.get(place) {
                bell.send_replace(());
            }
        };
        for departure in departures {
            departure.slots_ended.iter().for_each(ring);
            for step in &departure.moves {
                match step {
                    Move::Gone(place) | Move::Back(place) => ring(place),
                    Move::GoneBetween(..) => {}
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
        // This one still counts.
        if by_place.get(&self.place).is_some_and(|bell| bell.receiver_count() <= 1) {
            by_place.remove(&self.place);
        }
    }
}

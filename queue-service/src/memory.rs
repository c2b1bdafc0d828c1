//! What this replica remembers of a queue's store, so that a store that forgot is noticed.
//!
//! Every answer of a script tells the store's epoch and revision, and how many places each lane has
//! handed out; the highest is kept here and handed back with the next call. `prelude/loss.lua` compares.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// The memory of one queue. Nothing is known at first.
#[derive(Debug)]
pub struct Memory {
    last: Mutex<Told>,
    epoch: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Told {
    epoch: u64,
    revision: u64,
    text: String,
}

impl Default for Memory {
    fn default() -> Self {
        Self { last: Mutex::default(), epoch: watch::Sender::new(0) }
    }
}

impl Memory {
    /// In the words of the scripts; empty when nothing is known.
    pub fn tell(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    /// Takes note of what a script told.
    pub fn hear(&self, text: String) {
        // The server that told comes first.
        let mut numbers = text.split(' ').skip(1).map_while(|number| number.parse().ok());
        let (Some(epoch), Some(revision)) = (numbers.next(), numbers.next()) else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if (epoch, revision) < (last.epoch, last.revision) {
            return;
        }
        *last = Told { epoch, revision, text };
        drop(last);
        self.epoch.send_if_modified(|known| std::mem::replace(known, epoch) != epoch);
    }

    /// Changes when the store has forgotten something and has noticed.
    pub fn epochs(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_kept_whatever_order_answers_come_in() {
        let memory = Memory::default();
        assert_eq!(memory.tell(), "");
        for told in ["a 0 7 3 0", "a 0 5 2 0", "nonsense", "b 1 2 1000 0", "a 0 9 4 0"] {
            memory.hear(told.to_owned());
        }
        assert_eq!((memory.tell().as_str(), *memory.epochs().borrow()), ("b 1 2 1000 0", 1));
    }
}

//! Signposts: where to queue for what, remembered for a moment. A crowd without entry tokens asks
//! for the same few concerts again and again, and must not reach the database by that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

const REMEMBERED_FOR: Duration = Duration::from_secs(5);
const CAPACITY: usize = 10_000;

/// What somebody wants to get at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Concert(Uuid),
    Schedule(Uuid),
    Reservation(Uuid),
}

/// The queue in front of each subject that was asked for lately; `None`: there is no such thing.
#[derive(Debug, Default)]
pub struct Signs(Mutex<HashMap<Subject, Sign>>);

#[derive(Debug)]
struct Sign {
    queue: Option<String>,
    until: Instant,
}

impl Signs {
    /// The queue, if it was looked up lately.
    pub fn find(&self, subject: Subject, now: Instant) -> Option<Option<String>> {
        let signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signs.get(&subject).filter(|sign| now < sign.until).map(|sign| sign.queue.clone())
    }

    /// Remembers a queue that was looked up. Past `CAPACITY` all are forgotten: what many ask for
    /// is soon back, what somebody made up is gone.
    pub fn put(&self, subject: Subject, queue: Option<String>, now: Instant) {
        let mut signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if signs.len() >= CAPACITY {
            signs.clear();
        }
        signs.insert(subject, Sign { queue, until: now + REMEMBERED_FOR });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_stands_for_a_moment_and_for_its_own_subject() {
        let (signs, now) = (Signs::default(), Instant::now());
        signs.put(Subject::Concert(Uuid::nil()), Some("main".into()), now);
        signs.put(Subject::Reservation(Uuid::nil()), None, now);
        assert_eq!(signs.find(Subject::Concert(Uuid::nil()), now), Some(Some("main".into())));
        assert_eq!(signs.find(Subject::Reservation(Uuid::nil()), now), Some(None));
        assert_eq!(signs.find(Subject::Schedule(Uuid::nil()), now), None);
        assert_eq!(signs.find(Subject::Concert(Uuid::nil()), now + REMEMBERED_FOR), None);
    }

    #[test]
    fn signs_are_bounded() {
        let (signs, now) = (Signs::default(), Instant::now());
        for n in 0..=CAPACITY as u128 {
            signs.put(Subject::Schedule(Uuid::from_u128(n)), None, now);
        }
        assert!(signs.0.lock().unwrap().len() <= CAPACITY);
        assert_eq!(signs.find(Subject::Schedule(Uuid::from_u128(CAPACITY as u128)), now), Some(None));
    }
}

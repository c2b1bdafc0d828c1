//! Promises that were broken: how often each, and what the first ones looked like.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// As many examples of a broken promise are kept.
const EXAMPLES: usize = 3;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Findings {
    broken: Mutex<BTreeMap<&'static str, Broken>>,
}

/// How a promise was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    pub times: u64,
    pub examples: Vec<String>,
}

impl Findings {
    /// The promise was broken once more.
    pub fn broken(&self, promise: &'static str, example: impl FnOnce() -> String) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let found = broken.entry(promise).or_default();
        found.times += 1;
        if found.examples.len() < EXAMPLES {
            found.examples.push(example());
        }
    }

    /// As [`Findings::broken`], unless it `holds`.
    pub fn expect(&self, holds: bool, promise: &'static str, example: impl FnOnce() -> String) {
        if !holds {
            self.broken(promise, example);
        }
    }

    /// How this one was broken; `None` when it was kept.
    pub fn of(&self, promise: &str) -> Option<Broken> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get(promise).cloned()
    }
}

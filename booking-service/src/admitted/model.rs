//! Gates, callers and the tokens that have ended.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;

/// A row of the API that may need an entry token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    Concerts,
    Dates,
    Seats,
    Reserve,
    Pay,
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "concerts" => Self::Concerts,
            "dates" => Self::Dates,
            "seats" => Self::Seats,
            "reserve" => Self::Reserve,
            "pay" => Self::Pay,
            _ => return Err(format!("unknown gate `{name}`; there are concerts,dates,seats,reserve,pay")),
        })
    }
}

/// The gates that are closed: the setting `GATED`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gated(BTreeSet<Gate>);

impl Gated {
    /// Whether this row needs an entry token.
    pub fn closes(&self, gate: Gate) -> bool {
        self.0.contains(&gate)
    }
}

impl FromStr for Gated {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// One admission, as its entry token tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub jti: String,
    pub queue: String,
    /// Seconds since 1970.
    pub exp: i64,
}

/// Who acts, and by what right. Made by [`super::Door`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub(super) user: String,
    pub(super) entry: Option<Entry>,
    pub(super) confined: bool,
}

impl Caller {
    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The entry token that was shown, if one was.
    pub fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Whether the caller may act on what stands behind `queue`.
    pub fn may_enter(&self, queue: &str) -> bool {
        self.confined_to().is_none_or(|only| only == queue)
    }

    /// The only queue behind which the caller may act; `None`: any.
    pub fn confined_to(&self) -> Option<&str> {
        // The door confines nobody without an entry token; no queue has an empty name.
        self.confined.then(|| self.entry.as_ref().map_or("", |entry| &entry.queue))
    }
}

/// Entry tokens that are dead before their `exp`: by `jti`, with that `exp`. Bounded: past
/// `capacity` the ones that expire soonest make room (the database still knows the spent ones).
#[derive(Debug)]
pub struct Ended {
    by_jti: HashMap<String, i64>,
    capacity: usize,
}

impl Ended {
    /// None yet.
    pub fn new(capacity: usize) -> Self {
        Self { by_jti: HashMap::new(), capacity }
    }

    /// Adds one.
    pub fn insert(&mut self, jti: &str, exp: i64) {
        if self.by_jti.contains_key(jti) {
            return;
        }
        if self.by_jti.len() >= self.capacity {
            self.drop_soonest();
        }
        self.by_jti.insert(jti.to_owned(), exp);
    }

    /// Whether it is dead.
    pub fn contains(&self, jti: &str) -> bool {
        self.by_jti.contains_key(jti)
    }

    /// Forgets those that have expired by `now`.
    pub fn forget_expired(&mut self, now: i64) {
        self.by_jti.retain(|_, exp| *exp > now);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_jti.len()
    }

    /// A tenth at a time, so that the sort is paid for once in many inserts.
    fn drop_soonest(&mut self) {
        let mut ends: Vec<i64> = self.by_jti.values().copied().collect();
        ends.sort_unstable();
        if let Some(limit) = ends.get(self.capacity / 10).copied() {
            self.by_jti.retain(|_, exp| *exp > limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_by_name_and_none_is_fine() {
        let gated: Gated = "dates, seats,pay".parse().unwrap();
        assert!(gated.closes(Gate::Seats) && gated.closes(Gate::Pay) && !gated.closes(Gate::Reserve));
        assert_eq!("".parse::<Gated>().unwrap(), Gated::default());
        assert!("dates,door".parse::<Gated>().unwrap_err().contains("door"));
    }

    #[test]
    fn only_those_behind_a_closed_gate_are_confined_to_their_queue() {
        let entry = Entry { jti: "j".into(), queue: "main".into(), exp: 1 };
        let caller = |confined| Caller { user: "u".into(), entry: Some(entry.clone()), confined };
        assert!(caller(true).may_enter("main") && !caller(true).may_enter("other"));
        assert!(caller(false).may_enter("other"));
    }

    #[test]
    fn the_set_of_ended_tokens_is_bounded_and_forgets_the_expired() {
        let mut ended = Ended::new(10);
        (0..25).for_each(|n| ended.insert(&format!("j{n}"), 100 + n));
        assert!(ended.count() <= 10);
        assert!(ended.contains("j24") && !ended.contains("j0"));
        ended.forget_expired(124);
        assert_eq!(ended.count(), 0);
    }
}

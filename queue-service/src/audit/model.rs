//! Whether an admission log keeps the promises. No I/O, no clock.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::keys::LANE;
use crate::line::lottery::lot;

/// What one call let in and ended.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at_ms: i64,
    /// Places, in the order in which they were let in.
    pub let_in: Vec<u64>,
    pub how: How,
    /// The limits in force.
    pub users: Option<u64>,
    pub every_ms: Option<i64>,
    pub max_active: Option<u64>,
    /// Places whose slots ended: since when, if their time had run out before; else with this call.
    pub ended: Vec<(u64, Option<i64>)>,
    /// How many were active after it, as the store counted.
    pub active: u64,
    /// Changes when the store had forgotten something.
    pub epoch: u64,
    /// Of the draw in force; empty = none.
    pub commitment: String,
    /// Those of `let_in` whose place was drawn by lot.
    pub drawn: HashSet<u64>,
}

/// How people were let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Rate,
    Instant,
    Hand,
    /// Put back after a loss; let in before.
    Regained,
}

impl How {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "rate" => Some(Self::Rate),
            "instant" => Some(Self::Instant),
            "hand" => Some(Self::Hand),
            "regained" => Some(Self::Regained),
            _ => None,
        }
    }

    fn is_counted_by_the_rate(self) -> bool {
        matches!(self, Self::Rate | Self::Instant)
    }
}

/// What the order is judged by, beside the places.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Seed and commitment of the draw in force.
    pub draw: Option<(String, String)>,
}

/// What an audit found.
#[derive(Debug, Default)]
pub struct Findings {
    pub entries: usize,
    pub admissions: usize,
    /// A loss was mended within the log: who proved a place late was let in late.
    pub has_loss: bool,
    pub violations: Vec<String>,
}

impl Findings {
    pub fn summary(&self) -> String {
        let Self { entries, admissions, has_loss, violations } = self;
        let verdict = match violations.len() {
            0 if *has_loss => {
                "rate and cap were kept, and the order until the store forgot something".to_owned()
            }
            0 => "order, rate and cap were kept".to_owned(),
            n => format!("{n} violations"),
        };
        format!("{admissions} admissions in {entries} entries: {verdict}")
    }
}

/// Checks all promises.
pub fn check(entries: &[Entry], order: &Order) -> Findings {
    let admissions = entries.iter().map(|entry| entry.let_in.len()).sum();
    let mut violations = Vec::new();
    check_once(entries, &mut violations);
    check_order(entries, order, &mut violations);
    check_rate(entries, &mut violations);
    check_cap(entries, &mut violations);
    let has_loss = entries.iter().any(|entry| entry.epoch > 0);
    Findings { entries: entries.len(), admissions, has_loss, violations }
}

/// Nobody is let in twice for one place. An admission that the store has forgotten may be given again.
fn check_once(entries: &[Entry], violations: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for entry in entries.iter().filter(|entry| entry.how != How::Regained) {
        for place in entry.let_in.iter().filter(|place| !seen.insert((entry.epoch, **place))) {
            violations.push(format!("place {place} was let in a second time, at {}", entry.at_ms));
        }
    }
}

/// In each lane, those drawn by lot in the order of their lots, then the others in the order of joining. After
/// a loss nothing can be said of it: who proved a place late was let in late.
fn check_order(entries: &[Entry], order: &Order, violations: &mut Vec<String>) {
    let mut fronts: HashMap<u64, (bool, u32, u64)> = HashMap::new();
    let (mut epoch, mut commitment) = (None, "");
    for entry in entries.iter().filter(|entry| !matches!(entry.how, How::Regained | How::Instant)) {
        if epoch.replace(entry.epoch) != Some(entry.epoch) || commitment != entry.commitment {
            commitment = &entry.commitment;
            fronts.clear();
        }
        for place in &entry.let_in {
            let number = place % LANE;
            let is_drawn = entry.drawn.contains(place);
            let rank = match &order.draw {
                Some((seed, promised)) if is_drawn && *promised == entry.commitment => {
                    (false, lot(seed, number), number)
                }
                // A draw whose seed is gone: nothing can be said of its order.
                _ if is_drawn => continue,
                _ => (true, 0, number),
            };
            let front = fronts.entry(place / LANE).or_insert(rank);
            if rank < *front && entry.epoch == 0 {
                violations.push(format!("place {place} was let in after one behind it, at {}", entry.at_ms));
            }
            *front = rank.max(*front);
        }
    }
}

/// Never more than m in any n seconds, by the m and n that were in force at each admission.
fn check_rate(entries: &[Entry], violations: &mut Vec<String>) {
    let longest = entries.iter().filter_map(|entry| entry.every_ms).max().unwrap_or(0);
    let mut recent: VecDeque<(i64, u64)> = VecDeque::new();
    for entry in entries.iter().filter(|entry| entry.how.is_counted_by_the_rate() && !entry.let_in.is_empty())
    {
        recent.push_back((entry.at_ms, entry.let_in.len() as u64));
        while recent.front().is_some_and(|(at, _)| *at < entry.at_ms - longest) {
            recent.pop_front();
        }
        let (Some(users), Some(every_ms)) = (entry.users, entry.every_ms) else { continue };
        let since = entry.at_ms - every_ms;
        let count: u64 = recent.iter().filter(|(at, _)| *at >= since).map(|(_, count)| count).sum();
        if count > users {
            violations.push(format!(
                "{count} were let in within {every_ms} ms up to {}, not {users} at the most",
                entry.at_ms
            ));
        }
    }
}

/// Never more than N at once, counted from the comings and goings alone.
fn check_cap(entries: &[Entry], violations: &mut Vec<String>) {
    let mut changes: Vec<(i64, usize, i64)> = Vec::new();
    for (index, entry) in (1..).zip(entries) {
        changes.extend(entry.let_in.iter().map(|_| (entry.at_ms, index, 1)));
        // A slot whose time ran out was free from then on, however late that was written.
        let ended = |at: &Option<i64>| at.map_or((entry.at_ms, index, -1), |at| (at, 0, -1));
        changes.extend(entry.ended.iter().map(|(_, at)| ended(at)));
    }
    changes.sort_unstable();
    let mut changes = changes.into_iter().peekable();
    let (mut active, mut epoch) = (0, None);
    for (index, entry) in (1..).zip(entries) {
        while let Some((.., change)) = changes.next_if(|(at, of, _)| (*at, *of) <= (entry.at_ms, index)) {
            active += change;
        }
        let counted = i64::try_from(entry.active).unwrap_or(i64::MAX);
        if epoch.replace(entry.epoch) != Some(entry.epoch) {
            // The log begins, or its store has forgotten something: who was active then is taken from it.
            active = counted;
        }
        if active != counted {
            violations
                .push(format!("{active} are active by the log, {counted} by the store, at {}", entry.at_ms));
            active = counted;
        }
        let is_new = !entry.let_in.is_empty() && entry.how != How::Regained;
        if let Some(cap) = entry.max_active.filter(|cap| is_new && entry.active > *cap) {
            violations
                .push(format!("{} are active, not {cap} at the most, at {}", entry.active, entry.at_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_ms: i64, let_in: &[u64], ended: &[(u64, i64)], active: u64) -> Entry {
        Entry {
            at_ms,
            let_in: let_in.to_vec(),
            how: How::Rate,
            users: Some(2),
            every_ms: Some(1_000),
            max_active: Some(3),
            ended: ended.iter().map(|(place, at)| (*place, Some(*at).filter(|at| *at < at_ms))).collect(),
            active,
            epoch: 0,
            commitment: String::new(),
            drawn: HashSet::new(),
        }
    }

    fn violations(entries: &[Entry]) -> Vec<String> {
        check(entries, &Order::default()).violations
    }

    #[test]
    fn a_good_log_has_no_violations() {
        let good = [
            entry(0, &[1, 2], &[], 2),
            entry(1_001, &[4], &[(1, 1_001)], 2),
            // Place 2 ran out at 1500 and was collected with the next call.
            entry(2_500, &[5, 7], &[(2, 1_500)], 3),
        ];
        assert_eq!(violations(&good), Vec::<String>::new());
    }

    #[test]
    fn a_slot_that_ran_out_in_the_same_millisecond_was_free_from_its_beginning() {
        let ended = |ended: &[(u64, Option<i64>)], entry: Entry| Entry { ended: ended.to_vec(), ..entry };
        let good = [
            entry(0, &[1, 2], &[], 2),
            // 1 is completed; 2 has run out a moment ago, which the next call writes down.
            ended(&[(1, None)], entry(5_000, &[], &[], 0)),
            ended(&[(2, Some(5_000))], entry(5_000, &[3], &[], 1)),
        ];
        assert_eq!(violations(&good), Vec::<String>::new());
    }

    #[test]
    fn each_promise_broken_is_found() {
        let bad: [(&str, Vec<Entry>); 5] = [
            ("second time", vec![entry(0, &[1], &[], 1), entry(2_000, &[1], &[(1, 1_000)], 1)]),
            ("after one behind it", vec![entry(0, &[2], &[], 1), entry(2_000, &[1], &[], 2)]),
            ("within 1000 ms", vec![entry(0, &[1, 2], &[], 2), entry(1_000, &[3], &[], 3)]),
            ("by the store", vec![entry(0, &[1], &[], 1), entry(2_000, &[2], &[], 1)]),
            ("at the most", vec![entry(0, &[1, 2], &[], 2), entry(2_000, &[3, 4], &[], 4)]),
        ];
        for (words, entries) in bad {
            let found = violations(&entries);
            assert_eq!(found.len(), 1, "{words}: {found:?}");
            assert!(found[0].contains(words), "{words}: {found:?}");
        }
    }

    #[test]
    fn lots_are_checked_with_the_seed() {
        let order = Order { draw: Some(("seed".to_owned(), "promise".to_owned())) };
        let mut numbers = crate::line::lottery::order("seed", 1..=2);
        let drawn = |numbers: &[u64]| Entry {
            commitment: "promise".to_owned(),
            drawn: numbers.iter().copied().collect(),
            ..entry(0, numbers, &[], 2)
        };
        assert_eq!(check(&[drawn(&numbers)], &order).violations.len(), 0);
        numbers.reverse();
        assert_eq!(check(&[drawn(&numbers)], &order).violations.len(), 1);
    }
}

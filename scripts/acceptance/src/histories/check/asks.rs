//! Attempts with one key are one ask: it is carried out at most once, and has one answer.

use std::collections::HashMap;

use crate::histories::history::{Answer, History, Moment, Outcome, Wish};

use super::violation::Violation;

/// One thing that somebody asked for, with however many attempts.
pub struct Ask<'h> {
    pub attempts: Vec<usize>,
    pub user: usize,
    pub wish: &'h Wish,
    /// Of the first attempt.
    pub begun: Moment,
    /// The first success: which attempt, its answer, and when it was there.
    pub success: Option<(usize, &'h Answer, Moment)>,
    /// Nobody knows whether it was carried out: no success, and an attempt that was not answered.
    pub is_open: bool,
}

/// When a change happened, and by whose asking.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The attempt that shows it best.
    pub attempt: usize,
    pub begun: Moment,
    /// `None`: the answer never came, it may have happened at any time.
    pub ended: Option<Moment>,
}

impl Ask<'_> {
    /// As a change that has happened.
    pub fn deed(&self) -> Deed {
        let (attempt, ended) = match self.success {
            Some((attempt, _, ended)) => (attempt, Some(ended)),
            None => (self.attempts[0], None),
        };
        Deed { attempt, begun: self.begun, ended }
    }
}

/// All asks, by the time of their first attempt. Answers of one key that differ are violations.
pub fn asks<'h>(history: &'h History, violations: &mut Vec<Violation>) -> Vec<Ask<'h>> {
    let mut asks: Vec<Ask<'h>> = Vec::new();
    let mut by_key: HashMap<u64, usize> = HashMap::new();
    let mut order: Vec<usize> = (0..history.attempts.len()).collect();
    order.sort_by_key(|&number| history.attempts[number].begun);
    for number in order {
        let attempt = &history.attempts[number];
        let place = match attempt.key {
            Some(key) => *by_key.entry(key).or_insert(asks.len()),
            None => asks.len(),
        };
        if place == asks.len() {
            asks.push(Ask {
                attempts: Vec::new(),
                user: attempt.user,
                wish: &attempt.wish,
                begun: attempt.begun,
                success: None,
                is_open: false,
            });
        }
        let ask = &mut asks[place];
        ask.attempts.push(number);
        match (&attempt.outcome, ask.success) {
            (Outcome::Lost, _) => ask.is_open = true,
            (Outcome::Ok(answer), Some((first, known, _))) if known != answer => {
                let text = format!("two answers to key {}", attempt.key.unwrap_or_default());
                violations.push(Violation::new(text, &[first, number]));
            }
            (Outcome::Ok(answer), success) if success.is_none_or(|(.., ended)| attempt.ended < ended) => {
                ask.success = Some((number, answer, attempt.ended));
            }
            _ => {}
        }
    }
    for ask in &mut asks {
        ask.is_open &= ask.success.is_none();
    }
    asks
}

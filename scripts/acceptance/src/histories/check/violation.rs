//! What is wrong, with the part of the history that shows it.

use crate::histories::history::{Answer, Attempt, History, Outcome};

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Violation {
    /// One sentence.
    pub what: String,
    /// The attempts that show it, by number.
    pub attempts: Vec<usize>,
}

impl Violation {
    pub(super) fn new(what: impl Into<String>, attempts: &[usize]) -> Self {
        let mut attempts = attempts.to_vec();
        attempts.sort_unstable();
        attempts.dedup();
        Self { what: what.into(), attempts }
    }

    /// For a person: the sentence, and a line for each attempt in the order of time.
    pub fn story(&self, history: &History) -> String {
        let mut attempts: Vec<_> = self.attempts.iter().map(|&number| &history.attempts[number]).collect();
        attempts.sort_by_key(|attempt| attempt.begun);
        let lines: Vec<String> = attempts.into_iter().map(line).collect();
        format!("{}\n{}", self.what, lines.join("\n"))
    }
}

/// `  from–to s  client user replica  wish key -> outcome`
fn line(attempt: &Attempt) -> String {
    let (begun, ended) = (seconds(attempt.begun.tick), seconds(attempt.ended.tick));
    let key = attempt.key.map_or_else(|| "no key".to_owned(), |key| format!("key {key}"));
    let (client, user, replica) = (attempt.client, attempt.user, attempt.replica);
    let (wish, outcome) = (&attempt.wish, shown(&attempt.outcome));
    format!(
        "  {begun}–{ended} s  client {client} of user {user} at replica {replica}: {wish:?}, {key} -> {outcome}"
    )
}

/// Microseconds as seconds.
pub fn seconds(micros: i64) -> String {
    format!("{:.4}", std::time::Duration::from_micros(micros.max(0).cast_unsigned()).as_secs_f64())
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(Answer::Map(seats)) => {
            let mut words: Vec<String> =
                seats.iter().map(|(number, shown)| format!("{number} {shown:?}")).collect();
            words.sort_unstable();
            format!("map: {}", words.join(", "))
        }
        Outcome::Ok(Answer::History(rows)) => format!("{} rows, newest {:?}", rows.len(), rows.first()),
        Outcome::Ok(answer) => format!("{answer:?}"),
        Outcome::Refused { code, seats, balance, .. } if balance.is_some() || !seats.is_empty() => {
            format!("refused: {code}, seats {seats:?}, balance {balance:?}")
        }
        Outcome::Refused { code, .. } => format!("refused: {code}"),
        Outcome::Lost => "no answer".to_owned(),
    }
}

//! What a person reads: a table on the terminal, JSON for programs, one HTML page that needs nothing else.
//!
//! Plots are drawn here ([`plot`]) as SVG inside the page. Colours are the page's variables, which have a
//! light and a dark set.

mod page;
pub mod plot;
mod scale;
mod table;

use std::io::{IsTerminal as _, Write as _};

pub use page::Page;
pub use table::Table;

use crate::tally::{Run, Tally};

/// A line on the terminal.
pub fn say(line: &str) {
    // Nobody is left to tell when the terminal is gone.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// A line about progress on stderr; on a terminal the next one overwrites it, and an empty one ends it.
pub fn progress(line: &str) {
    let mut to = std::io::stderr();
    let written = match (to.is_terminal(), line) {
        (true, line) => write!(to, "\r\x1b[K{line}").and_then(|()| to.flush()),
        (false, "") => Ok(()),
        (false, line) => writeln!(to, "{line}"),
    };
    drop(written);
}

/// Percentiles and rate of runs, a line each.
pub fn runs(named: &[(&str, &Run)]) -> Table {
    let mut table = Table::new(&["", "good/s", "good", "bad", "p50 ms", "p90", "p99", "p99.9", "max"]);
    for (name, run) in named {
        let (tally, found) = (&run.tally, run.tally.percentiles());
        let mut row =
            vec![(*name).to_owned(), whole(run.rate()), grouped(tally.good()), grouped(tally.bad())];
        row.extend([found.p50, found.p90, found.p99, found.p999, found.max].map(|ms| format!("{ms:.2}")));
        table.row(row);
    }
    table
}

/// Each outcome and how often it came.
pub fn outcomes(tally: &Tally) -> Table {
    let mut table = Table::new(&["outcome", "times"]);
    for (outcome, times) in tally.outcomes() {
        table.row(vec![outcome.to_string(), grouped(times)]);
    }
    table
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rounded, and as [`grouped`].
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is no more than that")]
pub fn whole(number: f64) -> String {
    grouped(number.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let found = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(found, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(whole(999.6), "1,000");
    }
}

//! Whether a load test is passed: promises that must hold, objectives that must be met.

use serde::Serialize;

use crate::crowd::{Findings, Kind, Tallies};
use crate::report::{Table, grouped};

/// All that was judged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    pub checks: Vec<Check>,
}

/// One line of it.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: String,
    /// What was found, and what was wanted.
    pub found: String,
    pub ok: bool,
}

impl Verdict {
    /// That was never broken.
    pub fn promise(&mut self, promise: &str, findings: &Findings) {
        let (found, ok) = match findings.of(promise) {
            None => ("kept".to_owned(), true),
            Some(broken) => {
                (format!("broken {} times: {}", grouped(broken.times), broken.examples.join("; ")), false)
            }
        };
        self.checks.push(Check { name: promise.to_owned(), found, ok });
    }

    /// A list of violations that should be empty.
    pub fn empty(&mut self, name: &str, violations: &[String]) {
        let first: Vec<&str> = violations.iter().take(3).map(String::as_str).collect();
        let found = if violations.is_empty() { "none".to_owned() } else { first.join("; ") };
        self.checks.push(Check { name: name.to_owned(), found, ok: violations.is_empty() });
    }

    /// Two counts that should be the same.
    pub fn equal(&mut self, name: &str, found: u64, wanted: u64) {
        let shown = format!("{} and {}", grouped(found), grouped(wanted));
        self.checks.push(Check { name: name.to_owned(), found: shown, ok: found == wanted });
    }

    /// A number with a limit.
    pub fn at_most(&mut self, name: &str, found: f64, most: f64, unit: &str) {
        let shown = format!("{found:.2} {unit}, at most {most} {unit}");
        self.checks.push(Check { name: name.to_owned(), found: shown, ok: found <= most });
    }

    /// Percentile 99 of what was asked for; nothing where nothing was asked.
    pub fn p99(&mut self, kind: Kind, tallies: &Tallies, most_ms: f64) {
        let (asked, good, p99) = tallies
            .with(kind, |tally| (tally.good() + tally.bad() > 0, tally.good() > 0, tally.percentiles().p99));
        let found = if good { p99 } else { f64::INFINITY };
        if asked {
            self.at_most(&format!("p99: {}", kind.name()), found, most_ms, "ms");
        }
    }

    /// Errors among all answers.
    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    pub fn errors(&mut self, tallies: &Tallies, most_per_thousand: f64) {
        let (answers, errors) = tallies.answers_and_errors();
        let share = errors as f64 / answers.max(1) as f64 * 1000.0;
        self.at_most("errors (5xx, silence, wrong answers)", share, most_per_thousand, "in a thousand");
    }

    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// Those that hold first, the broken ones last.
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["", "found", ""]);
        let (good, bad): (Vec<_>, Vec<_>) = self.checks.iter().partition(|check| check.ok);
        for check in good.into_iter().chain(bad) {
            let word = if check.ok { "ok" } else { "missed" };
            table.row(vec![check.name.clone(), check.found.clone(), word.to_owned()]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_line_breaks_the_verdict_and_comes_last() {
        let findings = Findings::default();
        let mut verdict = Verdict::default();
        verdict.promise("kept one", &findings);
        verdict.equal("sold", 2, 2);
        assert!(verdict.is_ok());
        findings.broken("broken one", || "like this".to_owned());
        verdict.promise("broken one", &findings);
        verdict.at_most("p99", 3.0, 5.0, "ms");
        assert!(!verdict.is_ok());
        let text = verdict.table().text();
        assert!(text.lines().last().is_some_and(|line| line.contains("broken 1 times: like this")), "{text}");
        let mut verdict = Verdict::default();
        verdict.at_most("time", 60.1, 60.0, "s");
        verdict.equal("sold", 1, 2);
        verdict.empty("books", &["a seat".to_owned()]);
        assert!(verdict.checks.iter().all(|check| !check.ok));
    }
}

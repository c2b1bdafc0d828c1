//! What a load test says in the end: tables on the terminal, a JSON file, an HTML page; the broken lines last.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::crowd::{Kind, Sample, Tallies};
use crate::report::plot::{self, Series};
use crate::report::{Page, Table, grouped, outcomes, runs, say};
use crate::stand::Service;
use crate::tally::{Run, Tally};
use crate::verdict::Verdict;

/// A finished load test.
pub struct Outcome {
    pub title: &'static str,
    /// Of the files.
    pub name: &'static str,
    /// What was asked for and what came of it, in words.
    pub facts: Vec<(&'static str, String)>,
    pub took: Duration,
    /// By second.
    pub samples: Vec<(f64, Sample)>,
    pub verdict: Verdict,
}

/// Where reports go: `LOAD_RESULTS`, or else here.
pub fn folder() -> PathBuf {
    std::env::var_os("LOAD_RESULTS").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// What a service has used so far, in words.
pub fn used(service: &Service) -> anyhow::Result<String> {
    let usage = service.usage()?;
    let megabytes = usage.peak_bytes / 1_000_000;
    Ok(format!("{:.1} s of a processor, {megabytes} MB at the most", usage.processor.as_secs_f64()))
}

impl Outcome {
    /// Says and writes it; failure when anything was broken.
    pub fn publish(&self, tallies: &Tallies, folder: &Path) -> anyhow::Result<ExitCode> {
        let runs = tallies.runs(self.took);
        let named: Vec<(&str, &Run)> = runs.iter().map(|(kind, run)| (kind.name(), run)).collect();
        let (page, data) =
            (folder.join(format!("{}.html", self.name)), folder.join(format!("{}.json", self.name)));
        std::fs::write(&page, self.html(&named))?;
        std::fs::write(&data, format!("{:#}\n", self.json(&runs)?))?;
        let facts: Vec<String> = self.facts.iter().map(|(name, fact)| format!("{name}: {fact}")).collect();
        say(&format!("\n{}\n\n{}\n", facts.join("\n"), crate::report::runs(&named).text()));
        say(&format!("{}\n\n{}\n{}", codes(&runs).text(), page.display(), data.display()));
        say(&format!("\n{}", self.verdict.table().text()));
        Ok(if self.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn json(&self, named: &[(Kind, Run)]) -> anyhow::Result<Value> {
        let kind = |(kind, run): &(Kind, Run)| {
            let outcomes: serde_json::Map<String, Value> = run
                .tally
                .outcomes()
                .into_iter()
                .map(|(what, times)| (what.to_string(), json!(times)))
                .collect();
            json!({ "what": kind.name(), "good_per_second": run.rate(), "milliseconds": run.tally.percentiles(),
                    "outcomes": outcomes })
        };
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))).collect();
        Ok(json!({
            "at": shared::clock::rfc3339(shared::clock::Clock::system().now()),
            "processors": std::thread::available_parallelism()?.get(),
            "facts": facts,
            "seconds": self.took.as_secs_f64(),
            "requests": named.iter().map(kind).collect::<Vec<_>>(),
            "ok": self.verdict.is_ok(),
            "checks": self.verdict.checks,
        }))
    }

    fn html(&self, named: &[(&str, &Run)]) -> String {
        let mut page = Page::new(self.title);
        let mut facts = Table::new(&["", ""]);
        for (name, fact) in &self.facts {
            facts.row(vec![(*name).to_owned(), fact.clone()]);
        }
        page.table(&facts);
        page.heading("Promises and objectives");
        page.table(&self.verdict.table());
        page.heading("Requests");
        page.table(&runs(named));
        let tallies: Vec<(&str, &Tally)> = named.iter().map(|(name, run)| (*name, &run.tally)).collect();
        page.figure(
            &plot::percentiles(&tallies),
            "Latency of good answers, from the moment the request was to start; the rightmost is one in ten thousand.",
        );
        for series in self.series() {
            page.figure(&plot::over_time(std::slice::from_ref(&series), &series.label), &series.label);
        }
        for (name, run) in named {
            page.heading(name);
            page.figure(&plot::answers_over_time(&run.tally), "Good and other answers, second by second.");
            page.figure(&plot::latency_over_time(&run.tally), "Latency, second by second.");
            page.table(&outcomes(&run.tally));
        }
        page.html()
    }

    /// One for each name that was sampled.
    fn series(&self) -> Vec<Series> {
        let Some((_, first)) = self.samples.first() else { return Vec::new() };
        let of = |at: usize| {
            let points =
                self.samples.iter().filter_map(|(second, sample)| Some((*second, sample.get(at)?.1)));
            points.collect()
        };
        let named = first.iter().enumerate();
        named.map(|(at, (name, _))| Series { label: (*name).to_owned(), points: of(at) }).collect()
    }
}

/// Everything that was not a plain success, by request.
fn codes(named: &[(Kind, Run)]) -> Table {
    let mut table = Table::new(&["request: answer", "times"]);
    for (kind, run) in named {
        for (outcome, times) in run.tally.outcomes().into_iter().filter(|(outcome, _)| !outcome.is_good()) {
            table.row(vec![format!("{}: {outcome}", kind.name()), grouped(times)]);
        }
    }
    table
}

//! What the benchmark says: the table, `bench.json`, `bench.html`.

use std::path::Path;

use serde_json::{Value, json};

use super::Arguments;
use super::row::{Row, Spread, Target};
use crate::report::plot::{self, Bar};
use crate::report::{Page, Table, say, whole};

/// All rows, for the terminal and the page.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["", "measured", "baseline", "ratio", "low–high", "target", ""]);
    for row in rows {
        let (judged, unit) = (row.judged(), row.unit);
        let based_on = row.based_on().map(|spread| figure(spread.median, unit));
        let (ratio, target) = match row.target {
            Target::Ratio(least) => (format!("{:.2}", judged.median), format!("≥ {least:.2}")),
            Target::AtMost(most) => (String::new(), format!("≤ {}", figure(most, unit))),
        };
        let name = row.baseline.as_ref().map_or(row.name.clone(), |of| format!("{} / {of}", row.name));
        table.row(vec![
            name,
            figure(row.measured().median, unit),
            based_on.unwrap_or_default(),
            ratio,
            ends(row, judged),
            target,
            verdict(row).to_owned(),
        ]);
    }
    table
}

fn verdict(row: &Row) -> &'static str {
    if row.is_ok() { "ok" } else { "missed" }
}

fn ends(row: &Row, spread: Spread) -> String {
    let shown = |number: f64| match row.target {
        Target::Ratio(_) => format!("{number:.2}"),
        Target::AtMost(_) => number_of(number),
    };
    if row.samples.len() < 2 {
        String::new()
    } else {
        format!("{}–{}", shown(spread.low), shown(spread.high))
    }
}

fn figure(number: f64, unit: &str) -> String {
    match unit {
        "" => number_of(number),
        "/s" => format!("{}/s", whole(number)),
        unit => format!("{} {unit}", number_of(number)),
    }
}

fn number_of(number: f64) -> String {
    match number {
        small if small < 0.1 => format!("{small:.4}"),
        small if small < 100.0 => format!("{small:.2}"),
        large => whole(large),
    }
}

/// Writes both files into `folder` and says where.
pub fn write(rows: &[Row], failures: &[String], arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    let (data, page) = (folder.join("bench.json"), folder.join("bench.html"));
    let told = json!({
        "at": shared::clock::rfc3339(shared::clock::Clock::system().now()),
        "processors": std::thread::available_parallelism()?.get(),
        "quick": arguments.quick,
        "failures": failures,
        "rows": rows.iter().map(row_told).collect::<Vec<_>>(),
    });
    std::fs::write(&data, format!("{told:#}\n"))?;
    std::fs::write(&page, html(rows, failures, arguments))?;
    say(&format!("{}\n{}", data.display(), page.display()));
    Ok(())
}

fn row_told(row: &Row) -> Value {
    let mut told = json!(row);
    told["measured"] = json!(row.measured());
    told["based_on"] = json!(row.based_on());
    told["judged"] = json!(row.judged());
    told["ok"] = json!(row.is_ok());
    told
}

fn html(rows: &[Row], failures: &[String], arguments: &Arguments) -> String {
    let mut page = Page::new("Benchmark of the queue and booking services");
    if arguments.quick {
        page.text("A quick run: small crowds and short samples. The figures show that it works, not what it is worth.");
    }
    for failure in failures {
        page.text(failure);
    }
    page.table(&table(rows));
    page.heading("Against the baselines");
    let of = |wanted: fn(&Target) -> bool| rows.iter().filter(move |row| wanted(&row.target));
    let ratios: Vec<Bar> = of(|target| matches!(target, Target::Ratio(_))).map(bar).collect();
    page.figure(
        &plot::bars(&ratios),
        "Measured ÷ baseline, pair by pair: the bar is the median, the whisker goes from the lowest pair to the highest, \
         the upright line is the target. More is better.",
    );
    page.heading("Against the limits");
    let limits: Vec<Bar> = of(|target| matches!(target, Target::AtMost(_))).map(bar).collect();
    page.figure(&plot::bars(&limits), "Measured ÷ limit; the limit is 1. Less is better.");
    page.heading("What stands behind the rows");
    let mut notes = Table::new(&["", "samples", "note"]);
    for row in rows {
        let sample = |sample: &super::row::Sample| match sample.baseline {
            Some(baseline) => format!("{} / {}", number_of(sample.measured), number_of(baseline)),
            None => number_of(sample.measured),
        };
        let samples: Vec<String> = row.samples.iter().map(sample).collect();
        notes.row(vec![row.name.clone(), samples.join(" · "), row.note.clone()]);
    }
    page.table(&notes);
    page.html()
}

fn bar(row: &Row) -> Bar {
    let judged = row.judged();
    let (scale, target) = match row.target {
        Target::Ratio(least) => (1.0, least),
        Target::AtMost(most) => (most, 1.0),
    };
    Bar {
        label: row.name.clone(),
        value: judged.median / scale,
        low: judged.low / scale,
        high: judged.high / scale,
        target,
        note: format!("{:.2}", judged.median / scale),
        is_ok: row.is_ok(),
    }
}

//! Holds over HTTP: one free seat each, named, by a user of its own with an entry token that nobody has seen before.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::hall::{Hall, QUEUE, Written};
use super::row::{Row, Sample};
use super::{Bench, compare, durable, pgbench};
use crate::http::post;
use crate::work::Prepared;

/// How many clients pgbench is tried with.
const CLIENTS: [u32; 3] = [8, 16, 32];

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut hall = Hall::open(bench).await?;
    let mut rows = vec![free(bench, &mut hall).await?];
    let most = rows[0].measured().median;
    let baseline = "pgbench, the same statements, one hold a transaction";
    let limited = pairs(bench, &mut hall, pgbench::LIMITED_HOLD, Some(4)).await?;
    rows.push(Row::ratio("holds, at most 4 seats a user", baseline, "/s", 2.0, limited.0).noting(limited.1));
    let (mut found, paced, seconds) = (Vec::new(), most / 2.0, bench.size.open_seconds);
    for sample in 0..bench.size.pairs {
        bench.progress("holds at half of their maximum", sample);
        let date = hall.date(compare::enough(paced, seconds), None).await?;
        let work = wishes(bench, date, compare::enough(paced, seconds))?;
        hall.settle().await?;
        found.push(durable::p99(bench, hall.booking.public(), paced, seconds, &work).await?);
    }
    rows.push(durable::row("p99 of a hold at half of its maximum", 25.0, paced, &found));
    hall.close().await?;
    Ok(rows)
}

async fn free(bench: &Bench, hall: &mut Hall) -> anyhow::Result<Row> {
    let (samples, note) = pairs(bench, hall, pgbench::HOLD, None).await?;
    let baseline = "pgbench, the same statement, one hold a transaction";
    Ok(Row::ratio("holds, entry token checked", baseline, "/s", 2.0, samples).noting(note))
}

/// A warm-up, and then a date for each sample.
async fn pairs(
    bench: &Bench,
    hall: &mut Hall,
    script: &str,
    limit: Option<u32>,
) -> anyhow::Result<(Vec<Sample>, String)> {
    over_http(bench, hall, limit).await?;
    let (mut best, mut clients) = (0.0, 0);
    for tried in CLIENTS {
        let rate = over_sql(bench, hall, script, limit, tried).await?;
        if rate > best {
            (best, clients) = (rate, tried);
        }
    }
    let (mut samples, mut costs) = (Vec::new(), Vec::new());
    for pair in 0..bench.size.pairs {
        bench.progress(if limit.is_some() { "holds with a limit" } else { "holds" }, pair);
        let baseline = over_sql(bench, hall, script, limit, clients).await?;
        let measured = over_http(bench, hall, limit).await?;
        samples.push(Sample { measured: measured.rate, baseline: Some(baseline) });
        costs.push(measured);
    }
    let costs = Written::told(&costs);
    Ok((samples, format!("{costs}; pgbench with {clients} clients, its best of {CLIENTS:?}")))
}

async fn over_sql(
    bench: &Bench,
    hall: &mut Hall,
    script: &str,
    limit: Option<u32>,
    clients: u32,
) -> anyhow::Result<f64> {
    let seats = bench.size.hall;
    let date = hall.date(seats, limit).await?;
    hall.settle().await?;
    let seconds = bench.size.selling_seconds;
    let found = pgbench::run(hall, script, clients, seconds, date, &hall.prefix()).await?;
    hall.check(date, "held", found.done).await?;
    Ok(found.rate)
}

async fn over_http(bench: &Bench, hall: &mut Hall, limit: Option<u32>) -> anyhow::Result<Written> {
    let seats = bench.size.hall;
    let date = hall.date(seats, limit).await?;
    let work = wishes(bench, date, seats)?;
    hall.settle().await?;
    let written = hall.put(&work, bench.size.selling_seconds).await?;
    hall.check(date, "held", written.answers).await?;
    Ok(written)
}

/// A wish for each seat.
fn wishes(bench: &Bench, date: Uuid, seats: u32) -> anyhow::Result<Arc<Prepared>> {
    let tokens = bench.stand.tokens();
    let wish = |seat: u32| {
        let token = tokens.entry(&Uuid::new_v4().to_string(), QUEUE)?;
        let body = json!({ "schedule_id": date, "seat_numbers": [seat] });
        anyhow::Ok(post("/v1/reservations", Some(&token), &body.to_string()))
    };
    Ok(Arc::new(Prepared::once((1..=seats).map(wish).collect::<anyhow::Result<_>>()?)))
}

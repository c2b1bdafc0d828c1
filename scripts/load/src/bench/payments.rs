//! Payments over HTTP: each pays a hold that was made beforehand, with points that were charged beforehand, and
//! spends the entry token that made the hold.

use std::sync::Arc;

use serde_json::json;

use super::hall::{Hall, Held, QUEUE, Written};
use super::row::{Row, Sample};
use super::{Bench, compare, durable, pgbench};
use crate::http::post;
use crate::work::Prepared;

const CLIENTS: [u32; 3] = [8, 16, 32];

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut hall = Hall::open(bench).await?;
    over_http(bench, &mut hall).await?;
    let (mut best, mut clients) = (0.0, 0);
    for tried in CLIENTS {
        let rate = over_sql(bench, &mut hall, tried).await?;
        if rate > best {
            (best, clients) = (rate, tried);
        }
    }
    let (mut samples, mut costs) = (Vec::new(), Vec::new());
    for pair in 0..bench.size.pairs {
        bench.progress("payments", pair);
        let baseline = over_sql(bench, &mut hall, clients).await?;
        let measured = over_http(bench, &mut hall).await?;
        samples.push(Sample { measured: measured.rate, baseline: Some(baseline) });
        costs.push(measured);
    }
    let costs = Written::told(&costs);
    let baseline = "pgbench, the same statement, one payment a transaction";
    let row = Row::ratio("payments", baseline, "/s", 2.0, samples);
    let row = row.noting(format!("{costs}; pgbench with {clients} clients, its best of {CLIENTS:?}"));
    let (mut found, paced, seconds) = (Vec::new(), row.measured().median / 2.0, bench.size.open_seconds);
    for sample in 0..bench.size.pairs {
        bench.progress("payments at half of their maximum", sample);
        let work = wishes(bench, &mut hall, compare::enough(paced, seconds)).await?.1;
        found.push(durable::p99(bench, hall.booking.public(), paced, seconds, &work).await?);
    }
    let latency = durable::row("p99 of a payment at half of its maximum", 25.0, paced, &found);
    hall.close().await?;
    Ok(vec![row, latency])
}

async fn over_sql(bench: &Bench, hall: &mut Hall, clients: u32) -> anyhow::Result<f64> {
    let seats = bench.size.hall;
    let (date, prefix) = (hall.date(seats, None).await?, hall.prefix());
    hall.hold_all(date, &prefix).await?;
    hall.settle().await?;
    let seconds = bench.size.selling_seconds;
    let found = pgbench::run(hall, pgbench::PAYMENT, clients, seconds, date, &prefix).await?;
    hall.check(date, "sold", found.done).await?;
    Ok(found.rate)
}

async fn over_http(bench: &Bench, hall: &mut Hall) -> anyhow::Result<Written> {
    let (date, work) = wishes(bench, hall, bench.size.hall).await?;
    let written = hall.put(&work, bench.size.selling_seconds).await?;
    hall.check(date, "sold", written.answers).await?;
    Ok(written)
}

/// A date of held seats, and a wish to pay each.
async fn wishes(bench: &Bench, hall: &mut Hall, seats: u32) -> anyhow::Result<(uuid::Uuid, Arc<Prepared>)> {
    let (date, prefix) = (hall.date(seats, None).await?, hall.prefix());
    let held = hall.hold_all(date, &prefix).await?;
    hall.settle().await?;
    let tokens = bench.stand.tokens();
    let wish = |held: &Held| {
        let token = tokens.entry_of(&held.user_id, QUEUE, &held.entry_jti)?;
        let body = json!({ "reservation_id": held.id });
        anyhow::Ok(post("/v1/payments", Some(&token), &body.to_string()))
    };
    let wishes = held.iter().map(wish).collect::<anyhow::Result<_>>()?;
    Ok((date, Arc::new(Prepared::once(wishes))))
}

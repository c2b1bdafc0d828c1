//! Seat maps, of a small hall and of a large one, read by a thousand users with entry tokens in turn.

use std::sync::Arc;

use super::bare::{self, Bare};
use super::compare::{Costs, Side};
use super::hall::{Hall, QUEUE};
use super::row::{Row, Sample};
use super::{Bench, compare};
use crate::http::get;
use crate::report::grouped;
use crate::work::Prepared;

const READERS: usize = 1000;
const HALLS: [u32; 2] = [50, 5000];

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut hall = Hall::open(bench).await?;
    let mut rows = Vec::new();
    for seats in HALLS {
        rows.push(of_size(bench, &mut hall, seats).await?);
    }
    hall.close().await?;
    Ok(rows)
}

async fn of_size(bench: &Bench, hall: &mut Hall, seats: u32) -> anyhow::Result<Row> {
    let path = format!("/v1/schedules/{}/seats", hall.date(seats, None).await?);
    let tokens = bench.stand.tokens();
    let read = |_| {
        let token = tokens.entry(&uuid::Uuid::new_v4().to_string(), QUEUE)?;
        anyhow::Ok(get(&path, Some(&token)))
    };
    let reads = (0..READERS).map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let fixture = bare::taken(hall.booking.public(), &reads[0], &path).await?;
    let bytes = grouped(fixture.body.len() as u64);
    let bare = Bare::start(&bench.stand.place, &[fixture]).await?;
    let (time, reads) = (bench.size.sample, Arc::new(Prepared::new(reads)));
    let (plain, service, mut costs) = (bare.side()?, Side::of(&hall.booking)?, Costs::default());
    compare::rate(service.to, time / 3, &reads).await?;
    let mut samples = Vec::new();
    for pair in 0..bench.size.pairs {
        bench.progress(&format!("seat maps of {seats}"), pair);
        let baseline = compare::metered(plain, time, &reads, &Arc::default()).await?;
        let measured = compare::metered(service, time, &reads, &Arc::default()).await?;
        samples.push(Sample { measured: measured.rate, baseline: Some(baseline.rate) });
        costs.add(&measured, &baseline);
    }
    bare.stop().await?;
    let name = format!("seat maps of {} seats", grouped(seats.into()));
    let row = Row::ratio(&name, "bare axum handler, the same bytes", "/s", 0.85, samples);
    Ok(row.noting(format!("{bytes} bytes each; {}", costs.told())))
}

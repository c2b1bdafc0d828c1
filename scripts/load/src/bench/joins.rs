//! Joins: each of a user of its own, whose token the service has not seen before, into a line that grows.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::ensure;
use serde_json::json;

use super::bare::{self, Bare};
use super::row::{Row, Sample};
use super::{Bench, compare};
use crate::baseline::Fixture;
use crate::http::post;
use crate::work::Prepared;

const QUEUE: &str = "joins";
/// More than anybody answers in a second.
const MOST_PER_SECOND: f64 = 45_000.0;

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let queue = bench.stand.queue(&[]).await?;
    let settings = json!({ "max_active": 0, "waiting_ttl_seconds": 3600, "instant_admission": false });
    let (status, told) = queue.admin("PUT", &format!("/admin/v1/queues/{QUEUE}"), Some(&settings)).await?;
    ensure!(status == 201, "the queue cannot be made: {status} {told}");
    let (tokens, path) = (bench.stand.tokens(), format!("/v1/queues/{QUEUE}/tokens"));
    let join = || anyhow::Ok(post(&path, Some(&tokens.user(&uuid::Uuid::new_v4().to_string())?), "{}"));
    let fixture = bare::taken(queue.public(), &join()?, &path).await?;
    let key = bench.stand.keys.identity_key().x().to_owned();
    let fixture = Fixture { verified_by: Some(key), ..fixture };
    let bare = Bare::start(&bench.stand.place, &[fixture]).await?;

    let (time, next) = (bench.size.sample, Arc::<AtomicU64>::default());
    let samples = bench.size.pairs + 1;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred thousand")]
    let most = (MOST_PER_SECOND * time.as_secs_f64() * 0.7) as usize * samples;
    let joins = (0..most).map(|_| join()).collect::<anyhow::Result<Vec<_>>>()?;
    let joins = Arc::new(Prepared::once(joins));
    // The first sample warms both up and is thrown away.
    let mut pairs = Vec::new();
    for _ in 0..samples {
        // The bare handler has no memory: it takes the tokens that the service takes next.
        let from = Arc::new(AtomicU64::new(next.load(std::sync::atomic::Ordering::Relaxed)));
        let baseline = compare::rate_from(bare.address(), time, &joins, &from).await?;
        let measured = compare::rate_from(queue.public(), time, &joins, &next).await?;
        pairs.push(Sample { measured, baseline: Some(baseline) });
    }
    bare.stop().await?;
    queue.stop().await?;
    pairs.remove(0);
    let baseline = "bare axum handler verifying the same tokens";
    Ok(vec![Row::ratio("joins, user token verified", baseline, "/s", 0.75, pairs)])
}

//! Joins: each of a user of its own, whose token the service has not seen before, into a line that grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use serde_json::json;

use super::bare::{self, Bare};
use super::compare::{Costs, Side};
use super::row::{Row, Sample, Spread};
use super::store::Redis;
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
    let (plain, service, mut costs) = (bare.side()?, Side::of(&queue)?, Costs::default());
    let mut redis = Redis::connect(&bench.stand.place.redis_url).await?;
    let mut in_redis = Vec::new();
    // The first sample warms both up and is thrown away.
    let mut pairs = Vec::new();
    for pair in 0..samples {
        bench.progress("joins", pair.saturating_sub(1));
        // The bare handler has no memory: it takes the tokens that the service takes next.
        let from = Arc::new(AtomicU64::new(next.load(Ordering::Relaxed)));
        let baseline = compare::metered(plain, time, &joins, &from).await?;
        let before = redis.processor().await?;
        let measured = compare::metered(service, time, &joins, &next).await?;
        in_redis.push((redis.processor().await? - before) * 1e6 / measured.answers);
        pairs.push(Sample { measured: measured.rate, baseline: Some(baseline.rate) });
        costs.add(&measured, &baseline);
    }
    bare.stop().await?;
    queue.stop().await?;
    redis.forget().await?;
    pairs.remove(0);
    let baseline = "bare axum handler verifying the same tokens";
    let note = format!("{}, Redis {:.1} µs", costs.told(), Spread::of(in_redis).median);
    Ok(vec![Row::ratio("joins, user token verified", baseline, "/s", 0.75, pairs).noting(note)])
}

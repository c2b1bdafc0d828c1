//! Polls with a million people in line: against a bare handler, and against a line of a thousand. What that
//! costs Redis and the service in commands and memory, and how soon a restarted service answers again.
//!
//! Nobody is let in (`max_active` 0). Nobody lapses either, but signs of life are kept and written as ever:
//! `waiting_ttl_seconds` is an hour, not 0.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::bare::{self, Bare};
use super::compare::{Costs, Side};
use super::row::{Row, Sample};
use super::store::Redis;
use super::{Bench, compare};
use crate::http::{Client, get, post};
use crate::report::{grouped, whole};
use crate::stand::Service;
use crate::work::Prepared;

const CROWD: &str = "crowd";
const FEW: &str = "few";
/// People of the crowd who poll, evenly spread over the line.
const POLLERS: usize = 20_000;
const SMALL_LINE: u64 = 1_000;
const MEGABYTE: f64 = 1e6;

/// A queue, and who in it polls.
struct Line {
    polls: Arc<Prepared>,
    /// The poll of somebody in the middle, and the position.
    middle: Vec<u8>,
    position: u64,
}

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut redis = Redis::connect(&bench.stand.place.redis_url).await?;
    let mut queue = bench.stand.queue(&[]).await?;
    let people = bench.size.crowd;
    let few = line_up(bench, &queue, FEW, SMALL_LINE).await?;
    let before = redis.info("used_memory").await?;
    let crowd = line_up(bench, &queue, CROWD, people).await?;
    redis.settle().await?;
    let per_person = (redis.info("used_memory").await? - before) / count(people);

    let path = format!("/v1/queues/{CROWD}/tokens/me");
    let fixture = bare::taken(queue.public(), &crowd.middle, &path).await?;
    let bare = Bare::start(&bench.stand.place, &[fixture]).await?;
    let sides = Sides { bare: &bare, crowd: &crowd, few: &few };
    let mut rows = rates(bench, &queue, &mut redis, &sides).await?;
    let half = rows[0].measured().median / 2.0;
    let (mut late, mut late_bare) = (Vec::new(), Vec::new());
    for sample in 0..bench.size.pairs {
        bench.progress("polls at half of their maximum", sample);
        let p99 = async |to| compare::p99(to, half, bench.size.open_seconds, &crowd.polls).await;
        late_bare.push(p99(bare.side()?.to).await?);
        late.push(p99(queue.public()).await?);
    }
    bare.stop().await?;
    let name = "p99 of a poll at half of its maximum";
    let row = Row::limit(name, "ms", 5.0, late).beside("bare axum handler, as many a second", &late_bare);
    rows.push(row.noting(format!("open loop, {}/s", whole(half))));
    rows.push(
        Row::limit("Redis bytes per person in line", "bytes", 220.0, vec![per_person])
            .noting(format!("used_memory, {} people with ids of 36 bytes", grouped(people))),
    );
    let usage = queue.usage()?;
    let megabytes = |bytes: u64| count(bytes) / MEGABYTE;
    rows.push(
        Row::limit("memory of the queue service", "MB", 150.0, vec![megabytes(usage.resident_bytes)])
            .noting(format!("resident after the polls; at its peak {:.0} MB", megabytes(usage.peak_bytes))),
    );
    let mut restarts = Vec::new();
    for sample in 0..bench.size.pairs {
        bench.progress("restarts", sample);
        restarts.push(restart(&mut queue, &crowd).await?);
    }
    rows.push(
        Row::limit("restart of the queue service", "s", 10.0, restarts)
            .noting("from SIGTERM to a right position for somebody in the middle, ready before"),
    );
    queue.stop().await?;
    redis.forget().await?;
    Ok(rows)
}

struct Sides<'a> {
    bare: &'a Bare,
    crowd: &'a Line,
    few: &'a Line,
}

/// The three sides in turn, and what the crowd's polls cost Redis meanwhile.
async fn rates(
    bench: &Bench,
    queue: &Service,
    redis: &mut Redis,
    sides: &Sides<'_>,
) -> anyhow::Result<Vec<Row>> {
    let time = bench.size.sample;
    let (mut against_bare, mut against_few, mut commands) = (Vec::new(), Vec::new(), Vec::new());
    let mut costs = Costs::default();
    let (bare, service) = (sides.bare.side()?, Side::of(queue)?);
    compare::rate(service.to, time / 3, &sides.crowd.polls).await?;
    for pair in 0..bench.size.pairs {
        bench.progress("polls", pair);
        let baseline = compare::metered(bare, time, &sides.crowd.polls, &Arc::default()).await?;
        let before = redis.info("total_commands_processed").await?;
        let crowd = compare::metered(service, time, &sides.crowd.polls, &Arc::default()).await?;
        let spent = redis.info("total_commands_processed").await? - before;
        let few = compare::rate(service.to, time, &sides.few.polls).await?;
        against_bare.push(Sample { measured: crowd.rate, baseline: Some(baseline.rate) });
        against_few.push(Sample { measured: crowd.rate, baseline: Some(few) });
        commands.push(spent / crowd.answers);
        costs.add(&crowd, &baseline);
    }
    let before = redis.info("total_commands_processed").await?;
    tokio::time::sleep(time).await;
    let idle = (redis.info("total_commands_processed").await? - before) / time.as_secs_f64();
    let people = grouped(bench.size.crowd);
    let name = format!("polls, {people} in line");
    let commands = Row::limit("Redis commands per poll", "", 0.02, commands).noting(format!(
        "commands in scripts included; {} a second without polls, not subtracted",
        whole(idle)
    ));
    Ok(vec![
        Row::ratio(&name, "bare axum handler, the same bytes", "/s", 0.85, against_bare).noting(costs.told()),
        Row::ratio(
            &format!("{name} or few"),
            &format!("{} in line", grouped(SMALL_LINE)),
            "/s",
            0.90,
            against_few,
        ),
        commands,
    ])
}

/// A queue of that many, some of whom have queue tokens.
async fn line_up(bench: &Bench, queue: &Service, name: &str, people: u64) -> anyhow::Result<Line> {
    let settings = json!({ "max_active": 0, "waiting_ttl_seconds": 3600, "instant_admission": false });
    let (status, told) = queue.admin("PUT", &format!("/admin/v1/queues/{name}"), Some(&settings)).await?;
    ensure!(status == 201, "the queue {name} cannot be made: {status} {told}");
    let users: Vec<String> = (0..people).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    queue_service::line_up(&bench.stand.place.redis_url, "", name, &users).await?;
    let (tokens, step) = (bench.stand.tokens(), users.len().div_ceil(POLLERS));
    let (mut client, path) = (Client::new(queue.public()), format!("/v1/queues/{name}/tokens"));
    let mut polls = Vec::new();
    let mut positions = Vec::new();
    for user in users.iter().step_by(step) {
        let answer = client.send(&post(&path, Some(&tokens.user(user)?), "{}")).await?;
        ensure!(answer.status == 200, "{user} is not in line: {}", answer.status);
        let token = answer.text_of("queue_token").context("there is no queue token")?;
        polls.push(get(&format!("{path}/me"), Some(token)));
        positions.push(answer.json()?["position"].as_u64().context("there is no position")?);
    }
    let at = polls.len() / 2;
    let (middle, position) = (polls[at].clone(), positions[at]);
    Ok(Line { polls: Arc::new(Prepared::new(polls)), middle, position })
}

/// Seconds until the middle of the line is answered rightly again.
async fn restart(queue: &mut Service, crowd: &Line) -> anyhow::Result<f64> {
    let begun = Instant::now();
    queue.restart().await?;
    queue.ready().await?;
    let mut client = Client::new(queue.public());
    let answer = client.send(&crowd.middle).await?;
    ensure!(answer.status == 200, "ready, but a poll is answered {} {}", answer.status, answer.code());
    let position = answer.json()?["position"].as_u64();
    ensure!(position == Some(crowd.position), "position {position:?} and not {}", crowd.position);
    Ok(begun.elapsed().as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

//! A slot becomes free: how long until the next person in line hears that it is theirs.
//!
//! The clock runs from the answer to the completion. The person polls every 50 ms, whenever that falls: half of that is
//! waited for nothing on the average, and is counted.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Bench;
use super::row::Row;
use crate::http::{Client, get, post};
use crate::stand::Service;
use crate::tally::{Outcome, Tally};

const QUEUE: &str = "turns";
const ACTIVE: usize = 50;
const BETWEEN_POLLS: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who has joined.
struct Person {
    poll: Vec<u8>,
    status: Value,
}

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let queue = bench.stand.queue(&[]).await?;
    let settings = json!({ "max_active": ACTIVE, "admission": null, "waiting_ttl_seconds": 3600 });
    let (status, told) = queue.admin("PUT", &format!("/admin/v1/queues/{QUEUE}"), Some(&settings)).await?;
    ensure!(status == 201, "the queue cannot be made: {status} {told}");
    let mut client = Client::new(queue.public());
    let mut active = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..ACTIVE + bench.size.turns {
        let person = join(bench, &mut client).await?;
        let side = if person.status["status"] == "active" { &mut active } else { &mut waiting };
        side.push(person);
    }
    ensure!(active.len() == ACTIVE, "{} are active and not {ACTIVE}", active.len());
    let mut found = Vec::new();
    let mut tally = Tally::new(Instant::now());
    let mut leaving =
        active.into_iter().map(|person| person.status).collect::<std::collections::VecDeque<_>>();
    for person in waiting {
        let done = leaving.pop_front().context("nobody is active")?;
        let (waited, status) = hand_over(&queue, &mut client, &done, &person).await?;
        tally.add(Outcome::Good(200), Instant::now(), waited);
        leaving.push_back(status);
    }
    let (p50, p99) = (tally.percentile(50.0), tally.percentile(99.0));
    found.push(p99.as_secs_f64() * 1e3);
    queue.stop().await?;
    Ok(vec![Row::limit("p99 from slot freed to the next person's turn", "ms", 300.0, found).noting(format!(
        "{} slots, polled every {} ms; half of them within {:.0} ms",
        bench.size.turns,
        BETWEEN_POLLS.as_millis(),
        p50.as_secs_f64() * 1e3
    ))])
}

async fn join(bench: &Bench, client: &mut Client) -> anyhow::Result<Person> {
    let token = bench.stand.tokens().user(&uuid::Uuid::new_v4().to_string())?;
    let path = format!("/v1/queues/{QUEUE}/tokens");
    let (status, told) = client.json(&post(&path, Some(&token), "{}")).await?;
    ensure!(status == 201, "a join is answered {status}");
    let queue_token = told["queue_token"].as_str().context("there is no queue token")?;
    Ok(Person { poll: get(&format!("{path}/me"), Some(queue_token)), status: told })
}

/// `done` completes; how long until `next` hears, and what.
async fn hand_over(
    queue: &Service,
    client: &mut Client,
    done: &Value,
    next: &Person,
) -> anyhow::Result<(Duration, Value)> {
    let jti = jti_of(done).context("there is no entry token")?;
    let body = json!({ "jtis": [jti] });
    let path = format!("/internal/v1/queues/{QUEUE}/completions");
    let (status, told) = queue.internal("POST", &path, Some(&body)).await?;
    let freed = Instant::now();
    ensure!(status == 200 && told["released"] == 1, "a completion is answered {status} {told}");
    tokio::time::sleep(BETWEEN_POLLS.mul_f64(rand::random())).await;
    loop {
        let (status, told) = client.json(&next.poll).await?;
        ensure!(status == 200, "a poll is answered {status}");
        if told["status"] == "active" {
            return Ok((freed.elapsed(), told));
        }
        ensure!(freed.elapsed() < PATIENCE, "nobody got the slot within {PATIENCE:?}");
        tokio::time::sleep(BETWEEN_POLLS).await;
    }
}

fn jti_of(status: &Value) -> Option<String> {
    use base64::Engine as _;
    let payload = status["entry_token"].as_str()?.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims["jti"].as_str().map(str::to_owned)
}

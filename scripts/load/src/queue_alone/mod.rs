//! The queue service alone: people come, poll, are let in, and complete as a booking service would tell it.
//!
//! ```text
//!   join ─▶ poll when told (some: every second) ─▶ let in ─ stays ─┬─▶ completion, on the ops listener
//!             └─▶ leaves the line (some)                           └─▶ leaves (some)
//! ```
//!
//! | promise | judged by |
//! |---|---|
//! | positions, known answers | [`crate::line`], every answer |
//! | never more than m in any second | [`promises`]: all moments of admission that were told |
//! | in the order of joining | [`promises`]: whose join was answered before another's was sent |
//! | never more than N active | the ops listener, once a second |
//! | the admission log | `queue_service::audit_logs`, at the end |

mod people;
mod promises;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::crowd::{self, Agenda, Doorway, Kind, Sample, Tallies, watch};
use crate::line::{FROM_ONE, KNOWN, NO_RISE};
use crate::outcome::{Outcome, used};
use crate::report::grouped;
use crate::schedule::{Schedule, Segment};
use crate::stand::{Place, Service, Stand};
use crate::verdict::Verdict;

use people::{Line, Person};

const QUEUE: &str = "load";

/// A load test of the queue service alone.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "load-queue")]
pub struct Arguments {
    /// People who join.
    #[arg(long, default_value_t = 20_000)]
    pub people: u64,
    /// How long it lasts; who is in line then stays there.
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// They come slowly at first, and at twice the mean rate in the end; without this, evenly.
    #[arg(long, conflicts_with = "spike")]
    pub ramp: bool,
    /// They come within so many seconds of the opening.
    #[arg(long)]
    pub spike: Option<f64>,
    /// All people together poll so often a second; without this, each polls when told.
    #[arg(long)]
    pub polls_per_second: Option<f64>,
    /// Share of people who poll every second, whatever they are told.
    #[arg(long, default_value_t = 0.05)]
    pub rude: f64,
    /// Share of people who leave the line.
    #[arg(long, default_value_t = 0.05)]
    pub leavers: f64,
    /// Share of those let in who leave instead of completing.
    #[arg(long, default_value_t = 0.2)]
    pub walkers: f64,
    /// How long those who are let in stay, in milliseconds on the average.
    #[arg(long, default_value_t = 1000)]
    pub stay_ms: u64,
    /// Let in per second at most.
    #[arg(long, default_value_t = 500)]
    pub admit: u32,
    /// Active at once at most.
    #[arg(long, default_value_t = 2000)]
    pub max_active: u32,
    /// Replicas of the service; requests go to them in turn.
    #[arg(long, default_value_t = 1)]
    pub replicas: usize,
    /// Connections to each replica.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Objective: percentile 99 of a poll, in milliseconds.
    #[arg(long, default_value_t = 100.0)]
    pub poll_p99_ms: f64,
    /// Objective: percentile 99 of a join, in milliseconds.
    #[arg(long, default_value_t = 250.0)]
    pub join_p99_ms: f64,
    /// Objective: errors (5xx, silence, wrong answers) in a thousand requests.
    #[arg(long, default_value_t = 1.0)]
    pub errors_per_thousand: f64,
    /// A few seconds with few people: to see that it works.
    #[arg(long)]
    pub quick: bool,
}

impl Arguments {
    fn sized(mut self) -> anyhow::Result<Self> {
        if self.quick {
            (self.people, self.seconds, self.admit) = (2_000, 5.0, 100);
        }
        let shares = [self.rude, self.leavers, self.walkers];
        ensure!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "a share is from 0 to 1");
        ensure!((1..=1_000_000).contains(&self.people), "--people is 1 to 1,000,000");
        ensure!(self.seconds > 0.0 && self.seconds <= 3600.0, "--seconds is up to 3600");
        ensure!((1..=16).contains(&self.replicas), "--replicas is 1 to 16");
        ensure!(
            self.spike.is_none_or(|spike| spike > 0.0 && spike <= self.seconds),
            "--spike is up to --seconds"
        );
        ensure!(self.polls_per_second.is_none_or(|rate| rate > 0.0), "--polls-per-second is more than 0");
        Ok(self)
    }

    /// When people join.
    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    fn arrivals(&self) -> Schedule {
        let seconds = self.spike.unwrap_or(self.seconds);
        let mean = self.people as f64 / seconds;
        let rate = if self.ramp { (0.0, 2.0 * mean) } else { (mean, mean) };
        Schedule { segments: vec![Segment { seconds, rate }] }
    }
}

/// The whole test; its report goes into `folder`.
pub async fn run(arguments: Arguments, place: Place, folder: &Path) -> anyhow::Result<ExitCode> {
    let arguments = arguments.sized()?;
    let stand = Stand::new(place);
    let mut services = Vec::new();
    for _ in 0..arguments.replicas {
        services.push(stand.queue(&[]).await?);
    }
    let settings = json!({
        "admission": { "users": arguments.admit, "every_seconds": 1 }, "max_active": arguments.max_active,
    });
    let (status, told) =
        services[0].admin("PUT", &format!("/admin/v1/queues/{QUEUE}"), Some(&settings)).await?;
    ensure!(status == 201, "the queue cannot be made: {status} {told}");
    let tokens = stand.user_tokens(arguments.people)?;
    let line = Arc::new(Line::new(QUEUE, arguments));
    let tallies = Arc::new(Tallies::new());
    let (took, samples) = live(&line, &services, tokens, &tallies).await?;
    let outcome = judge(&stand, &line, services, &tallies, took, samples).await?;
    outcome.publish(&tallies, folder)
}

async fn live(
    line: &Arc<Line>,
    services: &[Service],
    tokens: Vec<String>,
    tallies: &Arc<Tallies>,
) -> anyhow::Result<(Duration, Vec<(f64, Sample)>)> {
    let arguments = &line.arguments;
    let (starts, begun) = (arguments.arrivals().random(arguments.people), tallies.begun());
    let people = starts
        .into_iter()
        .zip(tokens)
        .map(|(at, token)| (begun + at, Person::new(token, arguments, begun + at)));
    let agenda = Agenda::open(2, people);
    let addresses = |of: fn(&Service) -> std::net::SocketAddr| services.iter().map(of).collect();
    let doorways = [
        Doorway { addresses: addresses(Service::public), connections: arguments.connections },
        Doorway { addresses: addresses(Service::ops), connections: 8 },
    ];
    let mut samples = Vec::new();
    let sample = async || sampled(line, &services[0], &agenda).await;
    tokio::select! {
        () = crowd::run(line, &doorways, &agenda, tallies) => {}
        () = watch(tallies, || agenda.due(), sample, &mut samples) => {}
        () = tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)) => {}
    }
    agenda.stop();
    Ok((Instant::now() - begun, samples))
}

/// What the ops listener says; nothing while it does not answer.
async fn sampled(line: &Line, service: &Service, agenda: &Agenda<Person>) -> Sample {
    let told = service.admin("GET", &format!("/admin/v1/queues/{QUEUE}"), None).await;
    let told = told.map(|(_, told)| told).unwrap_or_default();
    let number = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
    let (active, most) = (number("active"), f64::from(line.arguments.max_active));
    line.findings.expect(active <= most || active.is_nan(), promises::CAP, || format!("{active} are active"));
    if !active.is_nan() {
        line.counts.samples.fetch_add(1, Relaxed);
    }
    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    let backlog = agenda.waiting() as f64;
    vec![("waiting", number("waiting")), ("active", active), ("waiting for a connection", backlog)]
}

async fn judge(
    stand: &Stand,
    line: &Line,
    services: Vec<Service>,
    tallies: &Tallies,
    took: Duration,
    samples: Vec<(f64, Sample)>,
) -> anyhow::Result<Outcome> {
    let (arguments, findings) = (&line.arguments, &line.findings);
    let admissions = line.admissions();
    promises::rate(&admissions, arguments.admit, findings);
    promises::order(&admissions, findings);
    let mut verdict = Verdict::default();
    for promise in
        [NO_RISE, FROM_ONE, promises::RATE, promises::ORDER, promises::CAP, people::NO_LAPSE, KNOWN]
    {
        verdict.promise(promise, findings);
    }
    let audit = queue_service::audit_logs(&stand.place.redis_url, "", Some(QUEUE)).await?;
    let violations = if audit.is_violated { audit.words.as_slice() } else { &[] };
    verdict.empty("violations in the admission log", violations);
    verdict.p99(Kind::Poll, tallies, arguments.poll_p99_ms);
    verdict.p99(Kind::Join, tallies, arguments.join_p99_ms);
    verdict.errors(tallies, arguments.errors_per_thousand);
    let samples_taken = line.counts.samples.load(Relaxed);
    ensure!(
        samples_taken > 0 || took < Duration::from_secs(2),
        "the ops listener never said how many are active"
    );
    let mut facts = vec![
        ("people who came", grouped(line.counts.came.load(Relaxed))),
        ("let in", grouped(admissions.len() as u64)),
        ("left the line", grouped(line.counts.left.load(Relaxed))),
        ("admission log", audit.words.join("; ")),
        ("settings", format!("{arguments:?}")),
    ];
    for service in &services {
        facts.push(("queue-service", used(service)?));
    }
    for service in services {
        service.stop().await.context("queue-service")?;
    }
    let (title, name) = ("Load test of the queue service", "load-queue");
    Ok(Outcome { title, name, facts, took, samples, verdict })
}

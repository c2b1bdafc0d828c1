//! The sale of a whole hall, through both services: join, wait, be let in, choose seats, hold, pay.
//!
//! ```text
//!   before the clock: user tokens, a date with all its seats, points for everybody, a queue that opens soon
//!   clock: first join ──▶ … ──▶ the last seat is paid, and everybody in line knows that it is over
//!   after it: owners = tickets = report; books, admission log
//!
//!   join ─▶ poll as told ─▶ let in ─▶ map? ─▶ hold ─┬─▶ pay ─▶ done (booking tells the queue)
//!             │ closed: told                  ▲     ├─▶ release, leave (some)
//!             ▼                               └─409─┘ other seats; nothing left: leave
//!           done
//! ```
//!
//! Few read the map themselves before they choose; the others choose from the one that was read last, so what they
//! want may be gone: [`crate::shop::Shown`]. The queue closes when all is sold (`close_when_sold_out`). Points are charged before
//! the clock: a charge is no part of getting a seat, and people do it beforehand.

mod after;
mod people;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use shared::clock::{Clock, rfc3339};
use tokio::time::Instant;

use crate::crowd::{self, Agenda, Doorway, Sample, Tallies, watch};
use crate::http::Client;
use crate::report::say;
use crate::schedule::Schedule;
use crate::shop::{House, Owners, Shown, Terms, ask_map};
use crate::stand::{Place, Service, Spending, Stand};

use people::{Person, Sale};

const QUEUE: &str = "sale";

/// The sale of a whole hall through both services, against the clock.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "load-sale")]
pub struct Arguments {
    /// Seats of the hall.
    #[arg(long, default_value_t = 50_000)]
    pub seats: u32,
    /// People who join.
    #[arg(long, default_value_t = 200_000)]
    pub people: u64,
    /// Seconds in which they come, evenly.
    #[arg(long, default_value_t = 17.0)]
    pub joining: f64,
    /// Seconds from the first join until the queue opens; 0 = it is open.
    #[arg(long, default_value_t = 18.0)]
    pub opening: f64,
    /// Must be over within so many seconds.
    #[arg(long, default_value_t = 60.0)]
    pub within: f64,
    /// Let in per second at most.
    #[arg(long, default_value_t = 5000)]
    pub admit: u32,
    /// Let in at once at most: also those who have not polled since and do not know it yet.
    #[arg(long, default_value_t = 6000)]
    pub max_active: u32,
    /// Silence that costs the place, in seconds; polls are told to come at least three times as often.
    #[arg(long, default_value_t = 30)]
    pub waiting_ttl: u32,
    /// Everybody wants one seat up to so many, evenly spread.
    #[arg(long, default_value_t = 4)]
    pub most_seats: usize,
    /// Between hold and payment, in milliseconds on the average.
    #[arg(long, default_value_t = 100)]
    pub think_ms: u64,
    /// Share of people who read the seat map before they choose.
    #[arg(long, default_value_t = 0.01)]
    pub map_readers: f64,
    /// Share of those refused a seat who read the seat map then.
    #[arg(long, default_value_t = 0.05)]
    pub refused_readers: f64,
    /// Share of holds that are let go instead of paid.
    #[arg(long, default_value_t = 0.02)]
    pub releases: f64,
    /// Of each seat, in points.
    #[arg(long, default_value_t = 10_000)]
    pub price: i64,
    /// Connections to each service (half as many more for joins).
    #[arg(long, default_value_t = 96)]
    pub connections: usize,
    /// A hall of 500 and 2,000 people, in seconds: to see that it works.
    #[arg(long)]
    pub quick: bool,
}

impl Arguments {
    /// What everybody has.
    pub fn points(&self) -> i64 {
        self.price * i64::try_from(self.most_seats).unwrap_or(1)
    }

    /// Who comes before `opens_at` stands in line.
    async fn set_queue(&self, queue: &Service, opens_at: Option<String>) -> anyhow::Result<()> {
        let settings = json!({
            "admission": { "users": self.admit, "every_seconds": 1 }, "max_active": self.max_active,
            "waiting_ttl_seconds": self.waiting_ttl, "close_when_sold_out": true, "opens_at": opens_at,
        });
        let (status, told) =
            queue.admin("PUT", &format!("/admin/v1/queues/{QUEUE}"), Some(&settings)).await?;
        ensure!(status < 300, "the queue cannot be set: {status} {told}");
        Ok(())
    }

    pub fn think(&self) -> Duration {
        Duration::from_millis(self.think_ms).mul_f64(rand::random_range(0.5..1.5))
    }

    fn sized(mut self) -> anyhow::Result<Self> {
        if self.quick {
            (self.seats, self.people, self.max_active) = (500, 2_000, 100);
            (self.joining, self.opening) = (2.0, 2.0);
        }
        let shares = [self.map_readers, self.refused_readers, self.releases];
        ensure!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "a share is from 0 to 1");
        ensure!((1..=4).contains(&self.most_seats), "--most-seats is 1 to 4");
        ensure!((1..=1_000_000).contains(&self.people), "--people is 1 to 1,000,000");
        ensure!((1..=200_000).contains(&self.seats), "--seats is 1 to 200,000");
        ensure!(self.joining > 0.0 && self.joining <= 600.0, "--joining is up to 600 seconds");
        ensure!((0.0..=600.0).contains(&self.opening), "--opening is up to 600 seconds");
        Ok(self)
    }
}

/// The whole test; its report goes into `folder`.
pub async fn run(arguments: Arguments, place: Place, folder: &Path) -> anyhow::Result<ExitCode> {
    let arguments = arguments.sized()?;
    let stand = Stand::new(place);
    let queue = stand.queue(&[]).await?;
    arguments.set_queue(&queue, None).await?;
    let terms = Terms {
        queue: QUEUE,
        halls: 1,
        seats: arguments.seats,
        price: arguments.price,
        hold_seconds: 300,
        replicas: 1,
    };
    say("preparing: seats, points, user tokens");
    let mut house = House::open(&stand, queue.ops(), &terms).await?;
    house.give_points(arguments.people, arguments.points()).await?;
    let tokens = stand.user_tokens(arguments.people)?;
    let sale = Arc::new(Sale {
        queue: QUEUE,
        schedule: house.schedules[0].clone(),
        shown: Shown::default(),
        owners: Owners::new(arguments.seats),
        findings: crowd::Findings::default(),
        counts: people::Counts::default(),
        clock: Clock::system(),
        arguments,
    });
    look(&sale, &stand, &house).await?;
    let opening = Duration::from_secs_f64(sale.arguments.opening);
    let opens_at = (!opening.is_zero()).then(|| rfc3339(sale.clock.now() + opening));
    sale.arguments.set_queue(&queue, opens_at).await?;
    let processes = [("queue-service", queue.id()?), ("booking-service", house.services[0].id()?)];
    let spending = Spending::of(&processes)?;
    let tallies = Arc::new(Tallies::new());
    let (took, samples) = sell(&sale, &queue, &house, tokens, &tallies).await;
    let spent = spending.since()?;
    let outcome = after::judge(&stand, &sale, queue, house, took, spent, samples).await?;
    outcome.publish(&tallies, folder)
}

/// Somebody has looked at the hall before it is sold: there is a map to choose from.
async fn look(sale: &Sale, stand: &Stand, house: &House) -> anyhow::Result<()> {
    let token = stand.tokens().entry("somebody", QUEUE)?;
    let mut request = Vec::new();
    ask_map(&sale.schedule, &token, &mut request);
    let mut client = Client::new(house.services[0].public());
    let answer = client.send(&request).await?;
    let free = sale.shown.read(answer.body);
    ensure!(free == Some(sale.arguments.seats as usize), "the seat map is answered {}", answer.status);
    Ok(())
}

/// From the first join to the last who knows that it is over; bounded by three times what it may take.
async fn sell(
    sale: &Arc<Sale>,
    queue: &Service,
    house: &House,
    tokens: Vec<String>,
    tallies: &Arc<Tallies>,
) -> (Duration, Vec<(f64, Sample)>) {
    let arguments = &sale.arguments;
    let rate = f64::from(u32::try_from(tokens.len()).unwrap_or(u32::MAX)) / arguments.joining;
    let starts = Schedule::constant(rate, arguments.joining * 1.001).even();
    let begun = tallies.begun();
    let people = starts
        .into_iter()
        .zip(tokens)
        .zip(0..)
        .map(|((at, token), n)| (begun + at, Person::new(n, token, begun + at)));
    let agenda = Agenda::open(3, people);
    let connections = arguments.connections;
    let doorways = [
        Doorway { addresses: vec![queue.public()], connections: connections.div_ceil(2) },
        Doorway { addresses: vec![queue.public()], connections },
        Doorway { addresses: house.services.iter().map(Service::public).collect(), connections },
    ];
    let mut samples = Vec::new();
    let sample = async || sampled(sale, &agenda);
    tokio::select! {
        () = crowd::run(sale, &doorways, &agenda, tallies) => {}
        () = watch(tallies, || agenda.due(), sample, &mut samples) => {}
        () = tokio::time::sleep(Duration::from_secs_f64(arguments.within * 3.0)) => {}
    }
    agenda.stop();
    (Instant::now() - begun, samples)
}

#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
fn sampled(sale: &Sale, agenda: &Agenda<Person>) -> Sample {
    let counts = &sale.counts;
    let read = |number: &std::sync::atomic::AtomicU64| number.load(Relaxed) as f64;
    vec![
        ("in line", read(&counts.in_line)),
        ("let in", read(&counts.let_in)),
        ("seats sold", read(&counts.seats)),
        ("waiting for a connection", agenda.waiting() as f64),
    ]
}

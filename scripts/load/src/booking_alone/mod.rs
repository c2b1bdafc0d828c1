//! The booking service alone: shoppers come at a rate, with entry tokens of a queue that is a stand-in.
//!
//! ```text
//!   charge ─▶ map? ─▶ hold ─┬─ thinks ─▶ pay ─┬─▶ done
//!               ▲           │                 └─ thinks ─▶ refund (some)
//!               └─── 409 ───┼─▶ release (some)
//!                           └─▶ forgets it: the hold runs out (some)
//! ```
//!
//! | promise | judged by |
//! |---|---|
//! | no seat is two people's at once | [`crate::shop::Owners`], every answer |
//! | amounts and balances | every answer; at the end the balance of everybody, asked for |
//! | every payment is told to the queue | the stand-in's ear, [`stub`] |
//! | the books; the report of each date | the ops listener, at the end |

mod people;
mod stub;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use crate::closed;
use crate::crowd::{self, Agenda, Doorway, Kind, Sample, Tallies, watch};
use crate::http::{Answer, get};
use crate::line::KNOWN;
use crate::outcome::{Outcome, folder, used};
use crate::report::grouped;
use crate::schedule::{Schedule, Segment};
use crate::shop::{House, ONE_OWNER, Owners, Shown, Terms, number_of};
use crate::stand::{Place, Service, Stand};
use crate::tally::Run;
use crate::tokens::person;
use crate::verdict::Verdict;
use crate::work::Work;

use people::{Hall, Person, RIGHT_AMOUNTS, Shop};
use stub::Stub;

const QUEUE: &str = "load";
/// For everybody's balance, and for completions under way.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// A load test of the booking service alone.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "load-booking")]
pub struct Arguments {
    /// Shoppers who come in a second.
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Seconds in which they come.
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// The rate rises evenly from 0 to twice the mean; without this it stays.
    #[arg(long, conflicts_with = "spike")]
    pub ramp: bool,
    /// In the middle fifth of the time they come so many times as often.
    #[arg(long)]
    pub spike: Option<f64>,
    /// Dates to choose from.
    #[arg(long, default_value_t = 2)]
    pub halls: u32,
    /// Seats of each.
    #[arg(long, default_value_t = 5000)]
    pub seats: u32,
    /// Everybody wants one seat up to so many.
    #[arg(long, default_value_t = 3)]
    pub most_seats: usize,
    /// Share of shoppers who want one of the first seats on the map.
    #[arg(long, default_value_t = 0.1)]
    pub hot: f64,
    /// Share of shoppers who read the map before they choose, and again when they were refused.
    #[arg(long, default_value_t = 0.2)]
    pub map_readers: f64,
    /// Share of holds that are let go.
    #[arg(long, default_value_t = 0.1)]
    pub releases: f64,
    /// Share of holds that run out.
    #[arg(long, default_value_t = 0.05)]
    pub forgets: f64,
    /// Share of payments that are refunded.
    #[arg(long, default_value_t = 0.1)]
    pub refunds: f64,
    /// Before paying, letting go or refunding, in milliseconds on the average.
    #[arg(long, default_value_t = 500)]
    pub think_ms: u64,
    /// How long seats are held.
    #[arg(long, default_value_t = 5)]
    pub hold_seconds: u32,
    /// Of each seat, in points.
    #[arg(long, default_value_t = 10_000)]
    pub price: i64,
    /// Replicas of the service; requests go to them in turn.
    #[arg(long, default_value_t = 1)]
    pub replicas: usize,
    /// Connections to each replica.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Objective: percentile 99 of a hold, in milliseconds.
    #[arg(long, default_value_t = 100.0)]
    pub hold_p99_ms: f64,
    /// Objective: percentile 99 of a payment, in milliseconds.
    #[arg(long, default_value_t = 100.0)]
    pub pay_p99_ms: f64,
    /// Objective: percentile 99 of a seat map, in milliseconds.
    #[arg(long, default_value_t = 250.0)]
    pub map_p99_ms: f64,
    /// Objective: errors (5xx, silence, wrong answers) in a thousand requests.
    #[arg(long, default_value_t = 1.0)]
    pub errors_per_thousand: f64,
    /// A few seconds with small halls: to see that it works.
    #[arg(long)]
    pub quick: bool,
}

impl Arguments {
    /// What everybody charges.
    pub fn points(&self) -> i64 {
        self.price * i64::try_from(self.most_seats).unwrap_or(1)
    }

    pub fn think(&self) -> Duration {
        Duration::from_millis(self.think_ms).mul_f64(rand::random_range(0.5..1.5))
    }

    fn sized(mut self) -> anyhow::Result<Self> {
        if self.quick {
            (self.seconds, self.seats, self.hold_seconds) = (5.0, 500, 2);
        }
        let shares = [self.hot, self.map_readers, self.releases, self.forgets, self.refunds];
        ensure!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "a share is from 0 to 1");
        ensure!((1..=4).contains(&self.most_seats), "--most-seats is 1 to 4");
        ensure!(
            (1..=100).contains(&self.halls) && (1..=200_000).contains(&self.seats),
            "too many halls or seats"
        );
        ensure!(self.seconds > 0.0 && self.seconds <= 3600.0, "--seconds is up to 3600");
        ensure!((1..=16).contains(&self.replicas), "--replicas is 1 to 16");
        ensure!(
            self.rate > 0.0 && self.rate * self.seconds <= 1e6,
            "--rate for --seconds is up to 1,000,000 shoppers"
        );
        ensure!(self.spike.is_none_or(|times| (0.0..=1000.0).contains(&times)), "--spike is up to 1000");
        ensure!((1..=100_000_000).contains(&self.points()), "--price is out of range");
        Ok(self)
    }

    fn arrivals(&self) -> Schedule {
        let segment = |share: f64, from: f64, to: f64| Segment {
            seconds: self.seconds * share,
            rate: (self.rate * from, self.rate * to),
        };
        let segments = match self.spike {
            Some(times) => vec![segment(0.4, 1.0, 1.0), segment(0.2, times, times), segment(0.4, 1.0, 1.0)],
            None if self.ramp => vec![segment(1.0, 0.0, 2.0)],
            None => vec![segment(1.0, 1.0, 1.0)],
        };
        Schedule { segments }
    }

    fn terms(&self) -> Terms {
        Terms {
            queue: QUEUE,
            halls: self.halls,
            seats: self.seats,
            price: self.price,
            hold_seconds: self.hold_seconds,
            replicas: self.replicas,
        }
    }
}

/// The whole test.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let arguments = arguments.sized()?;
    let stand = Stand::new(Place::from_environment()?);
    let stub = Stub::open().await?;
    let house = House::open(&stand, stub.address, &arguments.terms()).await?;
    let hall = |schedule: &String| Hall {
        schedule: schedule.clone(),
        shown: Shown::default(),
        owners: Owners::new(arguments.seats),
    };
    let (halls, tokens) = (house.schedules.iter().map(hall).collect(), stand.tokens());
    let starts = arguments.arrivals().random(arguments.seats.into());
    let entries = (0..).zip(&starts).map(|(n, _)| tokens.entry(&person(n), QUEUE));
    let entries = entries.collect::<anyhow::Result<Vec<_>>>()?;
    let shop = Arc::new(Shop::new(arguments, halls, stand.tokens()));
    let tallies = Arc::new(Tallies::new());
    let (took, samples) = live(&shop, &house, starts, entries, &tallies).await;
    let outcome = judge(&shop, house, &stub, &tallies, took, samples).await?;
    outcome.publish(&tallies, &folder())
}

async fn live(
    shop: &Arc<Shop>,
    house: &House,
    starts: Vec<Duration>,
    entries: Vec<String>,
    tallies: &Arc<Tallies>,
) -> (Duration, Vec<(f64, Sample)>) {
    let (begun, halls, arguments) = (tallies.begun(), shop.halls.len(), &shop.arguments);
    let people = starts.into_iter().zip(entries).zip(0..);
    let people = people.map(|((at, entry), n)| (begun + at, Person::new(n, entry, halls)));
    let agenda = Agenda::open(1, people);
    let addresses = house.services.iter().map(Service::public).collect();
    let doorways = [Doorway { addresses, connections: arguments.connections }];
    let mut samples = Vec::new();
    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    let sample = async || {
        let sold: usize = shop.halls.iter().map(|hall| hall.owners.count_sold()).sum();
        vec![("seats sold", sold as f64), ("waiting for a connection", agenda.waiting() as f64)]
    };
    let longest = Duration::from_secs_f64(arguments.seconds * 2.0) + AFTERWARDS;
    tokio::select! {
        () = crowd::run(shop, &doorways, &agenda, tallies) => {}
        () = watch(tallies, || agenda.due(), sample, &mut samples) => {}
        () = tokio::time::sleep(longest) => {}
    }
    agenda.stop();
    (Instant::now() - begun, samples)
}

/// Asks for everybody's balance.
struct Balances(Arc<Shop>, Vec<(u64, i64)>);

impl Work for Balances {
    fn ask(&self, n: u64, into: &mut Vec<u8>) -> bool {
        let account = usize::try_from(n).ok().and_then(|at| self.1.get(at));
        let token = account.and_then(|(n, _)| self.0.tokens.user(&person(*n)).ok());
        token.map(|token| into.extend(get("/v1/points", Some(&token)))).is_some()
    }

    fn hear(&self, n: u64, answer: &Answer<'_>) -> Result<(), &'static str> {
        let account = usize::try_from(n).ok().and_then(|at| self.1.get(at));
        let told = number_of(answer.body, "balance");
        let right = told.is_some() && told == account.map(|(_, balance)| *balance);
        self.0.findings.expect(right, RIGHT_AMOUNTS, || format!("{told:?} in the end, and not {account:?}"));
        if right { Ok(()) } else { Err("a wrong balance") }
    }
}

async fn judge(
    shop: &Arc<Shop>,
    mut house: House,
    stub: &Stub,
    tallies: &Tallies,
    took: Duration,
    samples: Vec<(f64, Sample)>,
) -> anyhow::Result<Outcome> {
    let (arguments, counts, mut verdict) = (&shop.arguments, &shop.counts, Verdict::default());
    let work = Arc::new(Balances(shop.clone(), shop.accounts()));
    let Run { tally, .. } = closed::run(house.services[0].public(), 16, AFTERWARDS, &work).await?;
    let (payments, unsure) = (counts.payments.load(Relaxed), counts.unsure.load(Relaxed));
    let patience = Instant::now() + AFTERWARDS / 4;
    while stub.completions() < payments && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for promise in [ONE_OWNER, RIGHT_AMOUNTS, KNOWN] {
        verdict.promise(promise, &shop.findings);
    }
    verdict.equal(
        "balances that were asked for, and shoppers",
        tally.good() + unsure,
        shop.accounts().len() as u64 + unsure,
    );
    let mut sold = 0;
    for hall in &shop.halls {
        let by_answers = hall.owners.count_sold() as u64;
        sold += by_answers;
        if unsure == 0 {
            verdict.equal(
                "seats of a date sold by the answers, and by its report",
                by_answers,
                house.report(&hall.schedule).await?.0,
            );
        }
    }
    if unsure == 0 {
        verdict.equal("live tickets, and seats sold by the answers", house.tickets().await?, sold);
        verdict.equal("completions that the queue heard, and payments", stub.completions(), payments);
    }
    verdict.empty("violations in the books", &house.violations().await?);
    let p99 = |kind| tallies.with(kind, |tally| tally.percentiles().p99);
    verdict.at_most("p99 of a hold", p99(Kind::Hold), arguments.hold_p99_ms, "ms");
    verdict.at_most("p99 of a payment", p99(Kind::Pay), arguments.pay_p99_ms, "ms");
    verdict.at_most("p99 of a seat map", p99(Kind::Map), arguments.map_p99_ms, "ms");
    verdict.errors(tallies, arguments.errors_per_thousand);
    let mut facts = vec![
        ("payments", grouped(payments)),
        ("refunds", grouped(counts.refunds.load(Relaxed))),
        ("seats sold in the end", grouped(sold)),
        ("found nothing", grouped(counts.nothing.load(Relaxed))),
        ("shoppers of whom not all is known", grouped(unsure)),
        ("settings", format!("{arguments:?}")),
    ];
    for service in &house.services {
        facts.push(("booking-service", used(service)?));
    }
    house.close().await?;
    let (title, name) = ("Load test of the booking service", "load-booking");
    Ok(Outcome { title, name, facts, took, samples, verdict })
}

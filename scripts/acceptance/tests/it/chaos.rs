//! Any process is killed at any moment, under load, and nothing that was promised is broken. Requirements 69 and
//! 70. For 36 and 64, failures at chosen places, see `crashes` (between statements) and `no_room` (in them).
//!
//! ```text
//!   shoppers:  join ─ poll ─ charge ─ hold ─┬─ pay ─────────────────────┬─▶ again       chaos/shopper.rs
//!                              │            └─ release, or let it lapse ┤
//!                              └─ taken ── give something back, or leave┘
//!   savers:    charge ─ use ─▶ again: something is under way whenever somebody dies
//!   killer:    kill -9 of a replica, of Redis, of Postgres, of two of them ─ 0 to 2 s ─ started again ─▶ again
//!   watcher:   active ≤ N, whenever it can be asked
//!        ──▶ the killer rests ─ all is ready ─ everybody finishes and leaves ─ the verdict     chaos/verdict.rs
//! ```
//!
//! `CHAOS_SECONDS` says how long the killer goes round, `CHAOS_SEED` whom it takes and what shoppers want; when
//! requests meet, the machine decides. A failure says its seed.

mod shopper;
mod verdict;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use acceptance::{PRICE, PostgresServer, RedisServer, Side, World, at_once, pause, within};
use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::time::Instant;

use self::shopper::Shopper;
use self::verdict::Verdict;
use crate::crowd::Limits;

const LIMITS: Limits = Limits { users: 15, every_seconds: 1, cap: 10 };
const REPLICAS: usize = 2;
const SHOPPERS: usize = 24;
const SAVERS: usize = 10;
const SEATS: i64 = 300;
const SECONDS: u64 = 25;
const LEAST_KILLS: usize = 8;
const SAMPLE_EVERY_MS: u64 = 25;
const RECOVERY: Duration = Duration::from_secs(30);
/// So long at the most nobody is let in when another server answers than before; longer when it has lost something.
const LISTENING: TimeDelta = TimeDelta::seconds(6);

/// Who may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Queue,
    Booking,
    Redis,
    Postgres,
}

impl Victim {
    const ALL: [Self; 4] = [Self::Queue, Self::Booking, Self::Redis, Self::Postgres];
}

struct Killer<'a> {
    world: &'a World,
    redis: &'a RedisServer,
    postgres: &'a PostgresServer,
    dice: StdRng,
    /// Everybody in an order of chance, before anybody comes again.
    deck: Vec<Victim>,
    kills: usize,
}

impl Killer<'_> {
    async fn go_round(&mut self, seconds: u64) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) || self.kills < LEAST_KILLS {
            pause(self.dice.random_range(200..1200)).await;
            let victims = self.victims();
            self.kills += victims.len();
            let replica = self.dice.random_range(0..REPLICAS);
            let strikes: Vec<_> =
                victims.into_iter().map(|who| (who, self.dice.random_range(0..2000))).collect();
            report(&format!("{} ms: {strikes:?}, replica {replica}", begun.elapsed().as_millis()));
            at_once(strikes.into_iter().map(|(who, away_ms)| self.strike(who, replica, away_ms))).await;
        }
    }

    /// One, or two at once.
    fn victims(&mut self) -> Vec<Victim> {
        let mut victims = vec![self.draw()];
        if self.dice.random_bool(0.3) {
            let second = self.draw();
            if second == victims[0] {
                self.deck.push(second);
            } else {
                victims.push(second);
            }
        }
        victims
    }

    fn draw(&mut self) -> Victim {
        if self.deck.is_empty() {
            self.deck.extend(Victim::ALL);
            self.deck.shuffle(&mut self.dice);
        }
        self.deck.pop().unwrap()
    }

    async fn strike(&self, victim: Victim, replica: usize, away_ms: u64) {
        let side = if victim == Victim::Queue { Side::Queue } else { Side::Booking };
        match victim {
            Victim::Queue | Victim::Booking => self.world.kill_replica(side, replica).await,
            Victim::Redis => self.redis.kill(),
            Victim::Postgres => self.postgres.kill(),
        }
        pause(away_ms).await;
        match victim {
            Victim::Queue | Victim::Booking => self.world.revive_replica(side, replica).await,
            Victim::Redis => self.redis.start_again().await,
            Victim::Postgres => self.postgres.start_again().await,
        }
    }
}

#[test]
fn whoever_is_killed_nothing_is_sold_twice_no_point_is_lost_and_no_limit_is_exceeded() {
    let seed = from_environment("CHAOS_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1 >> 44);
    let seconds = from_environment("CHAOS_SECONDS").unwrap_or(SECONDS);
    report(&format!("again with CHAOS_SEED={seed} CHAOS_SECONDS={seconds}"));
    // Neither loses anything that it has answered. What a Redis that does is good for: `loss`.
    let lasting = [("appendonly", "yes"), ("appendfsync", "always"), ("save", "")];
    let servers = async { tokio::join!(RedisServer::start(&lasting), PostgresServer::start(&[])) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (redis, postgres) = runtime.block_on(servers);
    let settings = LIMITS.settings(json!({
        "entry_ttl_seconds": 40, "claim_window_seconds": 10, "waiting_ttl_seconds": 30, "instant_admission": true,
    }));
    let world = World::s0().queue(settings).booking_flags(&["--hold-ttl-seconds", "8"]).with_outages();
    world.replicas(REPLICAS).programs().redis(redis.url()).postgres(postgres.url()).run(async |world| {
        let hall = json!({ "seats": { "count": SEATS, "price": PRICE } });
        let date = world.add_date_with(world.concert(), hall).await;
        let dice = StdRng::seed_from_u64(seed);
        let mut killer =
            Killer { world, redis: &redis, postgres: &postgres, dice, deck: Vec::new(), kills: 0 };
        let (is_over, is_quiet, samples) =
            (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
        let killing = async {
            killer.go_round(seconds).await;
            until_ready(world).await;
            is_over.store(true, Relaxed);
        };
        let shopping = async {
            let shopper = |number| Shopper::new(world, &date, number, seed);
            let shoppers = at_once((0..SHOPPERS).map(|number| shopper(number).live(&is_over)));
            let savers = at_once((SHOPPERS..SHOPPERS + SAVERS).map(|number| shopper(number).save(&is_over)));
            let (mut shoppers, savers) = tokio::join!(shoppers, savers);
            shoppers.extend(savers);
            is_quiet.store(true, Relaxed);
            shoppers
        };
        let ((), shoppers, ()) = tokio::join!(killing, shopping, watch(world, &samples, &is_quiet));
        let kills = killer.kills;
        let verdict = Verdict { world, date: &date, shoppers };
        let told = verdict.reach().await;
        report(&format!("{kills} kills, {} samples, {told}", samples.load(Relaxed)));
        assert!(samples.load(Relaxed) > 20, "it was hardly ever asked how many are active");
        let newcomer = world.user("newcomer");
        newcomer.enter().await;
        newcomer.charge(PRICE).await.ok(201);
        let hold = newcomer.reserve(&date, &[SEATS]).await.ok(201);
        newcomer.pay(&hold).await.ok(201);
    });
}

/// Under `appendfsync everysec` a killed Redis may forget its last moment, as here: the payment and the new place
/// are forgotten, the old admission is there again, and the queue token of the new place proves nothing.
#[test]
#[ignore = "known: whoever paid and stands in line again loses the new place when both are forgotten"]
fn who_has_paid_and_stands_in_line_again_keeps_the_place_when_both_are_forgotten() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(RedisServer::start(&[("appendonly", "no"), ("save", "")]));
    let settings = json!({
        "max_active": 1, "entry_ttl_seconds": 4, "claim_window_seconds": 2, "waiting_ttl_seconds": 5,
    });
    World::s1().queue(settings).with_outages().redis(redis.url()).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        redis.remember().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        world.admin().until_completed(1).await;
        bob.enter().await;
        assert_eq!(ann.join().await.ok(201)["status"], "waiting");
        redis.kill();
        redis.start_again().await;
        within(RECOVERY, "ann is let in", async || {
            let poll = world.get(Side::Queue, &ann.me("")).bearer(&ann.queue_token()).await;
            assert_ne!(poll.status, 410, "{poll:?}");
            if poll["status"] == "active" { Ok(()) } else { Err(format!("{poll:?}")) }
        })
        .await;
    });
}

async fn until_ready(world: &World) {
    for side in [Side::QueueOps, Side::BookingOps] {
        for replica in 0..REPLICAS {
            within(RECOVERY, "everything is ready again", async || {
                let ready = world.get(side, "/readyz").on(replica).attempt().await?;
                if ready.status == 200 { Ok(()) } else { Err(format!("{side:?} {replica}: {ready:?}")) }
            })
            .await;
        }
    }
}

/// Whenever there is an answer, never more than N are active, and nobody waits because something was forgotten.
async fn watch(world: &World, samples: &AtomicUsize, is_quiet: &AtomicBool) {
    let cap = i64::try_from(LIMITS.cap).unwrap();
    while !is_quiet.load(Relaxed) {
        let report = world.admin().call(Side::QueueOps, "GET", "/admin/v1/queues/main").attempt().await;
        if let Ok(report) = report
            && report.status == 200
        {
            assert!(report.int("active") <= cap, "too many are active: {report:?}");
            if !report["held_until"].is_null() {
                let held_for = report.time("held_until") - world.clock().now();
                assert!(held_for <= LISTENING, "Redis has forgotten something: {report:?}");
            }
            samples.fetch_add(1, Relaxed);
        }
        pause(SAMPLE_EVERY_MS).await;
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Shown when the test fails, or to whoever wants to see.
#[expect(clippy::print_stdout, reason = "what happened, for whoever reads why a test failed")]
fn report(line: &str) {
    println!("{line}");
}

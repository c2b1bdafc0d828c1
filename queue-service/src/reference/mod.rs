//! The reference model of a queue, and random traces that hold the scripts against it.
//!
//! [`model`] says in plain Rust, without a store and without a thought for speed, what a queue does.
//! The test below makes random traces of joins, polls, departures, lapses, completions, steps,
//! changes of settings, stops and jumps of time, does each on a real Redis and on the model, and
//! compares every answer and, now and then, the whole state, with it that of a replica's view of the lines,
//! which has followed: who is in line, and everybody's position. The model judges the limits from the
//! list of all admissions: never more than m in any n seconds, never more than N at once, in order.
//!
//! `REFERENCE_STEPS` and `REFERENCE_SEED` choose how long and which traces; a failure names its seed.

mod lanes;
mod million;
mod model;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use self::model::Model;
use crate::admission::store as admission;
use crate::keys::{Keyspace, LANE, QueueKeys, SEEN_CHUNK, SEEN_EPOCH_MS};
use crate::line::feed::{self, Heard};
use crate::line::gone::Gone;
use crate::line::lines::Lines;
use crate::line::lottery::Draw;
use crate::line::model::Standing;
use crate::line::signs::Beat;
use crate::line::store::{self as line, Join, Look, Verdict};
use crate::pressure::store as pressure;
use crate::queues::model::{QueueId, QueueState, Stop};
use crate::queues::settings::{Adaptive, Lane, Order, Rate, Rejoin, Settings};
use crate::queues::store as queues;
use crate::redis::{Redis, StoreError, When};

const STEPS_PER_TRACE: u32 = 500;
const USERS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
const LANES: [&str; 5] = ["", "", "vip", "press", "unknown"];

/// One queue on a real Redis beside its model.
struct Pair {
    redis: Redis,
    keyspace: Keyspace,
    id: QueueId,
    keys: QueueKeys,
    model: Model,
    view: Lines,
    heard: Heard,
    random: StdRng,
}

impl Pair {
    async fn new(redis: Redis, seed: u64) -> Self {
        let keyspace = Keyspace::new(format!("reference-{}:", uuid()));
        let id = QueueId::parse("main").unwrap();
        let keys = keyspace.queue(id.as_str());
        let mut random = StdRng::seed_from_u64(seed);
        let settings = settings(&mut random, model::beginning());
        let view = Lines::new(vec![Gone::default()], &[], 0);
        let heard = Heard { last: "0".to_owned(), version: String::new() };
        let model = Model::new(settings.clone());
        let mut pair = Self { redis, keyspace, id, keys, model, view, heard, random };
        pair.put(settings).await;
        pair
    }

    fn when(&self) -> When {
        When::At(self.model.now())
    }

    /// One random operation on both; answers are compared where they are given.
    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..22 => self.join().await,
            22..45 => self.look().await,
            45..70 => self.tick(None).await,
            70..73 => self.tick(Some(self.random.clone().random_range(1..4))).await,
            73..77 => self.leave().await,
            77..84 => self.complete().await,
            84..87 => {
                let settings = settings(&mut self.random, self.model.now());
                self.put(settings).await;
            }
            87..90 => self.stop().await,
            90..92 => self.lapse().await,
            92..94 => self.compare().await,
            94 => self.beat().await,
            95 => self.pressure().await,
            96..98 => {
                self.follow().await;
                self.model.go_to_an_edge(&mut self.random);
            }
            _ => {
                self.follow().await;
                self.pass_time();
            }
        }
        if self.random.random_ratio(1, 3) {
            let ms = self.random.random_range(0..400);
            self.model.advance(ms);
        }
    }

    fn user(&mut self) -> String {
        (*USERS.choose(&mut self.random).unwrap()).to_owned()
    }

    async fn join(&mut self) {
        let lane = (*LANES.choose(&mut self.random).unwrap()).to_owned();
        let count = self.random.random_range(1..4);
        let joins: Vec<Join> = (0..count).map(|_| Join { user: self.user(), lane: lane.clone() }).collect();
        let seen = line::join(&self.redis, &self.keys, self.when(), &joins).await.unwrap();
        for (join, seen) in joins.iter().zip(&seen) {
            let said = self.model.join(&join.user, &join.lane);
            self.model.agree(&join.user, &said, &seen.verdict);
        }
        let scene = &seen[0].scene;
        assert_eq!((scene.now.timestamp_millis(), scene.waiting), (self.model.now(), self.model.waiting()));
    }

    async fn look(&mut self) {
        let user = self.user();
        let place = match self.random.random_range(0..3) {
            0 => None,
            1 => self.model.latest_place(&user),
            _ => self.model.places().choose(&mut self.random).copied(),
        };
        let look = Look { user: user.clone(), place };
        let seen = line::look(&self.redis, &self.keys, self.when(), &[look]).await.unwrap();
        let said = self.model.look(&user, place);
        self.model.agree(&user, &said, &seen[0].verdict);
    }

    async fn leave(&mut self) {
        let user = self.user();
        let place = self.random.random_bool(0.5).then(|| self.model.latest_place(&user)).flatten();
        let look = Look { user: user.clone(), place };
        let left = line::leave(&self.redis, &self.keys, self.when(), &look).await.unwrap();
        assert_eq!(left, self.model.leave(&user, place));
    }

    async fn tick(&mut self, forced: Option<u64>) {
        let step = admission::step(&self.redis, &self.keys, self.when(), forced).await.unwrap();
        let admitted = self.model.tick(forced);
        assert_eq!((step.admitted, step.active), (admitted, self.model.active()));
        assert!(!step.more, "nothing is left in lines this short");
    }

    async fn complete(&mut self) {
        let jtis: Vec<String> = (0..2).filter_map(|_| self.model.some_jti(&mut self.random)).collect();
        let released = admission::complete(&self.redis, &self.keys, self.when(), &jtis).await.unwrap();
        assert_eq!(released, self.model.complete(&jtis));
    }

    async fn put(&mut self, settings: Settings) {
        let put = queues::put(&self.redis, &self.keyspace, &self.id, &settings, self.when()).await;
        let seed = redis::pipe().hget(self.keys.settings(), "seed").clone();
        let (seed,): (Option<String>,) = self.redis.query(&seed).await.unwrap();
        if self.model.put(settings, seed) {
            put.unwrap();
        } else {
            assert!(matches!(put, Err(StoreError::OrderFixed)), "{put:?}");
        }
    }

    async fn stop(&mut self) {
        let stop = *[None, None, Some(Stop::Paused), Some(Stop::Draining), Some(Stop::Closed)]
            .choose(&mut self.random)
            .unwrap();
        queues::stop(&self.redis, &self.keys, self.when(), stop).await.unwrap();
        self.model.stop(stop);
    }

    async fn lapse(&mut self) {
        let places = self.model.places();
        let lapsed = line::lapse(&self.redis, &self.keys, self.when(), &places).await.unwrap();
        assert_eq!(lapsed, self.model.lapse());
    }

    async fn beat(&mut self) {
        let Some(&place) = self.model.places().choose(&mut self.random) else { return };
        let now = u32::try_from((self.model.now() - SEEN_EPOCH_MS + 99) / 100).unwrap();
        let seen = now - self.random.random_range(0..20);
        let beat = Beat { seen, places: vec![place] };
        feed::beat(&self.redis, &self.keys, self.when(), &beat).await.unwrap();
        self.model.beat(place, seen);
    }

    async fn pressure(&mut self) {
        let reporter = *["one", "two"].choose(&mut self.random).unwrap();
        let is_too_hard = self.random.random_bool(0.5);
        let excess = if is_too_hard { "p99_ms" } else { "" };
        let told = pressure::pressure(&self.redis, &self.keys, self.when(), reporter, excess).await.unwrap();
        let (before, after) = self.model.pressure(reporter, is_too_hard);
        assert!((told.share - f64::from(after) / 1000.0).abs() < 1e-9);
        assert_eq!(told.is_whole_again, before < 1000 && after == 1000);
    }

    async fn compare(&mut self) {
        let report = queues::report(&self.redis, &self.keys, self.when()).await.unwrap();
        self.model.compare(&report);
        if self.random.random_bool(0.5) {
            self.begin_view().await;
        }
        self.follow().await;
        let in_line = self.model.positions();
        for place in self.model.places() {
            assert_eq!(self.view.has(place), in_line.contains_key(&place), "{place}");
        }
        if report.state != QueueState::Scheduled && report.waiting > 0 {
            for (place, position) in in_line {
                assert_eq!(self.view.position(place), Some(position), "{place}");
            }
        }
    }

    /// As a replica does that has missed something.
    async fn begin_view(&mut self) {
        let news =
            feed::follow(&self.redis, &self.keys, self.when(), "one", &Heard::default()).await.unwrap();
        let mut lanes = Vec::new();
        for (lane, numbers) in (0..).zip(&news.lanes) {
            let mut gone = Gone::from_floor(numbers.floor);
            let chunk = lane * (LANE / SEEN_CHUNK);
            gone.load(0, &feed::gone(&self.redis, &self.keys, &[chunk]).await.unwrap()[0]);
            lanes.push(gone);
        }
        self.view = Lines::new(lanes, &news.departures, self.model.now());
    }

    /// As a replica does that follows alone.
    async fn follow(&mut self) {
        let news = feed::follow(&self.redis, &self.keys, self.when(), "one", &self.heard).await.unwrap();
        self.view.hear_numbers(self.model.now(), &news.lanes);
        news.departures.iter().for_each(|departure| self.view.hear(departure));
        if let Some(last) = news.departures.last() {
            self.heard.last.clone_from(&last.id);
        }
        self.view.advance(self.model.now());
        let setting = |name| redis::pipe().hget(self.keys.settings(), name).clone();
        let ((order,), (seed,)): ((String,), (Option<String>,)) = (
            self.redis.query(&setting("order")).await.unwrap(),
            self.redis.query(&setting("seed")).await.unwrap(),
        );
        if order != "lottery" || news.scene.state == QueueState::Scheduled || news.scene.waiting == 0 {
            return self.view.forget_draws();
        }
        for (lane, numbers) in news.lanes.iter().enumerate() {
            if let Some(drawn) = self.view.undrawn(lane, numbers.drawn) {
                self.view.draw(lane, Draw::new(seed.as_deref().unwrap(), drawn));
            }
        }
    }

    /// Long enough for something to end; sometimes past the memory of departures.
    fn pass_time(&mut self) {
        let ms = match self.random.random_range(0..20) {
            0 => self.random.random_range(1_000_000..3_000_000),
            1..8 => self.random.random_range(4_000..12_000),
            _ => self.random.random_range(900..3_000),
        };
        self.model.advance(ms);
    }
}

/// Small numbers, so that every limit is met often.
fn settings(random: &mut StdRng, now: i64) -> Settings {
    let entry_ttl_seconds = random.random_range(2..6);
    let renewal = random.random_bool(0.3).then(|| entry_ttl_seconds + random.random_range(0..6));
    let users = random.random_range(1..4);
    let every_seconds = random.random_range(1..3);
    let settings = Settings {
        admission: random.random_bool(0.7).then_some(Rate { users, every_seconds }),
        max_active: random.random_bool(0.7).then(|| random.random_range(0..4)),
        entry_ttl_seconds,
        entry_max_lifetime_seconds: renewal,
        claim_window_seconds: random.random_range(1..4),
        waiting_ttl_seconds: random.random_range(0..7),
        rejoin: *[Rejoin::Keep, Rejoin::Keep, Rejoin::Requeue, Rejoin::Reject].choose(random).unwrap(),
        instant_admission: random.random_bool(0.5),
        lanes: random.random_bool(0.3).then(|| lanes(random)),
        adaptive: None,
        order: if random.random_bool(0.3) { Order::Lottery } else { Order::Fifo },
        opens_at: random.random_bool(0.3).then(|| moment(now + random.random_range(-5_000..20_000))),
        ..Settings::default()
    };
    let adaptive = settings.admission.is_some() && random.random_bool(0.3);
    let settings = Settings { adaptive: adaptive.then(Adaptive::default), ..settings };
    settings.checked().unwrap()
}

/// Now and then a lane more, or other shares; the order of the names stays.
fn lanes(random: &mut StdRng) -> Vec<Lane> {
    let lane = |name: &str, share_percent| Lane { lane: name.to_owned(), share_percent };
    let mut lanes = vec![lane("vip", random.random_range(1..60)), lane("press", random.random_range(1..40))];
    lanes.truncate(random.random_range(1..3));
    lanes
}

fn moment(ms: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp_millis(ms).unwrap()
}

fn uuid() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// Reads from the environment, so that `scripts/test` and a longer run share the test.
fn redis() -> Redis {
    let url = std::env::var("TEST_REDIS_URL").expect("TEST_REDIS_URL is not set: run scripts/test");
    Redis::new(&url, 1).unwrap()
}

/// Names the trace when the test fails in it.
struct TellSeed(u64);

impl Drop for TellSeed {
    #[expect(clippy::print_stderr, reason = "the failing test's own words")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("REFERENCE_SEED={}", self.0);
        }
    }
}

#[tokio::test]
async fn the_scripts_do_what_the_model_says() {
    let steps = number("REFERENCE_STEPS", 200_000);
    let seed = number("REFERENCE_SEED", rand::random::<u32>().into());
    let redis = redis();
    for trace in 0..steps.div_ceil(STEPS_PER_TRACE.into()) {
        let seed = seed + trace;
        let _told = TellSeed(seed);
        let mut pair = Pair::new(redis.clone(), seed).await;
        for _ in 0..STEPS_PER_TRACE {
            pair.step().await;
        }
        pair.compare().await;
        pair.model.check_order();
        pair.redis.query::<()>(redis::pipe().del(&pair.keys.for_scripts()[..]).ignore()).await.unwrap();
    }
}

/// Beyond the model, which remembers everything: a window may be made longer than what is kept.
#[tokio::test]
async fn a_longer_window_counts_what_is_known_and_does_not_stand_still() {
    let mut pair = Pair::new(redis(), 1).await;
    let rate = |users, every_seconds| Settings {
        admission: Some(Rate { users, every_seconds }),
        max_active: None,
        ..Settings::default()
    };
    pair.put(rate(5, 1)).await;
    for second in 0..100 {
        let joins: Vec<Join> = (0..5).map(|n| joining(&format!("u{second}-{n}"))).collect();
        line::join(&pair.redis, &pair.keys, pair.when(), &joins).await.unwrap();
        pair.model.advance(1_001);
    }
    for (users, let_in) in [(302, true), (290, false), (6_000, true)] {
        pair.put(rate(users, 60)).await;
        let user = format!("late-{users}");
        let seen = line::join(&pair.redis, &pair.keys, pair.when(), &[joining(&user)]).await.unwrap();
        let active = matches!(&seen[0].verdict, Verdict::Stands { standing: Standing::Active(_), .. });
        assert_eq!(active, let_in, "{users} a minute, 295 let in: {:?}", seen[0].verdict);
        let look = Look { user, place: None };
        line::leave(&pair.redis, &pair.keys, pair.when(), &look).await.unwrap();
    }
}

/// The first to speak to a new server may be one that follows: its answer has the gap, and those gone by it.
#[tokio::test]
async fn who_finds_the_new_server_by_following_hears_of_the_gap_at_once() {
    let mut pair = Pair::new(redis(), 1).await;
    pair.put(Settings { max_active: Some(0), ..Settings::default() }).await;
    let join = async |pair: &Pair, user: &str| {
        let seen = line::join(&pair.redis, &pair.keys, pair.when(), &[joining(user)]).await.unwrap();
        let Verdict::Stands { place, .. } = seen[0].verdict else { panic!("{:?}", seen[0].verdict) };
        place
    };
    for user in ["a", "b", "c"] {
        join(&pair, user).await;
    }
    pair.follow().await;
    for (position, user) in [(4, "d"), (5, "e")] {
        let other = redis::cmd("HSET").arg(pair.keys.counters()).arg("server").arg("another").to_owned();
        pair.redis.query_each::<u8>(&[other]).await.unwrap();
        pair.follow().await;
        let place = join(&pair, user).await;
        assert!(place > SEEN_CHUNK, "{place}: no gap");
        assert!(!pair.view.is_beyond_a_gap(place));
        pair.view.hear_place(place);
        assert_eq!(pair.view.position(place), Some(position));
        pair.model.advance(1);
    }
}

fn joining(user: &str) -> Join {
    Join { user: user.to_owned(), lane: String::new() }
}

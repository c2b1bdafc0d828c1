//! A long line: people join, and meanwhile some thousands leave, lapse and are let in. Then sampled polls
//! through a replica's view are held against the truth: a plain list, and `ZRANK` of Redis.
//!
//! By default the line is short. The whole, on a Redis of one's own, whose figures it prints:
//! `LINE_PEOPLE=1000000 LINE_SAMPLES=10000 cargo test -p queue-service a_long_line -- --nocapture`

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use shared::clock::Clock;
use shared::lifecycle::Lifecycle;
use tokio::time::Instant;

use super::{number, redis, uuid};
use crate::admission::store as admission;
use crate::keys::{Keyspace, SEEN_CHUNK};
use crate::line::model::Standing;
use crate::line::store::{self as line, Join, Look};
use crate::line::view::Sight;
use crate::line::{Room, follow};
use crate::queues::settings::{Rate, Settings};
use crate::queues::{QueueId, Queues};
use crate::redis::When;

const BATCH: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    InLine,
    Left,
    Lapsed,
    LetIn,
}

/// The line, the list beside it, and what is drawn.
struct Line {
    keyspace: Keyspace,
    room: Arc<Room>,
    /// By place; 0 is nobody's.
    fates: Vec<Fate>,
    random: StdRng,
}

fn user(place: u64) -> String {
    format!("a-person-with-an-id-of-thirty-{place:08}")
}

fn at(place: u64) -> usize {
    usize::try_from(place).unwrap()
}

impl Line {
    fn open(lifecycle: &Lifecycle) -> Self {
        let (redis, clock) = (redis(), Clock::system());
        let keyspace = Keyspace::new(format!("million-{}:", uuid()));
        let queues = Queues::new(redis.clone(), keyspace.clone(), clock.clone());
        let room = Room::open(QueueId::parse("main").unwrap(), queues, redis, clock, lifecycle);
        Self { keyspace, room, fates: vec![Fate::LetIn], random: StdRng::seed_from_u64(rand::random()) }
    }

    fn when(&self) -> When {
        When::now(&self.room.clock)
    }

    async fn put(&self, waiting_ttl_seconds: u32) {
        let settings = Settings {
            admission: Some(Rate { users: 1_000_000, every_seconds: 1 }),
            max_active: None,
            waiting_ttl_seconds,
            claim_window_seconds: 3_600,
            instant_admission: false,
            ..Settings::default()
        };
        self.room.queues.put(&self.room.id, &settings).await.unwrap();
    }

    /// `people` join; meanwhile one in 200 leaves and about one in 100 is let in.
    async fn fill(&mut self, people: u64) {
        let mut turn = 0;
        while self.last() < people {
            let places = self.last() + 1..=people.min(self.last() + BATCH);
            let joins: Vec<Join> =
                places.map(|place| Join { user: user(place), lane: String::new() }).collect();
            let seen = line::join(&self.room.redis, &self.room.keys, self.when(), &joins).await.unwrap();
            self.fates.resize(self.fates.len() + seen.len(), Fate::InLine);
            for _ in 0..seen.len().div_ceil(200) {
                self.leave().await;
            }
            turn += 1;
            if turn % 100 == 0 {
                self.let_in().await;
            }
        }
    }

    fn last(&self) -> u64 {
        self.fates.len() as u64 - 1
    }

    fn drawn(&mut self) -> u64 {
        self.random.random_range(1..=self.last())
    }

    async fn leave(&mut self) {
        let place = self.drawn();
        let look = Look { user: user(place), place: Some(place) };
        line::leave(&self.room.redis, &self.room.keys, self.when(), &look).await.unwrap();
        self.fates[at(place)] = Fate::Left;
    }

    /// One step of admission: the front of the line, as many as a step takes.
    async fn let_in(&mut self) {
        let step = admission::step(&self.room.redis, &self.room.keys, self.when(), None).await.unwrap();
        let front = self.fates.iter_mut().filter(|fate| **fate == Fate::InLine);
        front.take(usize::try_from(step.admitted).unwrap()).for_each(|fate| *fate = Fate::LetIn);
    }

    /// One in 300 lapses, anywhere.
    async fn lapse(&mut self) {
        self.put(1).await;
        // Whoever was told to poll later before has time for it.
        self.room.clock.advance(Duration::from_secs(60));
        let places: Vec<u64> = (0..self.last() / 300).map(|_| self.drawn()).collect();
        let begun = Instant::now();
        for places in places.chunks(300) {
            let mut standing: Vec<u64> = places.to_vec();
            standing.retain(|place| self.fates[at(*place)] == Fate::InLine);
            standing.sort_unstable();
            standing.dedup();
            let mut lapsed = 0;
            while lapsed < standing.len() as u64 {
                assert!(begun.elapsed() < PATIENCE, "{lapsed} of {} have lapsed", standing.len());
                let when = self.when();
                lapsed += line::lapse(&self.room.redis, &self.room.keys, when, &standing).await.unwrap();
            }
            for place in standing {
                self.fates[at(place)] = Fate::Lapsed;
            }
        }
        self.put(0).await;
    }

    /// How many stand before each place, by the list.
    fn before(&self) -> Vec<u64> {
        let stands = |fate: &Fate| u64::from(*fate == Fate::InLine);
        let counted = self.fates.iter().scan(0, |before, fate| {
            *before += stands(fate);
            Some(*before - stands(fate))
        });
        counted.collect()
    }

    /// A poll through the view, and what it should say.
    async fn poll(&self, place: u64, before: u64) {
        let polled = self.room.look(&user(place), Some(place)).await;
        match self.fates[at(place)] {
            Fate::InLine => {
                let position = before + 1;
                assert_eq!(
                    self.room.view.sight(place).1,
                    Sight::InLine { position: Some(position) },
                    "place {place}"
                );
                assert_eq!(polled.unwrap().standing, Standing::Waiting { position }, "place {place}");
                let rank: (u64,) =
                    self.query(redis::pipe().zrank(self.room.keys.waiting(), user(place))).await;
                assert_eq!(rank.0 + 1, position, "place {place}");
            }
            Fate::LetIn => assert!(matches!(polled.unwrap().standing, Standing::Active(_)), "place {place}"),
            Fate::Left => assert_eq!(format!("{:?}", polled.unwrap_err()), "Ended(Left)", "place {place}"),
            Fate::Lapsed => {
                assert_eq!(format!("{:?}", polled.unwrap_err()), "Ended(Expired)", "place {place}");
            }
        }
    }

    async fn query<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> T {
        self.room.redis.query(pipeline).await.unwrap()
    }

    /// Bytes that Redis has in use.
    async fn memory(&self) -> i64 {
        let (info,): (String,) = self.query(redis::pipe().cmd("INFO").arg("memory")).await;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|used| used.trim().parse().ok()).unwrap()
    }

    /// Leaves nothing behind but what expires by itself.
    async fn remove(&self) {
        let keys = &self.room.keys;
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(keys.for_scripts().as_slice()).arg(self.keyspace.queues());
        for chunk in 0..=self.last() / SEEN_CHUNK {
            unlink.arg(keys.seen(chunk)).arg(keys.gone(chunk));
        }
        let _removed: (u64,) = self.query(redis::pipe().add_command(unlink)).await;
    }
}

#[expect(clippy::print_stdout, reason = "figures, for whoever runs it by hand")]
fn tell(what: &str, begun: Instant) {
    println!("{what}: {} ms", begun.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampled_positions_in_a_long_line_are_exact() {
    let (people, samples) = (number("LINE_PEOPLE", 50_000), number("LINE_SAMPLES", 2_000));
    let lifecycle = Lifecycle::new();
    let mut line = Line::open(&lifecycle);
    let (memory, begun) = (line.memory().await, Instant::now());
    line.put(0).await;
    line.fill(people).await;
    tell(&format!("{people} joined, some left, some were let in"), begun);
    let per_person = (line.memory().await - memory) / i64::try_from(people).unwrap();
    tell(&format!("{per_person} bytes of Redis a person"), begun);
    line.lapse().await;
    let count = |wanted| line.fates.iter().filter(|fate| **fate == wanted).count();
    let fates = [Fate::InLine, Fate::Left, Fate::Lapsed, Fate::LetIn].map(count);
    assert!(fates.iter().all(|count| *count > 10), "{fates:?}");
    let begun = Instant::now();
    lifecycle.spawn_loop("view", follow(line.room.clone()));
    let before = line.before();
    let first = line.drawn();
    line.poll(first, before[at(first)]).await;
    tell("until the view had answered", begun);
    let begun = Instant::now();
    for _ in 0..samples {
        let place = line.drawn();
        line.poll(place, before[at(place)]).await;
    }
    tell(&format!("{samples} sampled; in line, left, lapsed, let in: {fates:?}"), begun);
    lifecycle.drain(Duration::ZERO).await;
    line.remove().await;
}

//! A crowd that lives: everybody joins, polls through two replicas at once, shops a while, stays or leaves,
//! and holds every answer against what people were promised. What was broken is told at the end, all of it.
//!
//! ```text
//!   join ──▶ poll, poll, poll … ──▶ let in: poll on ──┬─ stays ──▶ until told that the token has ended
//!                                                     ├─ leaves
//!                                                     └─ falls silent, where the test wants some to
//! ```
//!
//! The promises, and who looks at them:
//! - one place per person, whichever replica is asked: [`Person::hear`], by the queue token;
//! - no position rises, but in a recovery that the test has announced ([`Crowd::may_rise`]);
//! - one admission per person, told alike by all until it ends ([`Person::let_in`]);
//! - nobody is told that a place has ended that has not;
//! - at most N at once, at most m in any n seconds, in the order of joining: [`Crowd::judge`], over all entry
//!   tokens that were ever handed out; and by the operator's report, again and again ([`Crowd::watch`]).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use acceptance::{Answer, Side, User, World, at_once, pause, read_claims, within};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

const POLL_EVERY_MS: u64 = 120;
/// After so many polls in line those who abandon are gone, without a word.
const PATIENT_FOR: usize = 3;
/// How long those who leave the slot stay in it.
const SHOPPING_MS: i64 = 300;
const SAMPLE_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// The limits of the queue `main`.
#[derive(Clone, Copy)]
pub struct Limits {
    pub users: usize,
    pub every_seconds: i64,
    pub cap: usize,
}

impl Limits {
    /// Settings of a queue with these limits and `others`.
    pub fn settings(self, others: Value) -> Value {
        let admission = json!({ "users": self.users, "every_seconds": self.every_seconds });
        let mut settings = json!({ "admission": admission, "max_active": self.cap });
        if let (Some(settings), Value::Object(others)) = (settings.as_object_mut(), others) {
            settings.extend(others);
        }
        settings
    }
}

/// An admission, as its entry token tells it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub jti: String,
    pub admitted_ms: i64,
    pub iat: i64,
    pub exp: i64,
    /// When it ended: `exp`, or earlier when its person left.
    pub until_ms: i64,
}

/// One person, number `number` in the order of joining.
pub struct Person<'w> {
    number: usize,
    user: User<'w>,
    wants_out: AtomicBool,
    story: Mutex<Story>,
}

#[derive(Default)]
struct Story {
    token: Option<String>,
    /// The lowest of the last round of polls.
    position: Option<i64>,
    entries: Vec<Entry>,
    is_over: bool,
    has_left: bool,
    wrongs: Vec<String>,
}

/// Everybody, and what is allowed at present.
pub struct Crowd<'w> {
    world: &'w World,
    limits: Limits,
    people: Vec<Person<'w>>,
    replicas: usize,
    poll_every_ms: u64,
    abandoning: bool,
    joined: AtomicUsize,
    is_over: AtomicBool,
    rises: AtomicBool,
    /// Who is inside may be told to wait, by a replica that another has not told yet.
    wavers: AtomicBool,
    /// Admissions may have been forgotten by all: their people stand in line again, and are let in again.
    forgets: AtomicBool,
    held_until_ms: AtomicI64,
    samples: AtomicUsize,
    wrongs: Mutex<Vec<String>>,
}

impl<'w> Crowd<'w> {
    /// Nobody has joined yet.
    pub fn new(world: &'w World, limits: Limits, size: usize, replicas: usize) -> Self {
        let person = |number| Person {
            number,
            user: world.user(&format!("person-{number}")),
            wants_out: AtomicBool::new(false),
            story: Mutex::default(),
        };
        Self {
            world,
            limits,
            people: (0..size).map(person).collect(),
            replicas,
            poll_every_ms: POLL_EVERY_MS,
            abandoning: false,
            joined: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            rises: AtomicBool::new(false),
            wavers: AtomicBool::new(false),
            forgets: AtomicBool::new(false),
            held_until_ms: AtomicI64::new(0),
            samples: AtomicUsize::new(0),
            wrongs: Mutex::default(),
        }
    }

    /// Everybody polls once in so many milliseconds, and one in five falls silent, in line or inside.
    pub fn abandoning(self, poll_every_ms: u64) -> Self {
        Self { poll_every_ms, abandoning: true, ..self }
    }

    pub fn now_ms(&self) -> i64 {
        self.world.clock().now().timestamp_millis()
    }

    /// Whether positions may rise from now on.
    pub fn may_rise(&self, may: bool) {
        self.rises.store(may, Relaxed);
    }

    /// Whether who is inside may be told to wait from now on.
    pub fn may_waver(&self, may: bool) {
        self.wavers.store(may, Relaxed);
    }

    /// From now on nobody may know of an admission but its person.
    pub fn forget_admissions(&self) {
        self.forgets.store(true, Relaxed);
    }

    /// The latest moment until which a report said that nobody is let in.
    pub fn held_until_ms(&self) -> i64 {
        self.held_until_ms.load(Relaxed)
    }

    pub fn samples(&self) -> usize {
        self.samples.load(Relaxed)
    }

    /// So many more join, one after the other, as soon as they can.
    pub async fn join(&self, count: usize) {
        for _ in 0..count {
            let person = &self.people[self.joined.load(Relaxed)];
            within(PATIENCE, &format!("{} has joined", person.number), async || {
                let call = person.user.call(Side::Queue, "POST", "/v1/queues/main/tokens");
                let answer = call.attempt().await?;
                if !matches!(answer.status, 200 | 201) {
                    return Err(format!("{answer:?}"));
                }
                person.hear(self, &answer, 0);
                Ok(())
            })
            .await;
            self.joined.fetch_add(1, Relaxed);
        }
    }

    /// Those leave as soon as they can, wherever they are.
    pub fn send_away(&self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            self.people[number].wants_out.store(true, Relaxed);
        }
    }

    /// Waits until so many have been let in.
    pub async fn until_let_in(&self, count: usize) {
        within(PATIENCE, &format!("{count} were let in"), async || {
            let let_in = self.let_in();
            if let_in >= count { Ok(()) } else { Err(format!("{let_in}; {:?}", self.wrongs())) }
        })
        .await;
    }

    fn let_in(&self) -> usize {
        self.people.iter().filter(|person| !person.story().entries.is_empty()).count()
    }

    /// How many entry tokens were handed out that have not ended.
    pub fn inside(&self) -> usize {
        let now_ms = self.now_ms();
        self.entries().iter().filter(|entry| entry.until_ms > now_ms).count()
    }

    /// Everybody polls until it is over; meanwhile `story` happens, and when it has and everybody's is over,
    /// the promises are judged.
    pub async fn live(&self, story: impl Future<Output = ()>) {
        let ending = async {
            story.await;
            within(4 * PATIENCE, "everybody was served", async || {
                let left: Vec<_> = self.people.iter().filter(|person| !person.story().is_over).collect();
                let numbers: Vec<_> = left.iter().map(|person| person.number).collect();
                if left.is_empty() { Ok(()) } else { Err(format!("{numbers:?}; {:?}", self.wrongs())) }
            })
            .await;
            self.is_over.store(true, Relaxed);
        };
        let lives = at_once(self.people.iter().map(|person| person.live(self)));
        tokio::join!(ending, lives, self.watch());
        self.judge();
    }

    /// Reads the operator's report every 10 ms.
    async fn watch(&self) {
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.is_over.load(Relaxed) {
            ticks.tick().await;
            let report =
                self.world.admin().call(Side::QueueOps, "GET", "/admin/v1/queues/main").attempt().await;
            if let Ok(report) = report
                && report.status == 200
            {
                self.samples.fetch_add(1, Relaxed);
                // While it is held, slots count whose end was forgotten.
                let is_held = !report["held_until"].is_null();
                if !is_held && report.int("active") > i64::try_from(self.limits.cap).unwrap() {
                    self.wrongs.lock().unwrap().push(format!("too many are active: {report:?}"));
                }
                if is_held {
                    self.held_until_ms.fetch_max(report.time("held_until").timestamp_millis(), Relaxed);
                }
            }
        }
    }

    /// All entry tokens that were ever handed out, in the order of admission.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> =
            self.people.iter().flat_map(|person| person.story().entries.clone()).collect();
        entries.sort_by_key(|entry| entry.admitted_ms);
        entries
    }

    fn wrongs(&self) -> Vec<String> {
        let mut wrongs = self.wrongs.lock().unwrap().clone();
        wrongs.extend(self.people.iter().flat_map(|person| person.story().wrongs.clone()));
        wrongs
    }

    fn judge(&self) {
        let mut wrongs = self.wrongs();
        let Limits { users, every_seconds, cap } = self.limits;
        let entries = self.entries();
        for these in entries.windows(users + 1) {
            if these[users].admitted_ms - these[0].admitted_ms < every_seconds * 1000 {
                wrongs.push(format!("too many within {every_seconds} s: {these:?}"));
            }
        }
        for entry in &entries {
            let at = entry.admitted_ms;
            let inside: Vec<_> =
                entries.iter().filter(|other| other.admitted_ms <= at && at < other.until_ms).collect();
            if inside.len() > cap {
                wrongs.push(format!("too many at once: {inside:?}"));
            }
        }
        let first = self.people.iter().filter_map(|person| {
            let entry = person.story().entries.first()?.admitted_ms;
            Some((person.number, entry))
        });
        let first: Vec<_> = first.collect();
        for pair in first.windows(2).filter(|pair| pair[0].1 > pair[1].1) {
            wrongs.push(format!("not in the order of joining: {pair:?}"));
        }
        let told = wrongs.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(wrongs.is_empty(), "{} wrongs:\n{told}", wrongs.len());
    }
}

impl Person<'_> {
    fn story(&self) -> std::sync::MutexGuard<'_, Story> {
        self.story.lock().unwrap()
    }

    async fn live(&self, crowd: &Crowd<'_>) {
        let mut polls = 0;
        while !crowd.is_over.load(Relaxed) && !self.story().is_over {
            let token = self.story().token.clone();
            if let Some(token) = token {
                let known = self.story().entries.len();
                let at_once_on = if crowd.abandoning { 1 } else { crowd.replicas.min(2) };
                let answers = at_once((0..at_once_on).map(|turn| {
                    let replica = (self.number + polls + turn) % crowd.replicas;
                    crowd.world.get(Side::Queue, &self.user.me("")).bearer(&token).on(replica).attempt()
                }))
                .await;
                let answers: Vec<_> = answers.into_iter().flatten().collect();
                self.heard_positions(crowd, &answers);
                for answer in &answers {
                    self.hear(crowd, answer, known);
                }
                if self.is_leaving(crowd) {
                    self.leave(crowd, &token).await;
                }
            }
            polls += 1;
            if crowd.abandoning && self.abandons(polls) {
                self.story().is_over = true;
            }
            pause(crowd.poll_every_ms).await;
        }
    }

    fn abandons(&self, polls: usize) -> bool {
        let is_inside = !self.story().entries.is_empty();
        match self.number % 10 {
            4 => is_inside,
            7 => polls >= PATIENT_FOR + self.number % 16,
            _ => false,
        }
    }

    fn heard_positions(&self, crowd: &Crowd<'_>, answers: &[Answer]) {
        let positions = answers.iter().filter(|answer| answer.status == 200);
        let positions: Vec<_> = positions.filter_map(|answer| answer["position"].as_i64()).collect();
        let Some(lowest) = positions.iter().copied().min() else { return };
        let mut story = self.story();
        let before = story.position.replace(lowest).unwrap_or(i64::MAX);
        let risen = positions.iter().any(|position| *position > before) && !crowd.rises.load(Relaxed);
        if risen || lowest < 1 {
            story.wrongs.push(format!("{}: positions {positions:?} after {before}", self.number));
        }
    }

    /// `known` entry tokens were in hand when it was asked.
    fn hear(&self, crowd: &Crowd<'_>, answer: &Answer, known: usize) {
        let now_ms = crowd.now_ms();
        let mut story = self.story();
        match answer.status {
            200 | 201 => {
                let token = answer.text("queue_token");
                let before = story.token.get_or_insert_with(|| token.clone()).clone();
                if token != before {
                    story.wrongs.push(format!("{}: another place: {answer:?}", self.number));
                }
                if answer["status"] == "active" {
                    Self::let_in(&mut story, crowd, self.number, answer);
                } else if let Some(entry) = story.entries[..known].last()
                    && now_ms < entry.until_ms
                    && !crowd.wavers.load(Relaxed)
                    && !crowd.forgets.load(Relaxed)
                {
                    let wrong = format!("{}: waits beside {entry:?}: {answer:?}", self.number);
                    story.wrongs.push(wrong);
                }
            }
            410 => {
                story.is_over = true;
                let has_ended = story.entries.last().is_some_and(|entry| entry.exp * 1000 <= now_ms);
                if !has_ended && !story.has_left {
                    let wrong = format!("{}: {:?}: {answer:?}", self.number, story.entries);
                    story.wrongs.push(wrong);
                }
            }
            503 => {}
            _ => story.wrongs.push(format!("{}: {answer:?}", self.number)),
        }
    }

    fn let_in(story: &mut Story, crowd: &Crowd<'_>, number: usize, answer: &Answer) {
        let claims = read_claims(&answer.text("entry_token"));
        let admitted_ms = answer.time("admitted_at").timestamp_millis();
        let (jti, iat, exp) = (claims.jti, claims.iat, claims.exp);
        if let Some(known) = story.entries.iter().find(|known| known.jti == jti) {
            if (known.iat, known.exp, known.admitted_ms) != (iat, exp, admitted_ms) {
                let wrong = format!("{number}: {known:?} has become {answer:?}");
                story.wrongs.push(wrong);
            }
            return;
        }
        if let Some(known) = story.entries.last()
            && (admitted_ms < known.until_ms || !crowd.forgets.load(Relaxed))
        {
            let wrong = format!("{number}: let in twice: {known:?} and {answer:?}");
            story.wrongs.push(wrong);
        }
        story.entries.push(Entry { jti, admitted_ms, iat, exp, until_ms: exp * 1000 });
    }

    /// Every third leaves the slot early.
    fn is_leaving(&self, crowd: &Crowd<'_>) -> bool {
        let story = self.story();
        let shopped = |entry: &Entry| crowd.now_ms() >= entry.admitted_ms + SHOPPING_MS;
        let is_done = self.number.is_multiple_of(3) && story.entries.last().is_some_and(shopped);
        !story.is_over && (is_done || self.wants_out.load(Relaxed))
    }

    async fn leave(&self, crowd: &Crowd<'_>, token: &str) {
        {
            let mut story = self.story();
            story.has_left = true;
            let now_ms = crowd.now_ms();
            if let Some(entry) = story.entries.last_mut() {
                entry.until_ms = entry.until_ms.min(now_ms);
            }
        }
        within(PATIENCE, &format!("{} has left", self.number), async || {
            let call = crowd.world.call(Side::Queue, "DELETE", &self.user.me("")).bearer(token);
            let answer = call.attempt().await?;
            if answer.status == 204 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        self.story().is_over = true;
    }
}

//! This replica's view of the line: what polls are answered from, without a call to Redis.
//!
//! ```text
//!   Redis ── follow.lua, every 40 ms while anybody asks ──▶ View ◀── polls, event streams
//!                (follower.rs writes)                        (read: a lock and a few words)
//! ```
//!
//! Invariants, and who keeps them:
//!
//! - every replica shows positions of the same moment, so that a position never rises for who asks one
//!   after the other: [`View::horizon_at`], the time of Redis minus [`DELAY_MS`]; a replica that follows
//!   alone has nobody to agree with and shows what it heard last;
//! - the replicas know that time alike, to a fraction of a millisecond where Redis answers that fast: each takes
//!   the best of [`SAMPLES`], and a newcomer tells nothing before it has some;
//! - nothing older than [`FRESH_MS`] is told while Redis answers: [`View::refresh`] waits for what is new.
//!   While it does not, what is known is told for [`STALE_MS`] at the most; then nothing is;
//! - who ended a place is answered when every replica has heard it: [`View::settle`]; who was let in hears it
//!   when everybody behind has moved up: [`View::until_shown`]. So nobody knows more than positions show.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use shared::clock::Clock;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::feed::{Departure, LaneNumbers};
use super::gone::Gone;
use super::lines::Lines;
use super::lottery::Draw;
use super::model::Scene;

/// How far behind the time of Redis positions are, where there are several replicas.
const DELAY_MS: i64 = 100;
/// A view that has heard nothing for so long asks first; less than the delay, so that it never shows less.
const FRESH_MS: i64 = 75;
/// By how much replicas may differ about the time of Redis.
const SKEW: Duration = Duration::from_millis(25);
/// What a newcomer wants to have heard before it tells anything: so many answers that came so fast, or so
/// many rounds on a machine that is very busy.
const SURE_ERROR: Duration = Duration::from_millis(3);
const SURE_SAMPLES: usize = 8;
const UNSURE_ROUNDS: u32 = 50;
const NEWCOMERS_PATIENCE: Duration = Duration::from_secs(3);
/// How long it may take to hear again.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long a draw may take: a million numbers take about a second of a core.
const DRAW_PATIENCE: Duration = Duration::from_secs(3);
/// A view that has heard nothing for so long says nothing.
const STALE_MS: i64 = 2_000;
/// Answers overtake each other by less; a scene that is older by more is of a server whose time differs.
pub const SET_BACK_MS: i64 = 1_000;
/// Samples of the time of Redis; the best of them is taken.
const SAMPLES: usize = 64;

/// The view of one queue.
pub struct View {
    clock: Clock,
    origin: Instant,
    lines: RwLock<Option<Lines>>,
    pulse: ArcSwap<Pulse>,
    /// Time of Redis minus ours, round by round, and by how much that may be wrong.
    ahead: Mutex<VecDeque<(i64, Duration)>>,
    scene: ArcSwapOption<Scene>,
    numbers: ArcSwap<Vec<LaneNumbers>>,
    /// Rounds of the follower: begun, and done.
    begun: AtomicU64,
    done: watch::Sender<u64>,
    wanted: Notify,
    failing: AtomicBool,
    last_asked: AtomicI64,
}

/// What is known of the time of Redis and of the other replicas.
#[derive(Clone, Copy, Debug, Default)]
struct Pulse {
    /// Time of Redis minus ours, µs, without the offset of tests: the best of the last rounds.
    best_us: i64,
    /// When Redis was last heard, by its time and by ours.
    heard_ms: i64,
    heard_at: Option<i64>,
    /// What tests had added to the time then.
    offset_ms: i64,
    alone: bool,
    /// Others may not know of us before.
    serves_from_ms: i64,
    /// A newcomer does not know the time of Redis well enough yet; for so many rounds it waits for that.
    unsure_rounds: u32,
}

/// What is known of the time at one moment: read once for all that is told of it.
#[derive(Clone, Copy, Debug)]
struct Reading {
    pulse: Pulse,
    ours_us: i64,
    offset_ms: i64,
}

impl Reading {
    /// The time of Redis, as well as it is known; never ahead of it by more than its clock's steps.
    fn now_ms(&self) -> i64 {
        (self.pulse.best_us + self.ours_us).div_euclid(1_000) + self.offset_ms
    }

    /// How long ago the view heard from Redis; by our own clock, because that of Redis may be set.
    fn age_ms(&self) -> i64 {
        match self.pulse.heard_at {
            Some(heard_at) if self.pulse.offset_ms == self.offset_ms => self.ours_us / 1_000 - heard_at,
            _ => i64::MAX,
        }
    }

    fn is_fresh(&self) -> bool {
        self.age_ms() <= FRESH_MS && self.now_ms() >= self.pulse.serves_from_ms
    }

    /// The moment whose positions are shown.
    fn horizon(&self) -> i64 {
        let Pulse { alone, heard_ms, .. } = self.pulse;
        // Of the millisecond in which Redis was asked, more may come.
        if alone { heard_ms } else { (self.now_ms() - DELAY_MS).min(heard_ms - 1) }
    }
}

/// Where a place stands, as far as the view knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    InLine {
        /// `None` while the order of a draw is not known here yet.
        position: Option<u64>,
    },
    /// Only Redis can tell: let in, ended, or not known yet.
    Elsewhere,
}

impl View {
    /// Knows nothing yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            origin: Instant::now(),
            lines: RwLock::new(None),
            pulse: ArcSwap::default(),
            ahead: Mutex::default(),
            scene: ArcSwapOption::empty(),
            numbers: ArcSwap::default(),
            begun: AtomicU64::new(0),
            done: watch::Sender::new(0),
            wanted: Notify::new(),
            failing: AtomicBool::new(false),
            last_asked: AtomicI64::new(i64::MIN),
        }
    }

    // Reading -----------------------------------------------------------------------------------

    /// The queue as it was last heard of.
    pub fn scene(&self) -> Option<Arc<Scene>> {
        self.scene.load_full()
    }

    /// The time of Redis, as well as it is known.
    pub fn now_ms(&self) -> i64 {
        self.reading().now_ms()
    }

    /// How far the lanes have come.
    pub fn lanes(&self) -> Arc<Vec<LaneNumbers>> {
        self.numbers.load_full()
    }

    /// The time of Redis, and where a place stands. Answers `Elsewhere` too while the view is not fit to tell.
    pub fn sight(&self, place: u64) -> (i64, Sight) {
        self.sight_at(&self.reading(), place)
    }

    /// As [`View::sight`], for somebody who does not wait: `None` while what is told is not fresh.
    pub fn fresh_sight(&self, place: u64) -> Option<(i64, Sight)> {
        let reading = self.reading();
        self.note_asked(&reading);
        reading.is_fresh().then(|| self.sight_at(&reading, place))
    }

    fn sight_at(&self, reading: &Reading, place: u64) -> (i64, Sight) {
        let sight = |lines: &Lines| {
            let is_in_line = lines.has(place);
            if is_in_line { Sight::InLine { position: lines.position(place) } } else { Sight::Elsewhere }
        };
        (reading.now_ms(), self.read_at(reading, sight).unwrap_or(Sight::Elsewhere))
    }

    /// The position of a place that is in line, at the horizon.
    pub fn position(&self, place: u64) -> Option<u64> {
        self.read_at(&self.reading(), |lines| lines.position(place))?
    }

    /// Waits until a gap before this place was heard of, should there be one; whether it was. Else those in the gap,
    /// who are nobody, would count as people in front.
    pub async fn is_connected(&self, place: u64) -> bool {
        let is_beyond = || self.read(|lines| lines.is_beyond_a_gap(place)).unwrap_or(false);
        if is_beyond() {
            drop(tokio::time::timeout(PATIENCE, self.hear_again()).await);
        }
        !is_beyond()
    }

    /// As [`View::position`]; waits, when need be, until the order of a draw is known.
    pub async fn position_soon(&self, place: u64) -> Option<u64> {
        let known = async {
            loop {
                match self.position(place) {
                    Some(position) => return position,
                    None => self.hear_again().await,
                }
            }
        };
        tokio::time::timeout(DRAW_PATIENCE, known).await.ok()
    }

    /// Waits, briefly, until what is told is fresh.
    pub async fn refresh(&self) {
        let reading = self.reading();
        self.note_asked(&reading);
        if !reading.is_fresh() && !self.failing.load(Ordering::Relaxed) {
            let patience = if reading.pulse.unsure_rounds > 0 { NEWCOMERS_PATIENCE } else { PATIENCE };
            Box::pin(self.until_fresh(patience)).await;
        }
    }

    fn note_asked(&self, reading: &Reading) {
        let ours_ms = reading.ours_us / 1_000;
        // A store of what stands there already would be fought over by the threads that answer.
        if self.last_asked.load(Ordering::Relaxed) != ours_ms {
            self.last_asked.store(ours_ms, Ordering::Relaxed);
        }
    }

    async fn until_fresh(&self, patience: Duration) {
        // In vain: what is known is told as long as it may be.
        drop(
            tokio::time::timeout(patience, async {
                while !self.reading().is_fresh() {
                    self.hear_again().await;
                    let reading = self.reading();
                    let early = reading.pulse.serves_from_ms - reading.now_ms();
                    tokio::time::sleep(Duration::from_millis(u64::try_from(early).unwrap_or(0))).await;
                }
            })
            .await,
        );
    }

    /// Waits until every replica shows what Redis has done so far.
    pub async fn settle(&self) {
        let settled = async {
            self.hear_again().await;
            if !self.pulse().alone {
                tokio::time::sleep(Duration::from_millis(DELAY_MS.unsigned_abs()) + SKEW).await;
                self.hear_again().await;
            }
        };
        drop(tokio::time::timeout(PATIENCE, settled).await);
    }

    /// Waits until positions show that this place has left the line.
    pub async fn until_shown(&self, place: u64) {
        let is_pending = || self.read(|lines| lines.is_pending(place)).unwrap_or(false);
        let shown = async {
            while is_pending() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let horizon = self.reading().horizon();
                if let Some(lines) = self.lines.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    lines.advance(horizon);
                }
            }
            tokio::time::sleep(SKEW).await;
        };
        // It may have left a moment before this view hears of it.
        if !self.read(|lines| lines.has_left(place)).unwrap_or(true) {
            drop(tokio::time::timeout(PATIENCE, self.hear_again()).await);
        }
        if is_pending() {
            drop(tokio::time::timeout(PATIENCE, shown).await);
        }
    }

    async fn hear_again(&self) {
        let mut done = self.done.subscribe();
        let target = self.begun.load(Ordering::SeqCst) + 1;
        self.wanted.notify_one();
        // The sender lives in this view.
        drop(done.wait_for(|round| *round >= target).await);
    }

    fn reading(&self) -> Reading {
        Reading { pulse: self.pulse(), ours_us: self.ours_us(), offset_ms: self.clock.offset_ms() }
    }

    /// Reads the lines at the horizon; nothing when the view has heard nothing for too long.
    fn read_at<T>(&self, reading: &Reading, tell: impl Fn(&Lines) -> T) -> Option<T> {
        if reading.age_ms() > STALE_MS {
            return None;
        }
        let horizon = reading.horizon();
        let told = self.read(|lines| (!lines.lags_behind(horizon)).then(|| tell(lines)))?;
        if told.is_none() {
            self.lines.write().unwrap_or_else(PoisonError::into_inner).as_mut()?.advance(horizon);
            return self.read(tell);
        }
        told
    }

    fn read<T>(&self, reading: impl FnOnce(&Lines) -> T) -> Option<T> {
        self.lines.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(reading)
    }

    fn pulse(&self) -> Pulse {
        **self.pulse.load()
    }

    fn ours_us(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn ours_ms(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    // Writing: the follower alone ----------------------------------------------------------------

    /// Waits until a round is wanted, `idle` at the most; a view that is watched, or was asked lately, wants
    /// one sooner.
    pub async fn until_wanted(&self, is_watched: bool, busy: Duration, idle: Duration) {
        let quiet_ms = self.ours_ms().saturating_sub(self.last_asked.load(Ordering::Relaxed));
        let pause = if is_watched || quiet_ms < 1_000 { busy } else { idle };
        drop(tokio::time::timeout(pause, self.wanted.notified()).await);
    }

    /// A round begins; its number.
    pub fn begin_round(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A round is done, well or not.
    pub fn end_round(&self, round: u64, failed: bool) {
        self.failing.store(failed, Ordering::Relaxed);
        if !failed {
            self.done.send_replace(round);
        }
    }

    /// Takes note of the queue, the time, and the other replicas.
    pub fn hear_scene(&self, scene: Scene, others: u64, is_newcomer: bool, asked_at: Instant) {
        let now_ms = scene.now.timestamp_millis();
        {
            let mut samples = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            if samples.len() == SAMPLES {
                samples.pop_front();
            }
            // Redis tells whole milliseconds: the best of many samples is one just after a tick.
            let ahead = (now_ms - self.clock.offset_ms()) * 1_000 - self.ours_us();
            // Redis told its time somewhere in between.
            samples.push_back((ahead, asked_at.elapsed()));
            let mut pulse = self.pulse();
            pulse.best_us = samples.iter().map(|(ahead, _)| *ahead).max().unwrap_or(ahead);
            (pulse.heard_at, pulse.offset_ms) = (Some(self.ours_ms()), self.clock.offset_ms());
            pulse.heard_ms = now_ms;
            pulse.alone = others == 0;
            if is_newcomer && others > 0 {
                (pulse.serves_from_ms, pulse.unsure_rounds) = (now_ms + DELAY_MS, UNSURE_ROUNDS);
            }
            let sure = samples.iter().filter(|(_, error)| *error <= SURE_ERROR).count();
            if sure >= SURE_SAMPLES {
                pulse.unsure_rounds = 0;
            } else if pulse.unsure_rounds > 0 {
                pulse.unsure_rounds -= 1;
                pulse.serves_from_ms = now_ms + DELAY_MS;
            }
            self.pulse.store(Arc::new(pulse));
        }
        self.hear_newer_scene(&Arc::new(scene));
    }

    /// Takes note of a place that another script has just told.
    pub fn hear_place(&self, place: u64) {
        if self.read(|lines| lines.is_news(place)).unwrap_or(false)
            && let Some(lines) = self.lines.write().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            lines.hear_place(place);
        }
    }

    /// Takes note of the queue as another script has just told it.
    pub fn hear_newer_scene(&self, scene: &Arc<Scene>) {
        self.scene.rcu(|known| match known {
            // Older, unless the time was set back.
            Some(known) if (0..SET_BACK_MS).contains(&(known.now - scene.now).num_milliseconds()) => {
                Some(known.clone())
            }
            _ => Some(scene.clone()),
        });
    }

    /// Begins anew with what is gone at present.
    pub fn begin(&self, gone: Vec<Gone>, recent: &[Departure], heard_ms: i64, numbers: &[LaneNumbers]) {
        let horizon = if self.pulse().alone { heard_ms } else { heard_ms - DELAY_MS };
        let mut begun = Lines::new(gone, recent, horizon);
        begun.hear_numbers(heard_ms, numbers);
        *self.lines.write().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }

    /// Takes note of what has happened.
    pub fn hear(&self, departures: &[Departure], numbers: &[LaneNumbers]) {
        self.numbers.store(Arc::new(numbers.to_vec()));
        let reading = self.reading();
        let (heard_ms, horizon) = (reading.pulse.heard_ms, reading.horizon());
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = lines.as_mut() {
            lines.hear_numbers(heard_ms, numbers);
            for departure in departures {
                lines.hear(departure);
            }
            if lines.lags_behind(horizon) {
                lines.advance(horizon);
            }
        }
    }

    /// The numbers of a lane that were drawn and whose order is not known here yet.
    pub fn undrawn(&self, lane: usize, drawn: u64) -> Option<std::ops::RangeInclusive<u64>> {
        self.read(|lines| lines.undrawn(lane, drawn))?
    }

    /// Takes the order of a lane's draw over.
    pub fn draw(&self, lane: usize, draw: Draw) {
        if let Some(lines) = self.lines.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            lines.draw(lane, draw);
        }
    }

    /// There is no draw (any more).
    pub fn forget_draws(&self) {
        if let Some(lines) = self.lines.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            lines.forget_draws();
        }
    }

    /// Whether a place is in line, as far as was heard.
    pub fn has(&self, place: u64) -> bool {
        self.read(|lines| lines.has(place)).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::store;
    use super::*;

    /// A lock that is taken twice by one thread hangs when another wants to write in between
    #[test]
    fn polls_and_the_follower_never_wait_for_each_other_for_ever() {
        const ROUNDS: usize = 200_000;
        let view = Arc::new(View::new(Clock::system()));
        let words = ["open".to_owned(), String::new(), String::new()];
        let scene = store::scene(([1; 14], words)).unwrap();
        let (done, ended) = mpsc::channel();
        for thread in 0..3 {
            let (view, scene, done) = (view.clone(), scene.clone(), done.clone());
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    if thread == 0 {
                        view.hear_scene(scene.clone(), 1, false, Instant::now());
                        view.hear(&[], &[]);
                    } else {
                        view.sight(round as u64);
                    }
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..3 {
            ended.recv_timeout(Duration::from_secs(30)).expect("a thread hangs");
        }
    }
}

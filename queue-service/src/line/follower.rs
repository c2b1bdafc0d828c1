//! Keeps a view: follows what happens in Redis, begins anew when it has missed something, and gives a
//! store that forgot what this replica remembers.
//!
//! ```text
//!   begin: numbers, strings of `gone`, departures since ─▶ follow, follow, follow …
//!     ▲                                                         │
//!     └── away for half a minute · the store's epoch changed ◀──┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::feed::{self, Departure, Heard, LaneNumbers, MOST_DEPARTURES, News};
use super::gone::Gone;
use super::lottery::Draw;
use super::room::Room;
use super::view::SET_BACK_MS;
use crate::keys::{LANE, SEEN_CHUNK};
use crate::redis::{StoreError, When};

const BUSY: Duration = Duration::from_millis(40);
const IDLE: Duration = Duration::from_secs(1);
/// Departures are kept for a minute; a view that missed half of that begins anew.
const MISSED_MS: i64 = 30_000;
/// Strings of `gone` in one round trip: 128 KiB.
const CHUNKS_AT_ONCE: usize = 16;

/// What the follower has so far.
#[derive(Default)]
struct Follower {
    heard: Heard,
    heard_ms: i64,
    has_begun: bool,
    /// The settings as Redis has them, in case it loses them.
    settings: Vec<String>,
    drawing: Option<Drawing>,
    /// From the first answer of the store on.
    epochs: Option<watch::Receiver<u64>>,
    /// The store has forgotten something and was not given the admissions back yet.
    owes_claims: bool,
}

/// An order of a lottery that is being computed, off the threads that answer.
struct Drawing {
    lane: usize,
    seed: String,
    draw: JoinHandle<Draw>,
}

/// Follows a room's line until dropped.
pub async fn run(room: Arc<Room>) {
    let mut follower = Follower::default();
    let mut failing = false;
    loop {
        let round = room.view.begin_round();
        let outcome = follower.round(&room).await;
        match &outcome {
            Err(error) if !failing => {
                tracing::warn!(queue = room.id.as_str(), %error, "the view stands still");
            }
            Ok(()) if failing => tracing::info!(queue = room.id.as_str(), "the view goes on"),
            _ => {}
        }
        failing = outcome.is_err();
        room.view.end_round(round, failing);
        if matches!(outcome, Err(StoreError::NoQueue)) {
            follower.give_back_settings(&room).await;
        }
        room.view.until_wanted(room.listeners.are_there(), BUSY, IDLE).await;
        if failing {
            tokio::time::sleep(BUSY).await;
        }
    }
}

impl Follower {
    async fn round(&mut self, room: &Room) -> Result<(), StoreError> {
        loop {
            self.has_store_forgotten();
            self.owes_claims = self.owes_claims && !give_back_claims(room).await;
            let is_whole = if self.has_begun { self.go_on(room).await? } else { self.begin(room).await? };
            if is_whole {
                return Ok(());
            }
        }
    }

    /// Whether the store has noticed since this was last asked that it forgot something: then what is known here and
    /// what it tells do not fit together, and the view begins anew.
    fn has_store_forgotten(&mut self) -> bool {
        let Some(epochs) = self.epochs.as_mut().filter(|epochs| epochs.has_changed().unwrap_or(false)) else {
            return false;
        };
        epochs.mark_unchanged();
        (self.has_begun, self.owes_claims) = (false, true);
        true
    }

    /// Hears all that has happened since; `false`: the view has to begin anew.
    async fn go_on(&mut self, room: &Room) -> Result<bool, StoreError> {
        let mut departures = Vec::new();
        loop {
            // What was heard so far would be missing otherwise.
            let asked = self.ask(room).await.inspect_err(|_| self.has_begun = departures.is_empty());
            let mut news = asked?;
            if self.has_store_forgotten() {
                return Ok(false);
            }
            let since_ms = news.scene.now.timestamp_millis() - self.heard_ms;
            // Missed too much, or the time was set back.
            if !(-SET_BACK_MS..MISSED_MS).contains(&since_ms) {
                self.has_begun = false;
                return Ok(false);
            }
            let is_all = news.departures.len() < MOST_DEPARTURES;
            self.hear(&news.departures);
            departures.append(&mut news.departures);
            if is_all {
                self.take(room, News { departures, ..news }).await;
                return Ok(true);
            }
        }
    }

    /// What is gone by the strings, and what happened while they were read; `false`: once more.
    async fn begin(&mut self, room: &Room) -> Result<bool, StoreError> {
        self.heard.last.clear();
        let first = self.ask(room).await?;
        self.has_store_forgotten();
        let mut recent = first.departures;
        let lanes = load(room, &first.lanes).await?;
        self.heard.last = recent.last().map_or_else(
            || format!("{}-0", first.scene.now.timestamp_millis() - 1),
            |departure| departure.id.clone(),
        );
        let mut news = self.ask(room).await?;
        while news.departures.len() == MOST_DEPARTURES {
            self.hear(&news.departures);
            recent.append(&mut news.departures);
            news = self.ask(room).await?;
        }
        if self.has_store_forgotten() {
            return Ok(false);
        }
        self.hear(&news.departures);
        recent.append(&mut news.departures);
        let heard_ms = news.scene.now.timestamp_millis();
        let is_newcomer = news.is_newcomer || first.is_newcomer;
        room.view.hear_scene(news.scene.clone(), news.others, is_newcomer, news.asked_at);
        room.view.begin(lanes, &recent, heard_ms, &news.lanes);
        self.has_begun = true;
        self.take(room, News { is_newcomer, ..news }).await;
        room.listeners.tell_all();
        Ok(true)
    }

    async fn ask(&mut self, room: &Room) -> Result<News, StoreError> {
        let when = When::now(&room.clock);
        let news = feed::follow(&room.redis, &room.keys, when, &room.replica, &self.heard).await?;
        self.epochs.get_or_insert_with(|| room.keys.memory().epochs());
        if !news.settings.is_empty() {
            self.settings.clone_from(&news.settings);
            self.heard.version = self.setting("version").map(str::to_owned).unwrap_or_default();
        }
        Ok(news)
    }

    async fn take(&mut self, room: &Room, news: News) {
        self.heard_ms = news.scene.now.timestamp_millis();
        let state = news.scene.state;
        let has_opened = news.scene.opens_at.is_none_or(|at| at <= news.scene.now);
        room.view.hear_scene(news.scene, news.others, news.is_newcomer, news.asked_at);
        room.view.hear(&news.departures, &news.lanes);
        self.draw(room, has_opened, &news.lanes).await;
        room.listeners.tell(state, &news.departures);
    }

    fn hear(&mut self, departures: &[Departure]) {
        if let Some(last) = departures.last() {
            self.heard.last.clone_from(&last.id);
        }
    }

    /// After the opening of a lottery its order can be computed.
    async fn draw(&mut self, room: &Room, has_opened: bool, lanes: &[LaneNumbers]) {
        let seed = self.setting("seed").filter(|_| has_opened && self.setting("order") == Some("lottery"));
        let Some(seed) = seed.map(str::to_owned) else {
            room.view.forget_draws();
            return;
        };
        if let Some(drawing) = self.drawing.take_if(|drawing| drawing.draw.is_finished())
            && let (Ok(draw), true) = (drawing.draw.await, drawing.seed == seed)
        {
            room.view.draw(drawing.lane, draw);
        }
        if self.drawing.is_some() {
            return;
        }
        let undrawn =
            |(lane, numbers): (usize, &LaneNumbers)| Some((lane, room.view.undrawn(lane, numbers.drawn)?));
        if let Some((lane, numbers)) = lanes.iter().enumerate().find_map(undrawn) {
            let of = seed.clone();
            let draw = tokio::task::spawn_blocking(move || Draw::new(&of, numbers));
            self.drawing = Some(Drawing { lane, seed, draw });
        }
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let (pairs, _) = self.settings.as_chunks::<2>();
        pairs.iter().find(|pair| pair[0] == name).map(|pair| pair[1].as_str())
    }

    /// A store that has lost the queue itself was emptied: the queue is made again as it was.
    async fn give_back_settings(&mut self, room: &Room) {
        if self.settings.is_empty() {
            return;
        }
        match room.queues.regain(&room.id, &self.settings).await {
            Ok(true) => tracing::warn!(
                queue = room.id.as_str(),
                "the store had lost the queue; its settings are back"
            ),
            Ok(false) => {}
            Err(error) => tracing::debug!(queue = room.id.as_str(), %error, "cannot give settings back"),
        }
    }
}

/// Admissions that somebody was told of are in force, whatever the store forgot; true when it knows them again.
async fn give_back_claims(room: &Room) -> bool {
    let claims = room.claims.all();
    match feed::regain(&room.redis, &room.keys, When::now(&room.clock), &claims).await {
        Ok(regained) => {
            tracing::warn!(
                queue = room.id.as_str(),
                regained,
                "the store has forgotten something: nobody is let in while an entry token may be in force \
                 that it does not know; forgotten places come back to whoever proves them"
            );
            true
        }
        Err(error) => {
            tracing::debug!(queue = room.id.as_str(), %error, "cannot give admissions back");
            false
        }
    }
}

async fn load(room: &Room, lanes: &[LaneNumbers]) -> Result<Vec<Gone>, StoreError> {
    let mut loaded = Vec::with_capacity(lanes.len());
    for (lane, numbers) in (0..).zip(lanes) {
        let mut gone = Gone::from_floor(numbers.floor);
        let base = lane * (LANE / SEEN_CHUNK);
        let chunks: Vec<u64> = (numbers.floor..=numbers.last / SEEN_CHUNK).collect();
        for chunks in chunks.chunks(CHUNKS_AT_ONCE) {
            let named: Vec<u64> = chunks.iter().map(|chunk| base + chunk).collect();
            let strings = feed::gone(&room.redis, &room.keys, &named).await?;
            for (chunk, bytes) in chunks.iter().zip(strings) {
                gone.load(*chunk, &bytes);
            }
        }
        gone.count();
        loaded.push(gone);
    }
    Ok(loaded)
}

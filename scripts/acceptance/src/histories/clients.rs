//! Clients on real replicas, and the recorder beside them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::clock::Clock;
use shared::tokens::entry::EntryClaims;
use shared::tokens::keys::SigningKey;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::books;
use super::chooser::{Chooser, Pocket, Shape};
use super::history::{Attempt, History, Moment, Outcome, Terms, Wish};
use super::parse;
use super::wire::{Sent, Wire};

/// What a run is to be.
pub struct Plan {
    /// Attempts to be answered.
    pub operations: usize,
    /// A user token each.
    pub tokens: Vec<String>,
    /// Clients a user.
    pub devices: usize,
    pub seed: u64,
    /// Of a hundred requests, so many whose client hangs up before it can have the answer.
    pub hang_up_percent: f64,
    pub terms: Terms,
    pub shape: Shape,
    /// `host:port` of the replicas.
    pub replicas: Vec<String>,
    pub schedule: String,
    /// Where holds, payments and seat maps need an entry token: claims of one, and what signs them.
    pub gate: Option<(EntryClaims, SigningKey)>,
    /// How many attempts were answered so far.
    pub progress: Arc<AtomicUsize>,
    pub clock: Clock,
}

/// Of a hundred wishes that can do without a key, so many have none.
const KEYLESS: f64 = 40.0;
/// Of a hundred attempts without an answer that have a key, so many are left at that.
const LEFT_OPEN: f64 = 5.0;
const RETRY_PAUSE_MS: u64 = 40;

pub(super) struct Recorder {
    plan: Plan,
    began: Instant,
    pockets: Vec<Mutex<Pocket>>,
    passes: Vec<Mutex<String>>,
    next_key: AtomicU64,
}

impl Recorder {
    pub(super) fn now(&self) -> Moment {
        let tick = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        Moment { tick, wall: self.plan.clock.now().timestamp_micros() }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    fn is_done(&self) -> bool {
        self.plan.progress.load(Ordering::Relaxed) >= self.plan.operations
    }

    fn new_pass(&self, user: usize) -> Option<String> {
        let (claims, key) = self.plan.gate.as_ref()?;
        let now = self.plan.clock.unix_seconds();
        let mut claims = claims.clone();
        claims.sub = name(user);
        claims.jti = uuid::Uuid::new_v4().to_string();
        (claims.iat, claims.nbf, claims.exp) = (now, now, now + 3600);
        Some(shared::tokens::entry::sign(&claims, key).expect("a token can be signed"))
    }
}

/// What a user of a run is called.
pub fn name(user: usize) -> String {
    format!("person-{user}")
}

/// Lets the clients do their work, and then reads the books.
pub async fn record(plan: Plan) -> History {
    let users = plan.tokens.len();
    let recorder = Recorder {
        began: Instant::now(),
        pockets: (0..users).map(|_| Mutex::default()).collect(),
        passes: (0..users).map(|_| Mutex::default()).collect(),
        next_key: AtomicU64::new((plan.seed & 0xFFFF_FFFF) << 32),
        plan,
    };
    for (user, pass) in recorder.passes.iter().enumerate() {
        *pass.lock().expect("nobody panicked here") = recorder.new_pass(user).unwrap_or_default();
    }
    let recorder = Arc::new(recorder);
    let mut clients = JoinSet::new();
    for client in 0..users * recorder.plan.devices {
        clients.spawn(Client::new(client, recorder.clone()).run());
    }
    let mut attempts = Vec::new();
    while let Some(ended) = clients.join_next().await {
        attempts.extend(ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    let books: BTreeMap<_, _> = books::read(&recorder).await;
    attempts.extend(Client::new(0, recorder.clone()).last_looks().await);
    let ended = recorder.now();
    History { terms: recorder.plan.terms, attempts, books, ended }
}

struct Client {
    number: usize,
    user: usize,
    recorder: Arc<Recorder>,
    chooser: Chooser,
    wires: Vec<Wire>,
    attempts: Vec<Attempt>,
}

impl Client {
    fn new(number: usize, recorder: Arc<Recorder>) -> Self {
        let plan = &recorder.plan;
        let chooser = Chooser::new(plan.seed.wrapping_mul(1_000_003) + number as u64, plan.shape);
        let wires = plan.replicas.iter().map(|replica| Wire::to(replica)).collect();
        let user = number % plan.tokens.len();
        Self { number, user, chooser, wires, attempts: Vec::new(), recorder }
    }

    async fn run(mut self) -> Vec<Attempt> {
        while !self.recorder.is_done() {
            let wish = self.wish();
            let keyed = wish.takes_key() && (wish.needs_key() || !self.chooser.percent(KEYLESS));
            let key = keyed.then(|| self.recorder.next_key.fetch_add(1, Ordering::Relaxed));
            self.pursue(wish, key).await;
        }
        self.attempts
    }

    /// The seats as each replica shows them when all is over.
    async fn last_looks(mut self) -> Vec<Attempt> {
        for replica in 0..self.wires.len() {
            self.attempt(&Wish::ReadMap, None, replica, None).await;
        }
        self.attempts
    }

    fn wish(&mut self) -> Wish {
        let pockets = &self.recorder.pockets;
        let neighbour = (self.user + 1) % pockets.len();
        let foreign = pockets[neighbour].lock().expect("nobody panicked here").any();
        let pocket = pockets[self.user].lock().expect("nobody panicked here").clone();
        self.chooser.next(&pocket, foreign.filter(|_| neighbour != self.user))
    }

    /// Asks until there is an answer, or leaves it open.
    async fn pursue(&mut self, wish: Wish, key: Option<u64>) {
        loop {
            let replica = self.chooser.below(self.wires.len() as u64);
            let replica = usize::try_from(replica).unwrap_or_default();
            let hang_up = self.chooser.percent(self.recorder.plan.hang_up_percent);
            let hang_up = hang_up.then(|| Duration::from_micros(100 << self.chooser.below(11)));
            let outcome = self.attempt(&wish, key, replica, hang_up).await;
            let again = match &outcome {
                None => true,
                Some(Outcome::Lost) => key.is_some() && !self.chooser.percent(LEFT_OPEN),
                Some(outcome) => outcome.code() == Some("idempotency_in_flight"),
            };
            if !again || self.recorder.is_done() && key.is_none() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(self.chooser.below(RETRY_PAUSE_MS))).await;
        }
    }

    /// One request; `None` when there was nobody to take it.
    async fn attempt(
        &mut self,
        wish: &Wish,
        key: Option<u64>,
        replica: usize,
        hang_up: Option<Duration>,
    ) -> Option<Outcome> {
        let request = self.request(wish, key);
        let begun = self.recorder.now();
        let sent = self.wires[replica].exchange(&request, hang_up).await;
        let ended = self.recorder.now();
        let outcome = match sent {
            Sent::Never => return None,
            Sent::Lost => Outcome::Lost,
            Sent::Answered(status, body) => parse::outcome(wish, status, &body),
        };
        if outcome != Outcome::Lost {
            self.recorder.plan.progress.fetch_add(1, Ordering::Relaxed);
        }
        if outcome.code() == Some("entry_token_completed") {
            let pass = self.recorder.new_pass(self.user).unwrap_or_default();
            *self.recorder.passes[self.user].lock().expect("nobody panicked here") = pass;
        }
        self.recorder.pockets[self.user].lock().expect("nobody panicked here").hear(wish, &outcome);
        let (client, user, wish) = (self.number, self.user, wish.clone());
        let attempt = Attempt { client, user, replica, key, wish, begun, ended, outcome: outcome.clone() };
        self.attempts.push(attempt);
        Some(outcome)
    }

    fn request(&self, wish: &Wish, key: Option<u64>) -> String {
        let schedule = &self.recorder.plan.schedule;
        let (method, path, body) = match wish {
            Wish::Hold { seats } => {
                let body = format!("{{\"schedule_id\":\"{schedule}\",\"seat_numbers\":{seats:?}}}");
                ("POST", "/v1/reservations".to_owned(), body)
            }
            Wish::Release { reservation } => {
                ("DELETE", format!("/v1/reservations/{reservation}"), String::new())
            }
            Wish::Pay { reservation } => {
                ("POST", "/v1/payments".to_owned(), format!("{{\"reservation_id\":\"{reservation}\"}}"))
            }
            Wish::Refund { payment } => ("POST", format!("/v1/payments/{payment}/refund"), String::new()),
            Wish::Charge { amount } => {
                ("POST", "/v1/points/charges".to_owned(), format!("{{\"amount\":{amount}}}"))
            }
            Wish::Use { amount } => (
                "POST",
                "/v1/points/uses".to_owned(),
                format!("{{\"amount\":{amount},\"memo\":\"a drink\"}}"),
            ),
            Wish::ReadReservation { reservation } => {
                ("GET", format!("/v1/reservations/{reservation}"), String::new())
            }
            Wish::ReadBalance => ("GET", "/v1/points".to_owned(), String::new()),
            Wish::ReadMap => ("GET", format!("/v1/schedules/{schedule}/seats"), String::new()),
            Wish::ReadHistory => ("GET", "/v1/points/history?limit=3".to_owned(), String::new()),
        };
        let gated = matches!(wish, Wish::Hold { .. } | Wish::Pay { .. } | Wish::ReadMap);
        let pass = self.recorder.passes[self.user].lock().expect("nobody panicked here").clone();
        let token =
            if gated && !pass.is_empty() { pass } else { self.recorder.plan.tokens[self.user].clone() };
        let mut text =
            format!("{method} {path} HTTP/1.1\r\nhost: booking\r\nauthorization: Bearer {token}\r\n");
        if let Some(key) = key {
            let _infallible = write!(text, "idempotency-key: history-{key}\r\n");
        }
        if method == "POST" && !body.is_empty() {
            text.push_str("content-type: application/json\r\n");
        }
        let _infallible = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
        text
    }
}

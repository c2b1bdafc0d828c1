//! A person who goes the whole way again and again, and writes down what was answered.
//!
//! No connection, 503 and `idempotency_in_flight` are no answers: the same is asked again, with the same key, of
//! whichever replica lives. Any other answer is the truth, and is held against the books at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use acceptance::{Answer, Call, Date, PRICE, Side, User, World, pause, read_claims, within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::SEATS;

/// Half of all wishes are for these.
const HOT_SEATS: i64 = 20;
const POLL_EVERY_MS: u64 = 150;
const ASK_AGAIN_MS: u64 = 80;
/// Redis is away, then nobody is let in for five seconds, then Redis is away …
const PATIENCE: Duration = Duration::from_secs(90);

/// A POST that was answered 201.
pub struct Deed {
    pub path: String,
    pub key: String,
    pub body: Value,
    pub answer: Answer,
    /// Nobody knew what had become of it at first.
    pub was_in_doubt: bool,
}

/// An admission, as its entry token tells it.
#[derive(Clone, Debug)]
pub struct Admission {
    pub jti: String,
    pub admitted_ms: i64,
    pub iat: i64,
    pub exp: i64,
    /// Before this moment its slot cannot have been given to anybody else.
    pub until_ms: i64,
    /// What its person polled with.
    pub queue_token: String,
    /// When the payment was answered that ends it.
    pub paid_ms: Option<i64>,
    /// It opens nothing any more.
    is_over: bool,
}

pub struct Shopper<'w> {
    world: &'w World,
    date: &'w Date,
    pub user: User<'w>,
    dice: StdRng,
    entry_token: String,
    /// The hold was made by the latest admission, not perhaps by one before it.
    is_hold_its_own: bool,
    /// Payments that were not given back.
    kept: Vec<Answer>,
    pub deeds: Vec<Deed>,
    pub admissions: Vec<Admission>,
    /// What must have become of each.
    pub reservations: BTreeMap<String, &'static str>,
    /// Requests whose answer was none.
    pub unanswered: usize,
}

impl<'w> Shopper<'w> {
    pub fn new(world: &'w World, date: &'w Date, number: usize, seed: u64) -> Self {
        Self {
            world,
            date,
            user: world.user(&format!("shopper-{number}")),
            dice: StdRng::seed_from_u64(seed ^ (number as u64 + 1) << 32),
            entry_token: String::new(),
            is_hold_its_own: false,
            kept: Vec::new(),
            deeds: Vec::new(),
            admissions: Vec::new(),
            reservations: BTreeMap::new(),
            unanswered: 0,
        }
    }

    /// Shops until it is over, finishes what was begun, and leaves.
    pub async fn live(mut self, is_over: &AtomicBool) -> Self {
        while !is_over.load(Relaxed) {
            self.journey().await;
        }
        if self.admissions.iter().any(|admission| !admission.is_over) {
            self.leave().await;
        }
        self
    }

    /// Moves points and nothing else, until it is over.
    pub async fn save(mut self, is_over: &AtomicBool) -> Self {
        while !is_over.load(Relaxed) {
            let amount = self.dice.random_range(100..1000);
            self.post("/v1/points/charges", &json!({ "amount": amount })).await.ok(201);
            if self.dice.random_bool(0.5) {
                let body = json!({ "amount": amount / 2, "memo": "a programme" });
                self.post("/v1/points/uses", &body).await.ok(201);
            }
            pause(self.dice.random_range(5..40)).await;
        }
        self
    }

    async fn journey(&mut self) {
        self.enter().await;
        let seats = self.choose();
        let amount = PRICE * i64::try_from(seats.len()).unwrap();
        self.post("/v1/points/charges", &json!({ "amount": amount })).await.ok(201);
        let Some(hold) = self.hold(&seats).await else { return self.do_without().await };
        match self.dice.random_range(0..100) {
            0..12 => self.release(&hold).await,
            12..18 => {} // forgotten: it lapses
            _ => {
                if let Some(payment) = self.pay(&hold).await {
                    self.kept.push(payment);
                }
            }
        }
    }

    /// Leaves, or gives back what was bought, so that there is something to buy; or tries again.
    async fn do_without(&mut self) {
        match self.dice.random_range(0..3) {
            0 => self.leave().await,
            1 if !self.kept.is_empty() => {
                let payment = self.kept.remove(0);
                self.refund(&payment).await;
            }
            _ => {}
        }
    }

    /// Joins, polls, and joins anew when the place has ended, until inside with what opens something.
    async fn enter(&mut self) {
        let name = self.user.id().to_owned();
        let entering = async {
            let mut place: Option<String> = None;
            loop {
                let (world, user, token) = (self.world, &self.user, place.clone());
                let ask = || match &token {
                    Some(token) => world.get(Side::Queue, &user.me("")).bearer(token),
                    None => user.call(Side::Queue, "POST", "/v1/queues/main/tokens"),
                };
                let (answer, unanswered) = answered(ask).await;
                self.unanswered += unanswered;
                match (answer.status, answer["status"].as_str()) {
                    (200 | 201, Some("active")) if self.is_let_in(&answer) => return,
                    // The payment is made and the queue has not heard of it.
                    (200 | 201, Some("active")) => place = None,
                    (200 | 201, Some("waiting")) => {
                        assert!(answer.int("position") >= 1, "{answer:?}");
                        place = Some(answer.text("queue_token"));
                    }
                    other => panic!("{name} in line is told {other:?}: {answer:?}"),
                }
                pause(POLL_EVERY_MS).await;
            }
        };
        tokio::time::timeout(PATIENCE, entering).await.unwrap_or_else(|_| panic!("{name} was never let in"));
    }

    /// Writes down the admission; whether it opens anything.
    fn is_let_in(&mut self, answer: &Answer) -> bool {
        let token = answer.text("entry_token");
        let claims = read_claims(&token);
        assert_eq!(claims.sub, self.user.id(), "{answer:?}");
        if let Some(known) = self.admissions.iter().find(|known| known.jti == claims.jti) {
            assert_eq!((known.iat, known.exp), (claims.iat, claims.exp), "{known:?}: {answer:?}");
            return !known.is_over;
        }
        let admitted_ms = answer.time("admitted_at").timestamp_millis();
        self.admissions.push(Admission {
            jti: claims.jti,
            admitted_ms,
            iat: claims.iat,
            exp: claims.exp,
            until_ms: claims.exp * 1000,
            queue_token: answer.text("queue_token"),
            paid_ms: None,
            is_over: false,
        });
        self.entry_token = token;
        true
    }

    fn choose(&mut self) -> Vec<i64> {
        let among = if self.dice.random_bool(0.5) { HOT_SEATS } else { SEATS - 1 };
        let mut seats: Vec<_> =
            (0..self.dice.random_range(1..=3)).map(|_| self.dice.random_range(1..=among)).collect();
        seats.sort_unstable();
        seats.dedup();
        seats
    }

    /// None when somebody has one of the seats.
    async fn hold(&mut self, seats: &[i64]) -> Option<Answer> {
        let body = json!({ "schedule_id": self.date.id, "seat_numbers": seats });
        let key = new_key();
        self.is_hold_its_own = true;
        loop {
            let token = self.entry_token.clone();
            let answer = self.ask("/v1/reservations", &token, &key, &body).await;
            match answer.outcome().as_str() {
                "201" => {
                    self.reservations.insert(answer.text("reservation_id"), "expired");
                    return Some(answer);
                }
                "409 seat_taken" => return None,
                // Let in anew it may ask with the same key.
                "401 entry_token_completed" | "401 entry_token_expired" => {
                    self.end_admissions(i64::MAX);
                    self.is_hold_its_own = false;
                    self.enter().await;
                }
                _ => panic!("{answer:?}"),
            }
        }
    }

    async fn pay(&mut self, hold: &Answer) -> Option<Answer> {
        let reservation = hold.text("reservation_id");
        let sent_ms = self.now_ms();
        let paid = self.post("/v1/payments", &json!({ "reservation_id": reservation })).await;
        if paid.outcome() == "410 hold_expired" {
            return None;
        }
        let paid = paid.ok(201);
        let paid_ms = self.is_hold_its_own.then(|| self.now_ms());
        self.admissions.last_mut().unwrap().paid_ms = paid_ms;
        self.end_admissions(sent_ms);
        self.reservations.insert(reservation, "confirmed");
        Some(paid)
    }

    async fn refund(&mut self, payment: &Answer) {
        let path = format!("/v1/payments/{}/refund", payment.text("payment_id"));
        let refund = self.post(&path, &json!({})).await.ok(201);
        assert_eq!(refund["amount"], payment["amount"], "{refund:?}");
        self.reservations.insert(payment.text("reservation_id"), "refunded");
    }

    async fn release(&mut self, hold: &Answer) {
        let reservation = hold.text("reservation_id");
        let path = format!("/v1/reservations/{reservation}");
        let (released, unanswered) = answered(|| self.user.booking("DELETE", &path)).await;
        self.unanswered += unanswered;
        match released.outcome().as_str() {
            // The second: the answer to the first was lost.
            "204" | "409 not_held" => drop(self.reservations.insert(reservation, "cancelled")),
            "410 hold_expired" => {}
            _ => panic!("{released:?}"),
        }
    }

    async fn leave(&mut self) {
        let sent_ms = self.now_ms();
        let (left, unanswered) = answered(|| self.user.call(Side::Queue, "DELETE", &self.user.me(""))).await;
        self.unanswered += unanswered;
        left.ok(204);
        self.end_admissions(sent_ms);
    }

    fn end_admissions(&mut self, at_ms: i64) {
        for admission in self.admissions.iter_mut().filter(|admission| !admission.is_over) {
            admission.is_over = true;
            admission.until_ms = admission.until_ms.min(at_ms);
        }
    }

    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        let token = self.user.token().to_owned();
        self.ask(path, &token, &new_key(), body).await
    }

    async fn ask(&mut self, path: &str, token: &str, key: &str, body: &Value) -> Answer {
        let call = || self.world.call(Side::Booking, "POST", path).bearer(token).key(key).json(body);
        let (answer, unanswered) = answered(call).await;
        self.unanswered += unanswered;
        if answer.status == 201 {
            let (path, key, body, answer) = (path.to_owned(), key.to_owned(), body.clone(), answer.clone());
            self.deeds.push(Deed { path, key, body, answer, was_in_doubt: unanswered > 0 });
        }
        answer
    }

    fn now_ms(&self) -> i64 {
        self.world.clock().now().timestamp_millis()
    }
}

/// The answer, and how often there was none before it.
async fn answered<'w>(ask: impl Fn() -> Call<'w>) -> (Answer, usize) {
    let mut unanswered = 0;
    let answer = within(PATIENCE, "there is an answer", async || match ask().attempt().await {
        Ok(answer) if answer.status != 503 && answer.code() != Some("idempotency_in_flight") => Ok(answer),
        none => {
            unanswered += 1;
            pause(ASK_AGAIN_MS).await;
            Err(format!("{none:?}"))
        }
    })
    .await;
    (answer, unanswered)
}

fn new_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

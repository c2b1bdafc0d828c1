//! A person: one user token, and in hand the latest queue token and entry token.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::tokens::entry::EntryClaims;

use crate::answer::Answer;
use crate::call::{Call, Side};
use crate::events::Events;
use crate::patience::eventually;
use crate::places::{Concert, Date};
use crate::world::World;

/// A row of the booking API that may need an entry token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    Concerts,
    Dates,
    Seats,
    Reserve,
    Pay,
}

impl Row {
    /// As in `GATED`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Concerts => "concerts",
            Self::Dates => "dates",
            Self::Seats => "seats",
            Self::Reserve => "reserve",
            Self::Pay => "pay",
        }
    }
}

/// One person in front of one queue.
pub struct User<'w> {
    world: &'w World,
    id: String,
    token: String,
    queue: String,
    hand: Mutex<Hand>,
}

#[derive(Default)]
struct Hand {
    queue_token: Option<String>,
    entry_token: Option<String>,
    position: Option<i64>,
}

impl<'w> User<'w> {
    pub(crate) fn new(world: &'w World, id: &str, queue: &str) -> Self {
        Self::with_token(world, id, queue, world.user_token(id))
    }

    fn with_token(world: &'w World, id: &str, queue: &str, token: String) -> Self {
        Self { world, id: id.to_owned(), token, queue: queue.to_owned(), hand: Mutex::default() }
    }

    /// The same person in front of another queue, with empty hands.
    pub fn at(&self, queue: &str) -> Self {
        Self::with_token(self.world, &self.id, queue, self.token.clone())
    }

    /// The same person with another user token, and empty hands.
    pub fn with(&self, token: String) -> Self {
        Self::with_token(self.world, &self.id, &self.queue, token)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The user token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The latest queue token.
    pub fn queue_token(&self) -> String {
        self.hand().queue_token.clone().expect("this person has joined")
    }

    /// The latest entry token.
    pub fn entry_token(&self) -> String {
        self.hand().entry_token.clone().expect("this person was let in")
    }

    /// What the latest entry token says.
    pub fn claims(&self) -> EntryClaims {
        read_claims(&self.entry_token())
    }

    /// Takes an entry token in hand that did not come from the queue service.
    pub fn take(&self, entry_token: String) {
        self.hand().entry_token = Some(entry_token);
    }

    /// A call with the user token.
    pub fn call(&self, side: Side, method: &str, path: &str) -> Call<'w> {
        self.world.call(side, method, path).bearer(&self.token)
    }

    /// A call with what `row` needs in this world: the entry token where the row is gated and one
    /// is at hand, else the user token.
    pub fn row(&self, row: Row, method: &str, path: &str) -> Call<'w> {
        let entry = self.hand().entry_token.clone().filter(|_| self.world.is_gated(row));
        self.world.call(Side::Booking, method, path).bearer(entry.as_ref().unwrap_or(&self.token))
    }

    pub async fn join(&self) -> Answer {
        let answer = self.call(Side::Queue, "POST", &format!("/v1/queues/{}/tokens", self.queue)).await;
        if answer.status == 201 {
            *self.hand() = Hand::default();
        }
        self.look_at(answer)
    }

    /// Polls with the queue token.
    pub async fn poll(&self) -> Answer {
        self.poll_with(&self.queue_token()).await
    }

    /// Polls with the user token.
    pub async fn poll_as_user(&self) -> Answer {
        self.poll_with(&self.token).await
    }

    async fn poll_with(&self, token: &str) -> Answer {
        self.look_at(self.world.get(Side::Queue, &self.me("")).bearer(token).await)
    }

    /// Leaves, with the queue token.
    pub async fn leave(&self) -> Answer {
        self.world.call(Side::Queue, "DELETE", &self.me("")).bearer(&self.queue_token()).await
    }

    /// Listens, with the queue token.
    pub async fn listen(&self) -> Events {
        let call = self.world.get(Side::Queue, &self.me("/events")).bearer(&self.queue_token());
        Events::of(call.stream().await)
    }

    /// `/v1/queues/{queue}/tokens/me` and `tail`.
    pub fn me(&self, tail: &str) -> String {
        format!("/v1/queues/{}/tokens/me{tail}", self.queue)
    }

    /// Joins and polls until let in.
    pub async fn enter(&self) -> Answer {
        let joined = self.join().await;
        assert!(matches!(joined.status, 200 | 201), "{joined:?}");
        if joined["status"] == "active" { joined } else { self.until_active().await }
    }

    /// Polls until let in.
    pub async fn until_active(&self) -> Answer {
        let id = &self.id;
        eventually(&format!("{id} is let in"), async || {
            let answer = self.poll().await.ok(200);
            if answer["status"] == "active" { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
    }

    /// Keeps what a status hands out; no position may rise, be 0 or negative.
    #[track_caller]
    fn look_at(&self, answer: Answer) -> Answer {
        if answer.status != 200 && answer.status != 201 {
            return answer;
        }
        let mut hand = self.hand();
        hand.queue_token = Some(answer.text("queue_token"));
        if let Some(entry_token) = answer["entry_token"].as_str() {
            hand.entry_token = Some(entry_token.to_owned());
        }
        if let Some(position) = answer["position"].as_i64() {
            let before = hand.position.replace(position).unwrap_or(i64::MAX);
            assert!(position >= 1 && position <= before, "position {position} after {before}: {answer:?}");
        }
        drop(hand);
        answer
    }

    pub async fn dates(&self, concert: &Concert) -> Answer {
        self.dates_where(concert, "").await
    }

    /// `query` with its question mark.
    pub async fn dates_where(&self, concert: &Concert, query: &str) -> Answer {
        self.row(Row::Dates, "GET", &format!("/v1/concerts/{}/schedules{query}", concert.id)).await
    }

    pub async fn seats(&self, date: &Date) -> Answer {
        self.row(Row::Seats, "GET", &format!("/v1/schedules/{}/seats", date.id)).await
    }

    pub async fn reserve(&self, date: &Date, numbers: &[i64]) -> Answer {
        self.reserve_json(&json!({ "schedule_id": date.id, "seat_numbers": numbers })).await
    }

    pub async fn reserve_json(&self, body: &Value) -> Answer {
        self.row(Row::Reserve, "POST", "/v1/reservations").json(body).await
    }

    /// All own reservations of that status; all when it is empty.
    pub async fn reservations(&self, status: &str) -> Vec<Value> {
        let query = if status.is_empty() { String::new() } else { format!("&status={status}") };
        self.all(&format!("/v1/reservations?limit=200{query}")).await
    }

    pub async fn reservation(&self, hold: &Answer) -> Answer {
        self.booking("GET", &format!("/v1/reservations/{}", hold.text("reservation_id"))).await
    }

    pub async fn cancel(&self, hold: &Answer) -> Answer {
        self.booking("DELETE", &format!("/v1/reservations/{}", hold.text("reservation_id"))).await
    }

    pub async fn extend(&self, hold: &Answer) -> Answer {
        self.booking("POST", &format!("/v1/reservations/{}/extend", hold.text("reservation_id"))).await
    }

    pub async fn pay(&self, hold: &Answer) -> Answer {
        self.pay_call(&hold.text("reservation_id")).await
    }

    /// A payment to which a test may add.
    pub fn pay_call(&self, reservation: &str) -> Call<'w> {
        let body = json!({ "reservation_id": reservation });
        self.row(Row::Pay, "POST", "/v1/payments").json(&body)
    }

    pub async fn receipt(&self, payment: &Answer) -> Answer {
        self.booking("GET", &format!("/v1/payments/{}", payment.text("payment_id"))).await
    }

    pub async fn refund(&self, payment: &Answer) -> Answer {
        self.booking("POST", &format!("/v1/payments/{}/refund", payment.text("payment_id"))).await
    }

    /// Of these seats; a refund to which a test may add.
    pub fn refund_seats(&self, payment: &Answer, numbers: &[i64]) -> Call<'w> {
        let path = format!("/v1/payments/{}/refund", payment.text("payment_id"));
        self.booking("POST", &path).json(&json!({ "seat_numbers": numbers }))
    }

    pub async fn balance(&self) -> i64 {
        self.booking("GET", "/v1/points").await.ok(200).int("balance")
    }

    /// With a key of its own.
    pub async fn charge(&self, amount: i64) -> Answer {
        self.points_call("charges", &json!({ "amount": amount })).key(&new_key()).await
    }

    /// With a key of its own.
    pub async fn use_points(&self, amount: i64) -> Answer {
        let body = json!({ "amount": amount, "memo": "a programme" });
        self.points_call("uses", &body).key(&new_key()).await
    }

    /// `charges` or `uses`, without a key.
    pub fn points_call(&self, what: &str, body: &Value) -> Call<'w> {
        self.booking("POST", &format!("/v1/points/{what}")).json(body)
    }

    /// The whole ledger, newest first.
    pub async fn history(&self) -> Vec<Value> {
        self.all("/v1/points/history?limit=200").await
    }

    /// A call to the booking service with the user token.
    pub fn booking(&self, method: &str, path: &str) -> Call<'w> {
        self.call(Side::Booking, method, path)
    }

    /// All pages of a list.
    async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.booking("GET", &format!("{path}{cursor}")).await.ok(200);
            items.extend_from_slice(page.list("items"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    fn hand(&self) -> std::sync::MutexGuard<'_, Hand> {
        self.hand.lock().expect("nobody panicked here")
    }
}

/// The claims of a token, unverified.
pub fn read_claims(token: &str) -> EntryClaims {
    let part = token.split('.').nth(1).expect("a JWT has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("a JWT's parts are base64url");
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{token}: {error}"))
}

fn new_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

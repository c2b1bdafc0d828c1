//! The booking service, open to everybody with a user token, and what one does there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use booking_service::{Addresses, Config};
use chrono::TimeDelta;
use clap::Parser as _;
use reqwest::Method;
use serde_json::{Value, json};
use shared::clock::{Clock, rfc3339};
use shared::lifecycle::Lifecycle;
use shared::tokens::keys::SigningKey;

use super::{Database, FakeQueue, SERVICE_TOKEN};

const ADMIN_TOKEN: &str = "test-admin-secret";
const LANES: &str = "8";
pub const PRICE: i64 = 100;

/// See the module.
pub struct Shop {
    pub queue: FakeQueue,
    pub clock: Clock,
    pub database: Database,
    http: reqwest::Client,
    public: SocketAddr,
    ops: SocketAddr,
    key: SigningKey,
    identity: PathBuf,
    lifecycle: Lifecycle,
}

impl Shop {
    /// Opens one where nothing is sold yet.
    pub async fn open() -> Self {
        let (database, queue) = (Database::new().await, FakeQueue::start().await);
        Self::over(database, queue).await
    }

    /// Opens one over this database.
    pub async fn over(database: Database, queue: FakeQueue) -> Self {
        let clock = Clock::system();
        let identity = std::env::temp_dir().join(format!("booking-test-{}.pem", uuid::Uuid::new_v4()));
        std::fs::write(&identity, new_pem()).expect("a key can be written");
        let key = SigningKey::from_file(&identity).expect("the key can be read");
        let (addresses, lifecycle) = start(&database, &queue, &clock, &identity).await;
        let http = reqwest::Client::new();
        let (public, ops) = (addresses.public, addresses.ops);
        Self { queue, clock, database, http, public, ops, key, identity, lifecycle }
    }

    /// Another replica; it ends with its lifecycle.
    pub async fn another(&self) -> Lifecycle {
        start(&self.database, &self.queue, &self.clock, &self.identity).await.1
    }

    /// Ends this replica, with whatever it has in hand.
    pub async fn stop(&self) {
        self.lifecycle.drain(Duration::ZERO).await;
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        let answer = self.http.get(format!("http://{}/metrics", self.ops)).send().await;
        answer.expect("the service answers").text().await.expect("the answer ends")
    }

    /// Leaves nothing behind.
    pub async fn close(self) {
        self.lifecycle.drain(Duration::from_secs(2)).await;
        self.queue.stop().await;
        std::fs::remove_file(&self.identity).expect("the key can be removed");
        self.database.remove().await;
    }

    /// A concert in that queue.
    pub async fn concert(&self, queue: &str) -> String {
        let body = json!({ "title": "Test", "queue": queue });
        self.admin("/admin/v1/concerts", &body).await["concert_id"].as_str().expect("an id").to_owned()
    }

    /// A date in thirty days, on sale until a day before, with seats 1 to `seats` (0 = none made), and
    /// perhaps a queue of its own.
    pub async fn date(&self, concert: &str, seats: u32, queue: Option<&str>) -> String {
        let at = |days| rfc3339(self.clock.now() + TimeDelta::days(days));
        let mut body = json!({
            "starts_at": at(30), "sales_open_at": at(-1), "sales_close_at": at(29), "queue": queue,
        });
        if seats > 0 {
            body["seats"] = json!({ "count": seats, "price": PRICE });
        }
        let date = self.admin(&format!("/admin/v1/concerts/{concert}/schedules"), &body).await;
        date["schedule_id"].as_str().expect("an id").to_owned()
    }

    async fn admin(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("http://{}{path}", self.ops)).bearer_auth(ADMIN_TOKEN);
        let (status, answer) = answer(request.json(body)).await;
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    /// A call of the public listener; its status and body.
    pub async fn call(&self, user: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_with(user, method, path, body, &uuid::Uuid::new_v4().to_string()).await
    }

    /// The same with a key that is known.
    pub async fn call_with(
        &self,
        user: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: &str,
    ) -> (u16, Value) {
        let exp = (self.clock.now() + TimeDelta::hours(1)).timestamp();
        let token = self.key.sign("JWT", &json!({ "sub": user, "exp": exp })).expect("a token is signed");
        let request = self.http.request(method, format!("http://{}{path}", self.public)).bearer_auth(token);
        let request = request.header("idempotency-key", key);
        answer(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// A call that is answered with that status; its body. `null`: without one.
    pub async fn expect(&self, status: u16, user: &str, method: Method, path: &str, body: Value) -> Value {
        let (answered, answer) =
            self.call(user, method, path, Some(body).filter(|body| !body.is_null())).await;
        assert_eq!(answered, status, "{path}: {answer}");
        answer
    }

    /// The list of concerts.
    pub fn concerts(&self) -> String {
        format!("http://{}/v1/concerts", self.public)
    }

    /// The status of a `GET`.
    pub async fn get(&self, path: &str) -> u16 {
        self.call("somebody", Method::GET, path, None).await.0
    }

    async fn post(&self, user: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(user, Method::POST, path, Some(body)).await;
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    /// Holds seats; the reservation.
    pub async fn hold(&self, user: &str, date: &str, seats: &[i32]) -> String {
        let body = json!({ "schedule_id": date, "seat_numbers": seats });
        let held = self.post(user, "/v1/reservations", body).await;
        held["reservation_id"].as_str().expect("an id").to_owned()
    }

    /// Lets a hold go.
    pub async fn release(&self, user: &str, reservation: &str) {
        let path = format!("/v1/reservations/{reservation}");
        assert_eq!(self.call(user, Method::DELETE, &path, None).await.0, 204);
    }

    /// Pays a hold with new points; the payment.
    pub async fn pay(&self, user: &str, reservation: &str) -> String {
        self.post(user, "/v1/points/charges", json!({ "amount": 100 * PRICE })).await;
        let paid = self.post(user, "/v1/payments", json!({ "reservation_id": reservation })).await;
        paid["payment_id"].as_str().expect("an id").to_owned()
    }

    /// Gives tickets back.
    pub async fn refund(&self, user: &str, payment: &str) {
        self.post(user, &format!("/v1/payments/{payment}/refund"), json!({})).await;
    }
}

async fn start(
    database: &Database,
    queue: &FakeQueue,
    clock: &Clock,
    identity: &Path,
) -> (Addresses, Lifecycle) {
    let flags = [
        ("--booking-addr", "127.0.0.1:0"),
        ("--booking-ops-addr", "127.0.0.1:0"),
        ("--database-url", &database.url),
        ("--database-max-connections", LANES),
        ("--entry-jwks-url", "http://127.0.0.1:1/jwks.json"),
        ("--queue-ops-url", &queue.url()),
        ("--queue-public-url", &queue.url()),
        ("--dev-identity-key", &identity.display().to_string()),
        ("--gated", ""),
        ("--hold-extension-seconds", "120"),
        ("--admin-token", ADMIN_TOKEN),
        ("--service-token", SERVICE_TOKEN),
    ]
    .map(|(flag, value)| format!("{flag}={value}"));
    let config = Config::try_parse_from(["booking-service".to_owned()].into_iter().chain(flags));
    let lifecycle = Lifecycle::new();
    let started = booking_service::start(config.expect("the flags can be read"), clock.clone(), &lifecycle);
    (started.await.expect("the service starts"), lifecycle)
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("the service answers");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("the answer ends");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn new_pem() -> String {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key can be made");
    let body = STANDARD.encode(document.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

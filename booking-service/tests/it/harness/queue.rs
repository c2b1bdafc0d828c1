//! The queue service's ops listener, as far as it listens to reports; it remembers all of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use clap::Args as _;
use serde_json::{Value, json};
use shared::lifecycle::Lifecycle;
use shared::serve::{self, ServeConfig};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::completions::Completions;
use super::within;

/// Opens the listener.
pub const SERVICE_TOKEN: &str = "test-service-secret";

/// See the module.
pub struct FakeQueue {
    address: SocketAddr,
    heard: Heard,
    /// What it hears of those who are done.
    pub completions: Completions,
    lifecycle: Lifecycle,
}

#[derive(Clone, Default)]
struct Heard {
    stock: Arc<Mutex<Vec<Value>>>,
    pressure: Arc<Mutex<Vec<Value>>>,
}

fn locked(reports: &Mutex<Vec<Value>>) -> MutexGuard<'_, Vec<Value>> {
    reports.lock().expect("nobody panicked here")
}

impl FakeQueue {
    /// Listens at any free port.
    pub async fn start() -> Self {
        Self::listen("127.0.0.1:0", Completions::default()).await
    }

    async fn listen(address: &str, completions: Completions) -> Self {
        let (heard, lifecycle) = (Heard::default(), Lifecycle::new());
        let bound = serve::bind(address).await.expect("the address is free");
        let address = bound.address();
        let router = Router::new().route("/internal/v1/{about}", post(hear)).with_state(heard.clone());
        let router = router.merge(completions.router());
        let matches = ServeConfig::augment_args(clap::Command::new("fake")).get_matches_from(["fake"]);
        let config = <ServeConfig as clap::FromArgMatches>::from_arg_matches(&matches).expect("defaults");
        bound.serve("fake queue", router, &config, &lifecycle);
        Self { address, heard, completions, lifecycle }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Goes away, with every connection.
    pub async fn stop(&self) {
        self.lifecycle.drain(Duration::ZERO).await;
    }

    /// While it is away, hangs up on whoever calls, until somebody has tried that `path`.
    pub async fn missed(&self, path: &str) {
        let listener = TcpListener::bind(self.address).await.expect("the address is free");
        let wanted = format!("POST {path} ");
        let mut begun = vec![0; wanted.len()];
        loop {
            let (mut caller, _) = listener.accept().await.expect("somebody calls");
            if caller.read_exact(&mut begun).await.is_ok() && begun == wanted.as_bytes() {
                return;
            }
        }
    }

    /// Comes back where it was, and remembers no reports.
    pub async fn start_again(&mut self) {
        *self = Self::listen(&self.address.to_string(), self.completions.clone()).await;
    }

    /// All reports of stock so far, in the order of their arrival.
    pub fn stock(&self) -> Vec<Value> {
        locked(&self.heard.stock).clone()
    }

    /// The latest report of pressure.
    pub fn pressure(&self) -> Option<Value> {
        locked(&self.heard.pressure).last().cloned()
    }

    /// What is known of a queue: `[remaining, held, sold_out]` of the latest count.
    pub fn left(&self, queue: &str) -> Option<Value> {
        let reports = self.stock();
        let of = |report: &Value| {
            let item = report["items"].as_array()?.iter().find(|item| item["queue"] == queue)?;
            Some((report["as_of"].to_string(), json!([item["remaining"], item["held"], item["sold_out"]])))
        };
        reports.iter().filter_map(of).max_by(|a, b| a.0.cmp(&b.0)).map(|(_, left)| left)
    }

    /// Waits until that is known of a queue: sooner than by the round that tells everything.
    pub async fn hears(&self, queue: &str, left: Value) {
        within(Duration::from_secs(6), &format!("{queue} has {left} left"), || match self.left(queue) {
            Some(known) if known == left => Ok(()),
            known => Err(format!("{known:?}")),
        })
        .await;
    }

    /// Waits for a report of pressure with that in it.
    pub async fn feels(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        within(Duration::from_secs(10), what, || match self.pressure() {
            Some(report) if is_so(&report) => Ok(report),
            report => Err(format!("{report:?}")),
        })
        .await
    }
}

/// Takes a report of who may report.
async fn hear(
    State(heard): State<Heard>,
    Path(about): Path<String>,
    headers: HeaderMap,
    Json(report): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let expected = format!("Bearer {SERVICE_TOKEN}");
    if headers.get(header::AUTHORIZATION).is_none_or(|given| given != expected.as_str()) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let reports = match about.as_str() {
        "stock" => &heard.stock,
        "pressure" => &heard.pressure,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let taken = report["items"].as_array().map_or(1, Vec::len);
    locked(reports).push(report);
    Ok(Json(json!({ "taken": taken })))
}

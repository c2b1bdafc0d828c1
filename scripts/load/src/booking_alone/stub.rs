//! A stand-in for the ops listener of the queue service: it hears completions and takes back nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What it has heard. It ends with this value.
pub struct Stub {
    pub address: SocketAddr,
    heard: Arc<Mutex<HashSet<String>>>,
    _serving: JoinSet<()>,
}

#[derive(serde::Deserialize)]
struct Completions {
    jtis: Vec<String>,
}

type Heard = Arc<Mutex<HashSet<String>>>;

impl Stub {
    pub async fn open() -> anyhow::Result<Self> {
        let heard = Heard::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/internal/v1/queues/{queue}/completions", post(hear))
            .route("/internal/v1/revocations", get(revocations))
            .fallback(|| std::future::ready(Json(json!({}))))
            .with_state(heard.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(Self { address, heard, _serving: serving })
    }

    /// How many completions were told, each counted once.
    pub fn completions(&self) -> u64 {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

async fn hear(State(heard): State<Heard>, Json(told): Json<Completions>) -> Json<Value> {
    let released = told.jtis.len();
    heard.lock().unwrap_or_else(PoisonError::into_inner).extend(told.jtis);
    Json(json!({ "released": released }))
}

async fn revocations() -> Json<Value> {
    Json(json!({ "items": [], "next_cursor": null }))
}

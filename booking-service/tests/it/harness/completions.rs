//! Completions as the stub of the queue service takes them: each queue in a manner of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// How a queue takes a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Hears,
    /// 422 when a `jti` that begins with `bad` is among them.
    IsPicky,
    /// That status to whatever is said.
    Answers(u16),
    /// 200, and something else than the contract has.
    Babbles,
    /// Never answers.
    Hangs,
}

/// One call.
#[derive(Clone)]
pub struct Call {
    pub queue: String,
    pub jtis: Vec<String>,
    pub headers: HeaderMap,
    pub heard: bool,
}

/// All calls so far, and the manners; clones are the same.
#[derive(Clone, Default)]
pub struct Completions {
    calls: Arc<Mutex<Vec<Call>>>,
    manners: Arc<Mutex<HashMap<String, Manner>>>,
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().expect("nobody panicked here")
}

impl Completions {
    /// From now on the queue is like that.
    pub fn behave(&self, queue: &str, manner: Manner) {
        locked(&self.manners).insert(queue.to_owned(), manner);
    }

    /// All calls about a queue, in the order of their arrival.
    pub fn calls(&self, queue: &str) -> Vec<Call> {
        locked(&self.calls).iter().filter(|call| call.queue == queue).cloned().collect()
    }

    /// What a queue has heard, in the order of its telling.
    pub fn heard(&self, queue: &str) -> Vec<String> {
        self.calls(queue).into_iter().filter(|call| call.heard).flat_map(|call| call.jtis).collect()
    }

    pub(super) fn router(&self) -> Router {
        Router::new().route("/internal/v1/queues/{queue}/completions", post(hear)).with_state(self.clone())
    }
}

async fn hear(
    State(completions): State<Completions>,
    Path(queue): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let manner = locked(&completions.manners).get(&queue).copied().unwrap_or(Manner::Hears);
    let jtis: Vec<String> = serde_json::from_value(body["jtis"].clone()).expect("a list of jtis");
    let status = match manner {
        Manner::IsPicky if jtis.iter().any(|jti| jti.starts_with("bad")) => 422,
        Manner::Answers(status) => status,
        _ => 200,
    };
    let heard = status == 200 && !matches!(manner, Manner::Hangs | Manner::Babbles);
    let answer = match manner {
        Manner::Babbles => json!("<html>please log in</html>"),
        _ if status != 200 => json!({ "status": status }),
        _ => json!({ "released": jtis.len() }),
    };
    locked(&completions.calls).push(Call { queue, jtis, headers, heard });
    if manner == Manner::Hangs {
        std::future::pending::<()>().await;
    }
    (StatusCode::from_u16(status).expect("a status"), Json(answer))
}

//! `/livez`, `/readyz`, `/metrics` of the ops listener.
//!
//! Live means that the process answers. Ready means that its dependencies answer and that it is
//! not stopping; the checks are run at each question, side by side, each with its own time limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::problem::{Problem, codes};
use crate::telemetry;

type Outcome = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Check = Box<dyn Fn() -> Outcome + Send + Sync>;

const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// The named checks of one process.
#[derive(Clone)]
pub struct Readiness {
    checks: Arc<Vec<(&'static str, Check)>>,
    stopping: CancellationToken,
}

impl Readiness {
    /// Without checks; not ready once `stopping` is cancelled.
    pub fn new(stopping: CancellationToken) -> Self {
        Self { checks: Arc::default(), stopping }
    }

    /// Adds a check. Call before the readiness is shared.
    pub fn with<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        if let Some(checks) = Arc::get_mut(&mut self.checks) {
            checks.push((name, Box::new(move || Box::pin(check()))));
        }
        self
    }

    /// The names of the checks that fail, each with its reason.
    async fn failing(&self) -> Vec<(&'static str, String)> {
        if self.stopping.is_cancelled() {
            return vec![("lifecycle", "the process is stopping".to_owned())];
        }
        let running = self.checks.iter().map(|(name, check)| async move {
            let outcome = tokio::time::timeout(CHECK_LIMIT, check()).await;
            let reason = outcome.unwrap_or_else(|_| Err("no answer in time".to_owned())).err()?;
            Some((*name, reason))
        });
        futures_util::future::join_all(running).await.into_iter().flatten().collect()
    }
}

/// The three routes.
pub fn router(readiness: Readiness) -> axum::Router {
    axum::Router::new()
        .route("/livez", get(|| async { Json(json!({ "status": "live" })) }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(|| async { telemetry::render_metrics() }))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let failing = readiness.failing().await;
    if failing.is_empty() {
        return (StatusCode::OK, Json(json!({ "status": "ready" }))).into_response();
    }
    let names: Vec<_> = failing.iter().map(|(name, _)| *name).collect();
    let reasons: Vec<_> = failing.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    Problem::new(&codes::UNAVAILABLE, format!("Not ready: {}.", names.join(", ")))
        .with("failing", json!(names))
        .because(reasons.join("; "))
        .into_response()
}

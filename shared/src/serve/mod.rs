//! Listeners and what stands around every request.
//!
//! ```text
//!  accept ─ connection cap ─ header time-out ─┐
//!                                             ▼
//!   at hand? ─ yes ─▶ answered at once
//!      └ no ─▶ request id ─ panic ─ rate limit ─ overload ─ time-out ─ body limit ─ routes
//! ```
//!
//! Every refusal of every layer is a problem. The public listener is for clients; the ops
//! listener (`/livez`, `/readyz`, `/metrics`, `/admin`, `/internal`) is for operators and for the
//! other service and must not be reachable from outside.

mod at_once;
mod idle;
mod layers;
mod leftover;
mod listener;
mod load;
mod quiet;
mod tally;
mod unsent;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

pub use at_once::{AtOnce, Told};
pub use layers::Peer;
pub use listener::{Bound, bind};

use crate::limits::Limits;
use load::Load;
use quiet::Quiet;
use tally::Tally;

/// Settings of both listeners.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ServeConfig {
    /// Seconds after which a request is answered 503 `timeout`.
    #[arg(long, env = "REQUEST_TIMEOUT_SECONDS", default_value_t = 10)]
    pub request_timeout_seconds: u64,
    /// Connections a listener holds at once; one more is answered 503 `overloaded`.
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 20_000)]
    pub max_connections: usize,
    /// Requests a listener works on at once; one more is answered 503 `overloaded`.
    #[arg(long, env = "MAX_REQUESTS", default_value_t = 8_192)]
    pub max_requests: usize,
}

const PATIENCE: Duration = Duration::from_secs(3600);
const PUBLIC_BODY_LIMIT: usize = 64 * 1024;
const OPS_BODY_LIMIT: usize = 1024 * 1024;

/// Hears how long each request took, and whether it was answered 5xx. Who gave up has waited so long, too.
pub trait Watch: Send + Sync + 'static {
    /// `route`: as the router has it.
    fn note(&self, route: &str, took: Duration, failed: bool);
}

/// What a public listener has besides its routes.
pub struct Public {
    pub limits: Arc<Limits>,
    pub at_once: Option<Arc<dyn AtOnce>>,
    pub watch: Option<Arc<dyn Watch>>,
}

/// What a listener answers with. Clones are the same.
#[derive(Clone)]
pub struct Answers {
    routes: Router,
    stack: Option<Arc<Stack>>,
}

/// Nothing stands around these.
impl From<Router> for Answers {
    fn from(routes: Router) -> Self {
        Self { routes, stack: None }
    }
}

/// What differs between listeners.
struct Stack {
    tally: Tally,
    body_limit: usize,
    timeout: Duration,
    /// Routes whose work may take an hour.
    patient: &'static [&'static str],
    load: Load,
    limits: Option<Arc<Limits>>,
    at_once: Option<Arc<dyn AtOnce>>,
    watch: Option<Arc<dyn Watch>>,
    /// What this listener has logged.
    quiet: Quiet,
}

/// The layer stack of the public listener around `routes`.
pub fn public(routes: Router, config: &ServeConfig, public: Public) -> Answers {
    let Public { limits, at_once, watch } = public;
    let stack = Stack::new("public", PUBLIC_BODY_LIMIT, config);
    Answers::new(routes, Stack { limits: Some(limits), at_once, watch, ..stack })
}

/// The layer stack of the ops listener around `routes`; those named in `patient` have an hour.
pub fn ops(routes: Router, config: &ServeConfig, patient: &'static [&'static str]) -> Answers {
    Answers::new(routes, Stack { patient, ..Stack::new("ops", OPS_BODY_LIMIT, config) })
}

impl Answers {
    fn new(routes: Router, stack: Stack) -> Self {
        let stack = Arc::new(stack);
        Self { routes: layers::around(routes, stack.clone()), stack: Some(stack) }
    }
}

impl Stack {
    fn new(listener: &'static str, body_limit: usize, config: &ServeConfig) -> Self {
        Self {
            tally: Tally::new(listener),
            body_limit,
            timeout: Duration::from_secs(config.request_timeout_seconds),
            patient: &[],
            load: Load::new(config.max_requests),
            limits: None,
            at_once: None,
            watch: None,
            quiet: Quiet::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::ServeConfig;

    /// As they are when nobody sets them.
    pub(super) fn settings() -> ServeConfig {
        #[derive(clap::Parser)]
        struct Settings {
            #[command(flatten)]
            serve: ServeConfig,
        }
        Settings::parse_from(["test"]).serve
    }
}

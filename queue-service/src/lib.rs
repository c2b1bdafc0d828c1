//! The queue service: a line in front of a sale.
//!
//! ```text
//!   routes ─▶ http.rs of each feature ─▶ app (state) ─▶ rooms (one per queue and replica)
//!                    │ caller (who is it?)                │
//!                    ▼                                    ▼
//!       entry (tokens, revocations)   admission · pressure ─▶ line ─▶ queues (settings, state) · stock
//!                    └───────── keys · memory · redis · prelude/*.lua ─────────┘      audit: reads only
//! ```
//!
//! Redis holds the truth; a replica holds nothing that another could not take over. Every change
//! is one Lua script on one hash slot ([`keys`]), on the time of Redis. Each feature's `mod.rs`
//! has its picture, its invariants and who keeps them.

mod admission;
mod app;
mod audit;
mod caller;
mod config;
mod crowd;
mod entry;
mod keys;
mod line;
mod memory;
mod metrics;
mod pressure;
mod queues;
mod redis;
#[cfg(test)]
mod reference;
mod refusals;
mod rooms;
mod routes;
mod stock;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use shared::clock::Clock;
use shared::health::Readiness;
use shared::lifecycle::Lifecycle;
use shared::limits::Limits;
use shared::tokens::user::UserTokens;
use shared::{health, serve, telemetry, tokens};

pub use audit::{Audit, audit, audit_logs, draw};
pub use config::{Command, Config};
pub use crowd::line_up;

use crate::app::{App, Parts};
use crate::entry::keys::EntryKeys;

/// Where a started service listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub public: SocketAddr,
    pub ops: SocketAddr,
}

/// Checks the settings, reads the keys, binds both listeners and serves until `lifecycle` stops.
/// Redis may be away: the service is then live, not ready, and goes on when it returns.
pub async fn start(config: Config, clock: Clock, lifecycle: &Lifecycle) -> anyhow::Result<Addresses> {
    tokens::install_crypto();
    telemetry::install_metrics().map_err(|error| anyhow!(error))?;
    let app = build(&config, &clock, lifecycle).await?;
    let readiness = Readiness::new(lifecycle.soft().clone()).with("redis", {
        let (queues, redis) = (app.queues.clone(), app.redis.clone());
        move || {
            let (queues, redis) = (queues.clone(), redis.clone());
            async move {
                queues.reachable().await.map_err(|error| error.to_string())?;
                redis.serves().await.map_err(|error| error.to_string())
            }
        }
    });
    let (public_routes, ops_routes, _) = routes::all();
    let ops_routes = ops_routes.with_state(app.clone()).merge(health::router(readiness));
    let public = serve::bind(&config.queue_addr).await.map_err(|error| anyhow!("QUEUE_ADDR: {error}"))?;
    let ops =
        serve::bind(&config.queue_ops_addr).await.map_err(|error| anyhow!("QUEUE_OPS_ADDR: {error}"))?;
    let addresses = Addresses { public: public.address(), ops: ops.address() };
    app.entry_tokens.keys.introduce(&app.queue_tokens).await;
    spawn_loops(&app, lifecycle);
    let besides =
        serve::Public { limits: app.limits.clone(), at_once: Some(Arc::new(app.clone())), watch: None };
    let public_routes = serve::public(public_routes.with_state(app), &config.serve, besides);
    public.serve("public", public_routes, &config.serve, lifecycle);
    ops.serve("ops", serve::ops(ops_routes, &config.serve, &[]), &config.serve, lifecycle);
    tracing::info!(public = %addresses.public, ops = %addresses.ops, "queue-service serves");
    Ok(addresses)
}

/// Reads what the settings name and fits the parts together, without touching the network.
async fn build(config: &Config, clock: &Clock, lifecycle: &Lifecycle) -> anyhow::Result<App> {
    config.check().map_err(|error| anyhow!(error))?;
    let http = reqwest::Client::builder().build().context("the HTTP client cannot be made")?;
    let redis = redis::Redis::new(&config.redis_url, config.redis_lanes).map_err(|error| anyhow!(error))?;
    let redis = redis.distrusting_restarts(config.hold_after_redis_restart);
    let keyspace = keys::Keyspace::new(&config.redis_key_prefix);
    let queues = queues::Queues::new(redis.clone(), keyspace.clone(), clock.clone());
    let rooms = rooms::Rooms::new(queues.clone(), redis.clone(), clock.clone(), lifecycle.clone());
    let path = config.entry_signing_keys.as_deref().context("ENTRY_SIGNING_KEYS is not set")?;
    let registry = keyspace.entry_keys();
    let entry_keys = EntryKeys::load(path, config.rotation, redis.clone(), registry, clock.clone())
        .map_err(|error| anyhow!("ENTRY_SIGNING_KEYS: {error}"))?;
    let entry_tokens = entry::EntryTokens::new(entry_keys, config.entry_issuer.clone(), clock.clone());
    let path = config.queue_token_keys.as_deref().context("QUEUE_TOKEN_KEYS is not set")?;
    let queue_tokens = line::token::QueueTokens::load(path, config.rotation, clock.clone())
        .map_err(|error| anyhow!("QUEUE_TOKEN_KEYS: {error}"))?;
    let users = UserTokens::new(&config.users, http, clock.clone(), lifecycle)
        .await
        .map_err(|error| anyhow!(error))?;
    let users = users.reading_lanes(&config.user_lane_claim);
    Ok(App::from(Parts {
        queues,
        rooms,
        redis,
        entry_tokens,
        queue_tokens,
        users,
        limits: Arc::new(Limits::new(&config.limits)),
        secrets: config.secrets.clone(),
        clock: clock.clone(),
        lifecycle: lifecycle.clone(),
    }))
}

fn spawn_loops(app: &App, lifecycle: &Lifecycle) {
    lifecycle.spawn_loop("rooms", app.rooms.clone().listen());
    lifecycle.spawn_loop("metrics upkeep", telemetry::upkeep());
    if let Some(provider) = app.users.provider() {
        lifecycle.spawn_loop("identity keys", provider.clone().keep_fresh());
    }
    let keeper = app.clone();
    lifecycle.spawn_loop("entry keys", async move {
        keeper.entry_tokens.keys.keep_fresh(&keeper.queue_tokens).await;
    });
    let keeper = app.clone();
    lifecycle.spawn_loop("queue token keys", async move { keeper.queue_tokens.keep_fresh().await });
    let limits = app.limits.clone();
    lifecycle.spawn_loop("rate limits", async move {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            limits.forget_quiet();
        }
    });
}

/// Checks everything that `start` would refuse, without serving.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    tokens::install_crypto();
    build(config, &Clock::system(), &Lifecycle::new()).await.map(|_| ())
}

/// The OpenAPI document.
pub fn openapi() -> serde_json::Value {
    let (_, _, document) = routes::all();
    document.to_json()
}

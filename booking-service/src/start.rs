//! From settings to a service that listens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use shared::clock::Clock;
use shared::health::{self, Readiness};
use shared::lifecycle::Lifecycle;
use shared::{serve, telemetry, tokens};

use crate::admitted::followers;
use crate::app::App;
use crate::config::{Config, DatabaseConfig};
use crate::queue_service::QueueService;
use crate::{cancellations, db, holds, idempotency, metrics, outbox, reports, rounds, routes, seat_maps};

/// How long a start waits for Postgres.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// The first fetch of keys holds the start up at most this long; the service starts without them.
const KEYS_PATIENCE: Duration = Duration::from_secs(2);
/// Connections beside the pool, for what must not wait behind the sale.
const ASIDE: u32 = 2;
const FORGET_CLIENTS_EVERY: Duration = Duration::from_secs(60);

/// Where a started service listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub public: SocketAddr,
    pub ops: SocketAddr,
}

/// Starts the service: settings checked, database migrated, loops running, both listeners open.
/// Returns once they are; the service ends with `lifecycle`.
pub async fn start(config: Config, clock: Clock, lifecycle: &Lifecycle) -> anyhow::Result<Addresses> {
    config.check().map_err(anyhow::Error::msg)?;
    tokens::install_crypto();
    telemetry::install_metrics().map_err(anyhow::Error::msg)?;
    metrics::describe();
    let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(2)).build();
    let http = http.context("no HTTP client: are CA certificates installed?")?;
    let app = App::new(&config, clock, http.clone(), lifecycle).await.map_err(anyhow::Error::msg)?;
    let public = serve::bind(&config.booking_addr).await.map_err(anyhow::Error::msg)?;
    let ops = serve::bind(&config.booking_ops_addr).await.map_err(anyhow::Error::msg)?;
    prepare(&config.database, config.migrate).await?;
    if !app.db.is_migrated().await? {
        anyhow::bail!("the database lacks migrations of this version: run `booking-service migrate`");
    }
    followers::load(&app.db, &app.door.ended).await?;
    follow_keys(&app, lifecycle).await;
    run_loops(&app, &config, http, lifecycle)?;

    let addresses = Addresses { public: public.address(), ops: ops.address() };
    let (public_routes, ops_routes, _) = routes::all();
    let besides = serve::Public {
        limits: app.limits.clone(),
        at_once: Some(Arc::new(app.clone())),
        watch: Some(app.window.clone()),
    };
    let public_routes = serve::public(public_routes.with_state(app.clone()), &config.serve, besides);
    let ops_routes = health::router(readiness(&app, lifecycle)).merge(ops_routes.with_state(app));
    public.serve("public listener", public_routes, &config.serve, lifecycle);
    let ops_routes = serve::ops(ops_routes, &config.serve, routes::PATIENT);
    ops.serve("ops listener", ops_routes, &config.serve, lifecycle);
    tracing::info!(public = %addresses.public, ops = %addresses.ops, "booking service is up");
    Ok(addresses)
}

/// Waits for the database and brings it up to date.
pub async fn prepare(config: &DatabaseConfig, migrate: bool) -> anyhow::Result<()> {
    let url = config.database_url.expose_secret();
    db::await_answer(url, DATABASE_PATIENCE).await.map_err(anyhow::Error::msg)?;
    if migrate {
        db::migrate(url).await.map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

async fn follow_keys(app: &App, lifecycle: &Lifecycle) {
    // The loop tries on, and says why it fails.
    drop(tokio::time::timeout(KEYS_PATIENCE, app.entry_keys.refresh()).await);
    lifecycle.spawn_loop("keys of entry tokens", app.entry_keys.clone().keep_fresh());
    if let Some(provider) = app.door.users.provider() {
        lifecycle.spawn_loop("keys of user tokens", provider.clone().keep_fresh());
    }
}

fn run_loops(app: &App, config: &Config, http: reqwest::Client, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let (base, secret) = (config.queue_ops_url.clone(), config.secrets.service_token.clone());
    let queue = QueueService { http, base, secret };
    let ended = app.door.ended.clone();
    lifecycle.spawn_loop("upkeep of metrics", telemetry::upkeep());
    followers::follow_spent(lifecycle, app.db.clone(), ended.clone());
    followers::forget_expired(lifecycle, app.db.clone(), ended.clone());
    followers::follow_revoked(lifecycle, queue.clone(), ended);
    let (url, clock) = (config.database.database_url.expose_secret(), app.db.clock().clone());
    seat_maps::run(lifecycle, &app.seat_maps, db::Db::new(url, ASIDE, clock.clone())?);
    outbox::run(lifecycle, &app.outbox, db::Db::unflushed(url, 1, clock)?, queue.clone());
    reports::run_stock(lifecycle, app.db.clone(), app.stock.clone(), queue.clone());
    reports::run_pressure(lifecycle, app.db.clone(), app.window.clone(), queue);
    holds::run_sweeper(lifecycle, app.db.clone(), app.changes.clone());
    cancellations::run(lifecycle, &app.cancellations);
    idempotency::forget_old(lifecycle, app.db.clone());
    let limits = app.limits.clone();
    rounds::every(lifecycle, "quiet clients", FORGET_CLIENTS_EVERY, move || {
        let limits = limits.clone();
        async move {
            limits.forget_quiet();
            Ok::<_, std::convert::Infallible>(false)
        }
    });
    Ok(())
}

fn readiness(app: &App, lifecycle: &Lifecycle) -> Readiness {
    let (db, keys) = (app.db.clone(), app.entry_keys.clone());
    Readiness::new(lifecycle.soft().clone())
        .with("database", move || {
            let db = db.clone();
            async move { db.ping().await.map_err(|error| error.to_string()) }
        })
        .with("entry_keys", move || {
            let loaded = keys.is_loaded();
            async move { if loaded { Ok(()) } else { Err("no keys of the queue service yet".to_owned()) } }
        })
}

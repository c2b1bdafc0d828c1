//! What a run needs: the service programs, keys and settings for them, and an end for all of it.
//!
//! Redis and Postgres are there already: the shell script that starts the run starts them and names them by
//! `LOAD_REDIS_URL` and `LOAD_DATABASE_URL` (a database whose user may make others). The programs are those that
//! lie beside this one, or in `LOAD_PROGRAMS`. Each service listens on two free ports of 127.0.0.1, writes its log into
//! `LOAD_FOLDER`, and ends with its [`Service`], however that ends.

mod program;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use acceptance::{ADMIN_TOKEN, Keys, SERVICE_TOKEN};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::http::{Client, request};
use crate::tokens::Tokens;

pub use program::{Program, free_address};
pub use usage::{Spending, Usage};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Place {
    pub redis_url: String,
    pub database_url: String,
    /// Of the services' programs.
    pub programs: PathBuf,
    /// For logs.
    pub folder: PathBuf,
}

impl Place {
    /// As the shell script says.
    pub fn from_environment() -> anyhow::Result<Self> {
        let named = |name| std::env::var(name).with_context(|| format!("{name} is not set: run the script"));
        let programs = match std::env::var_os("LOAD_PROGRAMS") {
            Some(folder) => folder.into(),
            None => std::env::current_exe()?.parent().context("this program lies nowhere")?.to_owned(),
        };
        let folder = std::env::var_os("LOAD_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
        let (redis_url, database_url) = (named("LOAD_REDIS_URL")?, named("LOAD_DATABASE_URL")?);
        Ok(Self { redis_url, database_url, programs, folder })
    }
}

/// Keys, and where things are.
pub struct Stand {
    pub place: Place,
    pub keys: Keys,
}

impl Stand {
    /// New keys.
    pub fn new(place: Place) -> Self {
        Self { place, keys: Keys::new() }
    }

    /// What users of this stand show.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(&self.keys)
    }

    /// The settings that a queue service has here, but for its listeners.
    pub fn queue_settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = self.settings();
        settings.push(("REDIS_URL", self.place.redis_url.clone()));
        settings.push(("ENTRY_SIGNING_KEYS", self.keys.entry().display().to_string()));
        settings.push(("QUEUE_TOKEN_KEYS", self.keys.queue_tokens().display().to_string()));
        settings
    }

    /// A queue service that is ready; `more` settings are environment variables.
    pub async fn queue(&self, more: &[(&'static str, String)]) -> anyhow::Result<Service> {
        let mut settings = self.queue_settings();
        settings.extend_from_slice(more);
        Service::start(&self.place, "queue-service", ("QUEUE_ADDR", "QUEUE_OPS_ADDR"), settings).await
    }

    /// A booking service that is ready, on the database `database_url`. It has the keys of entry tokens from a file;
    /// completions go to the ops listener `queue_ops`, and revocations are read there.
    pub async fn booking(
        &self,
        database_url: &str,
        queue_ops: SocketAddr,
        more: &[(&'static str, String)],
    ) -> anyhow::Result<Service> {
        let mut settings = self.settings();
        settings.push(("DATABASE_URL", database_url.to_owned()));
        settings.push(("ENTRY_JWKS_URL", self.keys.entry_jwks().display().to_string()));
        settings.push(("QUEUE_OPS_URL", format!("http://{queue_ops}")));
        settings.push(("QUEUE_PUBLIC_URL", "http://127.0.0.1:9".to_owned()));
        settings.extend_from_slice(more);
        Service::start(&self.place, "booking-service", ("BOOKING_ADDR", "BOOKING_OPS_ADDR"), settings).await
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DEV_IDENTITY_KEY", self.keys.identity().display().to_string()),
            ("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
            ("SERVICE_TOKEN", SERVICE_TOKEN.to_owned()),
        ]
    }
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    program: Program,
    public: SocketAddr,
    ops: SocketAddr,
}

impl Service {
    async fn start(
        place: &Place,
        name: &'static str,
        listeners: (&'static str, &'static str),
        mut settings: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        let (public, ops) = (free_address()?, free_address()?);
        settings.push((listeners.0, public.to_string()));
        settings.push((listeners.1, ops.to_string()));
        let program = Program::start(place.programs.join(name), &[], settings, &place.folder)?;
        let mut service = Self { program, public, ops };
        service.ready().await?;
        Ok(service)
    }

    pub fn public(&self) -> SocketAddr {
        self.public
    }

    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Its memory and its time.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.program.id()?)
    }

    /// Its process.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.program.id()
    }

    /// A call of an operator on the ops listener: status and JSON.
    pub async fn admin(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<(u16, serde_json::Value)> {
        self.ask(method, path, ADMIN_TOKEN, body).await
    }

    /// A call of the other service.
    pub async fn internal(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<(u16, serde_json::Value)> {
        self.ask(method, path, SERVICE_TOKEN, body).await
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        secret: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<(u16, serde_json::Value)> {
        let body = body.map(serde_json::Value::to_string);
        let request = request(method, path, Some(secret), &[], body.as_deref());
        let mut client = Client::new(self.ops).patient(Duration::from_secs(120));
        client.json(&request).await.with_context(|| format!("{method} {path}"))
    }

    /// Stops it gently and starts it again where it was; returns when the new process runs, ready or not.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.program.restart().await
    }

    /// Returns when `/readyz` says so.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let mut client = Client::new(self.ops);
        let asked = request("GET", "/readyz", None, &[], None);
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            let said = client.send(&asked).await.map(|answer| answer.status);
            if said == Ok(200) {
                return Ok(());
            }
            self.program.check()?;
            let late = tokio::time::Instant::now() > deadline;
            anyhow::ensure!(!late, "{} is not ready after {READY_WITHIN:?}: {said:?}", self.program.name());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGTERM, and SIGKILL when it does not listen.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.program.stop().await
    }
}

/// `work`, or an error when this program is told to stop meanwhile: what it started then ends, too.
pub async fn unless_stopped<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => anyhow::bail!("stopped by a signal"),
        _ = interrupt.recv() => anyhow::bail!("stopped by a signal"),
    }
}

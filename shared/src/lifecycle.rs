//! Start and stop of a process.
//!
//! ```text
//!   running ── SIGTERM / SIGINT / a background task died ──▶ soft stop ── grace over ──▶ hard stop
//! ```
//!
//! Soft: readiness fails, listeners take no new connections, loops finish their round, requests
//! under way are answered. Hard: what is left is dropped. A background task that ends by itself,
//! by error or by panic, takes the process down with a failing exit code: a replica that silently
//! stopped sweeping or relaying is worse than one that restarts.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Settings of the stop.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LifecycleConfig {
    /// Seconds that requests and tasks under way are given at a stop.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value_t = 20)]
    pub shutdown_grace_seconds: u64,
}

/// The tasks of one process and the two signals that stop them. Clones are the same lifecycle.
#[derive(Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    /// Not waited for: they end when nothing needs them any more.
    supports: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Lifecycle {
    /// A running lifecycle without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process should stop.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when the process must stop.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Runs a task that should live until the soft stop; its early end stops the process.
    pub fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.clone().guarded(name, task));
    }

    /// Runs a vital task that requests under way need: it lives until the hard stop, which comes
    /// when they are answered.
    pub fn spawn_support(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.supports.spawn(self.clone().guarded(name, task));
    }

    async fn guarded(self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let outcome = tokio::select! {
            outcome = std::panic::AssertUnwindSafe(task).catch_unwind() => outcome,
            () = self.hard.cancelled() => return,
        };
        if !self.soft.is_cancelled() {
            let how = if outcome.is_err() { "panicked" } else { "ended" };
            tracing::error!(task = name, "a background task {how}; stopping the process");
            self.failed.store(true, Ordering::SeqCst);
            self.soft.cancel();
        }
    }

    /// Runs an endless loop until the soft stop; its end before that stops the process.
    pub fn spawn_loop(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let soft = self.soft.clone();
        self.spawn_vital(name, async move {
            tokio::select! {
                () = task => {}
                () = soft.cancelled() => {}
            }
        });
    }

    /// Runs a task that may end at any time; the stop waits for it within the grace.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // A child of its own: at each turn of a task its token's lock is taken, and a shared one is fought over.
        let hard = self.hard.child_token();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = hard.cancelled() => {}
            }
        });
    }

    /// Begins the stop.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Waits for the end of what is under way, at most `grace`, then drops the rest.
    pub async fn drain(&self, grace: Duration) {
        self.soft.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "the grace is over; dropping what is left");
        }
        self.hard.cancel();
        self.supports.close();
        self.tasks.wait().await;
        self.supports.wait().await;
    }

    /// Lives until a signal or a failure, then stops.
    pub async fn run(&self, config: LifecycleConfig) -> ExitCode {
        if let Err(error) = self.until_stop().await {
            tracing::error!(%error, "cannot listen for signals");
            self.failed.store(true, Ordering::SeqCst);
        }
        tracing::info!(grace_seconds = config.shutdown_grace_seconds, "stopping");
        self.drain(Duration::from_secs(config.shutdown_grace_seconds)).await;
        tracing::info!("stopped");
        if self.failed.load(Ordering::SeqCst) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    async fn until_stop(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = self.soft.cancelled() => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_panics_stops_the_process_with_a_failure() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_vital("doomed", async { panic!("on purpose") });
        let code = lifecycle.run(LifecycleConfig { shutdown_grace_seconds: 1 }).await;
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    }

    #[tokio::test]
    async fn a_support_does_not_hold_up_the_stop() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_support("batches", std::future::pending());
        lifecycle.drain(Duration::from_secs(3600)).await;
    }

    #[tokio::test]
    async fn what_outlives_the_grace_is_dropped() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(std::future::pending());
        lifecycle.drain(Duration::from_millis(10)).await;
        assert!(lifecycle.hard().is_cancelled());
    }
}

//! pgbench: what the database gives one transaction at a time, without HTTP, tokens or batches.
//!
//! The statements are in the files beside this: the service's own for one payment, and for holds what they were before
//! anything was batched, which is less. Each runs as `-M prepared` over TCP and is planned as the service's are. Clients sell
//! seats of one date for some seconds, in turn and none twice; the caller counts the seats.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use uuid::Uuid;

use super::hall::{Hall, QUEUE};

/// One hold: one statement, which is its own transaction.
pub const HOLD: &str = include_str!("hold.sql");
/// One hold of a date with a limit: users queue up at a row, and what they own is counted.
pub const LIMITED_HOLD: &str = include_str!("limited_hold.sql");
/// One payment.
pub const PAYMENT: &str = include_str!("payment.sql");

/// The settings of the service's connections that plans depend on.
const PLANNED_ALIKE: &str = "-c enable_seqscan=off -c jit=off";

/// What pgbench found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Transactions a second.
    pub rate: f64,
    /// Transactions.
    pub done: f64,
}

/// What `clients` do with a date in so many seconds.
pub async fn run(
    hall: &Hall,
    script: &str,
    clients: u32,
    seconds: u32,
    schedule: Uuid,
    prefix: &str,
) -> anyhow::Result<Found> {
    let folder = std::env::var_os("LOAD_POSTGRES_BIN").map(PathBuf::from).unwrap_or_default();
    let file = std::env::temp_dir().join(format!("bench-{}.sql", Uuid::new_v4()));
    std::fs::write(&file, script)?;
    let output = Command::new(folder.join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--file"])
        .arg(&file)
        .args([format!("--client={clients}"), format!("--time={seconds}")])
        .args([format!("--define=clients={clients}"), "--define=i=-1".to_owned()])
        .args([format!("--define=schedule={schedule}"), format!("--define=prefix={prefix}")])
        .arg(format!("--define=queue={QUEUE}"))
        .arg(&hall.database_url)
        .env("PGOPTIONS", PLANNED_ALIKE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    std::fs::remove_file(&file)?;
    let output = output.context("pgbench cannot be run: install the programs of Postgres")?;
    let (told, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "pgbench: {complaint}\n{told}");
    let figure = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let found = figure("tps = ").zip(figure("number of transactions actually processed: "));
    let (rate, done) = found.with_context(|| format!("pgbench says no rate: {told}"))?;
    Ok(Found { rate, done })
}

//! A child process: started with nothing but the settings given, stopped by its id.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};

/// For a gentle end.
const GRACE: Duration = Duration::from_secs(40);
/// Ports below those that the system gives to the near ends of connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    settings: Vec<(&'static str, String)>,
    folder: PathBuf,
    child: Child,
}

impl Program {
    /// Starts `path` with these environment variables and no others; its log goes into `folder`.
    pub fn start(
        path: PathBuf,
        arguments: &[&str],
        settings: Vec<(&'static str, String)>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = spawn(&path, &arguments, &settings, folder)?;
        Ok(Self { path, arguments, settings, folder: folder.to_owned(), child })
    }

    /// What it is called.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    /// Of its process.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name()))
    }

    /// An error with the end of its log when it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = std::fs::read_to_string(log_of(&self.path, &self.folder)).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(8).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        anyhow::bail!("{} has ended ({status}):\n{}", self.name(), tail.join("\n"))
    }

    /// Ends it gently and starts it again.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.end().await?;
        self.child = spawn(&self.path, &self.arguments, &self.settings, &self.folder)?;
        Ok(())
    }

    /// SIGTERM, and SIGKILL when it does not listen.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.end().await
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let id = self.id()?;
        Command::new("kill").arg(id.to_string()).status().await?;
        let Ok(ended) = tokio::time::timeout(GRACE, self.child.wait()).await else {
            self.child.kill().await?;
            anyhow::bail!("{} did not end within {GRACE:?} of SIGTERM", self.name());
        };
        anyhow::ensure!(ended?.success(), "{} did not end well", self.name());
        Ok(())
    }
}

fn spawn(
    path: &Path,
    arguments: &[String],
    settings: &[(&'static str, String)],
    folder: &Path,
) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(log_of(path, folder))?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().envs(settings.iter().map(|(name, value)| (name, value)));
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.kill_on_drop(true).spawn().with_context(|| format!("{} cannot be started", path.display()))
}

fn log_of(path: &Path, folder: &Path) -> PathBuf {
    folder.join(path.file_name().unwrap_or_default()).with_extension("log")
}

/// An address on this machine that nobody listens on.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port is free")
}

//! The real programs, as built beside the tests.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

/// Root of the repository.
pub fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("this package lies two folders below the root")
}

/// Where the program `name` was built: the folder above that of this test's executable.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test knows where it is");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let path = folder.join(name);
    let path_text = path.display();
    assert!(path.is_file(), "{path_text} is missing: run scripts/test, or cargo build --workspace --bins");
    path
}

/// A running program that is killed when it is dropped.
pub struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts `name` with nothing but these arguments: no environment, no `.env`.
    pub fn start(name: &str, arguments: &[String], folder: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.join(format!("{name}.log")));
        let log = log.expect("a log can be written");
        let child = command(name, arguments, folder)
            .stdout(log.try_clone().expect("a log can be written"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name: name.to_owned(), child }
    }

    /// SIGKILL, and its end.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap_or_else(|error| panic!("{} cannot be killed: {error}", self.name));
    }

    /// SIGTERM; its exit code, once it has ended within `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Option<i32> {
        let id = self.child.id().expect("the program runs");
        let kill = Command::new("kill").arg(id.to_string()).status().await;
        assert!(kill.is_ok_and(|status| status.success()), "kill {id} failed");
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} did not end within {limit:?} of SIGTERM", self.name));
        ended.expect("the program can be awaited").code()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

/// Runs `name` until it ends by itself; fails when it does not within ten seconds.
pub async fn run_to_end(name: &str, arguments: &[String], folder: &Path) -> Output {
    let running = command(name, arguments, folder).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = tokio::time::timeout(Duration::from_secs(10), running).await;
    output.unwrap_or_else(|_| panic!("{name} {arguments:?} did not end by itself")).expect("it can be run")
}

fn command(name: &str, arguments: &[String], folder: &Path) -> Command {
    let mut command = Command::new(binary(name));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

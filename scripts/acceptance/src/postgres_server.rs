//! A Postgres server of a test's own, from the programs in the folder that `TEST_POSTGRES_BIN` names.
//!
//! It may be killed at any moment, and then has everything that it said it had: the server's own defaults hold
//! (`fsync`, `synchronous_commit`). Where the test is root it runs as somebody else, because it refuses root. Like
//! [`crate::RedisServer`] it dies with the test however that ends: its keeper, a shell, kills it when
//! the pipe that the test holds is closed, and then removes its folder, unless it was told to keep that.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use crate::patience::within;
use crate::service::free_port;
use crate::stores::given;

/// Its folder is made, or what a crash left undone is done, on a machine with other things to do.
const START_LIMIT: Duration = Duration::from_secs(60);
const AS_OWNER: &str = r#"
cd /
owner() { id postgres >/dev/null 2>&1 && echo postgres || echo nobody; }
as_owner() {
  [ "$(id -u)" = 0 ] || exec "$@"
  exec setpriv --reuid="$(owner)" --regid="$(id -g "$(owner)")" --clear-groups "$@"
}
"#;
const MAKE: &str = r#"
[ "$(id -u)" != 0 ] || chown "$(owner)" "$0"
(as_owner "$@") >"$0/log" 2>&1
"#;
/// All its processes at once, as the end of a container would: none of them finishes anything.
const KEEP: &str = r#"
as_owner "$@" >"$0/log" 2>&1 &
read -r kept
kill -9 $! $(ps -A -o pid= -o ppid= | awk -v server=$! '$2 == server { print $1 }') 2>/dev/null
wait
[ "$kept" ] || rm -rf "$0"
"#;
/// A process of the one that was killed still lives, for a moment.
const TOO_SOON: &str = "still in use";

/// A running server.
pub struct PostgresServer {
    port: u16,
    folder: PathBuf,
    settings: Vec<String>,
    keeper: Mutex<Option<Child>>,
}

impl PostgresServer {
    /// Starts one on a port of its own, with these settings (`name=value`), and waits until it answers.
    pub async fn start(settings: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("acceptance-postgres-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).expect("a folder for a server can be made");
        let settings = settings.iter().map(|setting| format!("--{setting}")).collect();
        let server = Self { port: free_port().port(), folder, settings, keeper: Mutex::default() };
        server.make();
        server.run().await;
        server
    }

    /// `DATABASE_URL` of a database in it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it, all its processes at once.
    pub fn kill(&self) {
        self.end(b"kept\n");
    }

    /// Starts a killed one again and waits until it has read its log and answers.
    pub async fn start_again(&self) {
        self.run().await;
    }

    fn make(&self) {
        let mut words = vec![program("initdb"), "-D".to_owned(), self.data()];
        words.extend(
            ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"].map(str::to_owned),
        );
        words.push("--no-sync".to_owned());
        let made = self.shell(MAKE, &words).status();
        assert!(made.is_ok_and(|status| status.success()), "initdb failed: {}", self.log());
    }

    async fn run(&self) {
        self.launch();
        within(START_LIMIT, "a Postgres of the test's own answers", async || {
            if self.log().contains(TOO_SOON) {
                self.kill();
                self.launch();
            }
            match PgConnection::connect(&self.url()).await {
                Ok(connection) => connection.close().await.map_err(|error| error.to_string()),
                Err(error) => Err(format!("{error}\n{}", self.log())),
            }
        })
        .await;
    }

    fn launch(&self) {
        let mut words = vec![program("postgres"), "-D".to_owned(), self.data()];
        words.extend([format!("--port={}", self.port), "--listen_addresses=127.0.0.1".to_owned()]);
        words.push("--unix_socket_directories=".to_owned());
        words.extend(self.settings.clone());
        // What it said before its end says nothing of this start.
        drop(std::fs::remove_file(self.folder.join("log")));
        let keeper = self.shell(KEEP, &words).stdin(Stdio::piped()).spawn();
        *self.keeper.lock().expect("nobody panicked here") = Some(keeper.expect("a shell can be started"));
    }

    fn shell(&self, script: &str, words: &[String]) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{AS_OWNER}{script}")).arg(&self.folder).args(words);
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell
    }

    fn end(&self, last_word: &[u8]) {
        if let Some(mut keeper) = self.keeper.lock().expect("nobody panicked here").take() {
            if let Some(mut pipe) = keeper.stdin.take() {
                // A keeper that is gone has killed it.
                drop(pipe.write_all(last_word));
            }
            drop(keeper.wait());
        }
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.end(b"");
        // A folder that stays behind is no reason to fail.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn program(name: &str) -> String {
    format!("{}/{name}", given("TEST_POSTGRES_BIN"))
}

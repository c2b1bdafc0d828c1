//! A Redis server of a test's own, from the program that `TEST_REDIS_SERVER` names.
//!
//! It dies with the test however that ends: its keeper, a shell, kills it when the pipe that the test
//! holds is closed, which the system does even for a test that was killed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, IntoConnectionInfo as _, RedisResult};

use crate::patience::within;
use crate::service::free_port;
use crate::stores::given;

const START_LIMIT: Duration = Duration::from_secs(15);
const KEEPER: &str = r#""$@" >"$0" 2>&1 & read -r _; kill -9 $! 2>/dev/null"#;

/// A running server.
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    password: Option<String>,
    keeper: Mutex<Option<Child>>,
}

impl RedisServer {
    /// Starts one on a port of its own, without a copy of its data on disk, and waits until it answers.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let server = Self::prepare(settings, "");
        server.run().await;
        server
    }

    /// Starts one as a sentinel with this configuration besides.
    pub async fn sentinel(configuration: &str, settings: &[(&str, &str)]) -> Self {
        let server = Self::prepare(settings, configuration);
        server.run().await;
        server
    }

    fn prepare(settings: &[(&str, &str)], sentinel: &str) -> Self {
        let port = free_port().port();
        let folder = std::env::temp_dir().join(format!("acceptance-redis-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).expect("a folder for a server can be made");
        let mut arguments = vec![given("TEST_REDIS_SERVER")];
        if !sentinel.is_empty() {
            let file = folder.join("sentinel.conf");
            std::fs::write(&file, sentinel).expect("a configuration can be written");
            arguments.extend([file.display().to_string(), "--sentinel".to_owned()]);
        }
        let (port_text, folder_text) = (port.to_string(), folder.display().to_string());
        let always = [("bind", "127.0.0.1"), ("port", &port_text), ("dir", &folder_text)];
        for (name, value) in always.iter().chain(settings) {
            arguments.extend([format!("--{name}"), (*value).to_owned()]);
        }
        let password = settings.iter().find(|(name, _)| *name == "requirepass");
        let password = password.map(|(_, password)| (*password).to_owned());
        Self { port, folder, arguments, password, keeper: Mutex::default() }
    }

    /// Starts a killed one again, with what it had written to its folder: without `save` and `appendonly`
    /// that is what [`RedisServer::remember`] has written, or nothing.
    pub async fn start_again(&self) {
        self.run().await;
    }

    /// Writes a copy of its data to its folder.
    pub async fn remember(&self) {
        self.say::<()>(&["SAVE"]).await;
    }

    async fn run(&self) {
        let log = self.folder.join("log");
        let mut keeper = Command::new("sh");
        keeper.arg("-c").arg(KEEPER).arg(&log).args(&self.arguments);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        *self.keeper.lock().expect("nobody panicked here") = Some(keeper.expect("a shell can be started"));
        within(START_LIMIT, "a Redis of the test's own answers", async || {
            let pong: RedisResult<String> = self.ask(&redis::cmd("PING")).await;
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            pong.map(|_| ()).map_err(|error| format!("{error}\n{}", log()))
        })
        .await;
    }

    /// Ends it as a power cut would, and forgets what it had in memory.
    pub fn kill(&self) {
        if let Some(mut keeper) = self.keeper.lock().expect("nobody panicked here").take() {
            drop(keeper.stdin.take());
            drop(keeper.wait());
        }
    }

    /// Stops it in the middle of whatever it does: it neither answers nor hangs up.
    pub async fn stall(&self) {
        let id = self.info("server", "process_id").await;
        let stopped = Command::new("kill").args(["-STOP", &id]).status();
        assert!(stopped.is_ok_and(|status| status.success()), "kill -STOP {id} failed");
    }

    /// `REDIS_URL` of it.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection to it.
    pub async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut settings = redis::RedisConnectionInfo::default();
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let info = format!("redis://{}/", self.address()).into_connection_info()?;
        let client = redis::Client::open(info.set_redis_settings(settings))?;
        client.get_multiplexed_async_connection().await
    }

    /// What it says to a command, on a connection of its own.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connection().await?).await
    }

    /// As [`RedisServer::ask`], of words; it must answer.
    pub async fn say<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = self.ask(&command(words)).await;
        answer.unwrap_or_else(|error| panic!("{words:?} to {}: {error}", self.address()))
    }

    /// Waits until it has all that `master` has written up to now.
    pub async fn catch_up_with(&self, master: &Self) {
        let offset = async |server: &Self, name: &str| -> Result<u64, String> {
            let offset = server.info("replication", name).await;
            offset.parse().map_err(|_| format!("{name} is {offset:?}"))
        };
        let written = offset(master, "master_repl_offset").await.expect("a master has an offset");
        within(START_LIMIT, "a replica has caught up", async || {
            let read = offset(self, "slave_repl_offset").await?;
            if read >= written { Ok(()) } else { Err(format!("{read} of {written}")) }
        })
        .await;
    }

    /// A line of its `INFO`, or nothing.
    pub async fn info(&self, section: &str, name: &str) -> String {
        let info: RedisResult<String> = self.ask(&command(&["INFO", section])).await;
        let info = info.unwrap_or_default();
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        // A folder that stays behind is no reason to fail.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

pub(crate) fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

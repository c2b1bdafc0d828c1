//! The connection to Redis: a few multiplexed lanes out of a deadpool pool.
//!
//! A checkout per request would cost two more commands each time, so a lane's connection is
//! taken once and cloned; when it breaks, or does not answer in time, it is given up and a new one is
//! taken at the next use. A command whose connection broke is put once more where that is harmless:
//! nobody knows whether it was carried out, so a join and an admission by hand are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, RedisResult,
    ScriptInvocation,
};
use shared::clock::Clock;
use tokio::sync::Mutex;

use crate::keys::QueueKeys;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Redis did not do what was asked. Cheap to clone: a batch hands it to each of its items.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue has no settings.
    #[error("there is no such queue")]
    NoQueue,
    /// People are in line in an order that the change would break.
    #[error("people are in line in the present order")]
    OrderFixed,
    /// Anything else; for the log.
    #[error("{0}")]
    Failed(Arc<str>),
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("NOQUEUE") => Self::NoQueue,
            Some("FIXED") => Self::OrderFixed,
            _ => Self::Failed(error.to_string().into()),
        }
    }
}

/// What stands in front of every script.
pub const PRELUDE: &str = concat!(
    include_str!("prelude/head.lua"),
    include_str!("prelude/limits.lua"),
    include_str!("prelude/line.lua"),
    include_str!("prelude/slots.lua"),
    include_str!("prelude/loss.lua"),
    include_str!("prelude/answer.lua"),
);

/// A script, and whether it may run twice for once.
pub struct Script {
    script: redis::Script,
    repeatable: bool,
}

impl Script {
    /// From the text of one `.lua` file, the prelude in front.
    pub fn new(body: &str) -> Self {
        let tail = include_str!("prelude/tail.lua");
        let text = format!("{PRELUDE}\nlocal function body()\n{body}\nend\n{tail}");
        Self { script: redis::Script::new(&text), repeatable: true }
    }

    /// As `new`, for what must not be done twice.
    pub fn once(body: &str) -> Self {
        Self { repeatable: false, ..Self::new(body) }
    }

    /// From a file that stands alone.
    pub fn without_prelude(body: &str) -> Self {
        Self { script: redis::Script::new(body), repeatable: true }
    }
}

/// The lanes of one process. Clones share them.
#[derive(Clone)]
pub struct Redis {
    lanes: Arc<Lanes>,
}

struct Lanes {
    pool: Pool,
    connections: Vec<Mutex<Option<MultiplexedConnection>>>,
    next: AtomicUsize,
}

impl Redis {
    /// Prepares `lanes` connections to `url`; connects at the first use.
    pub fn new(url: &str, lanes: usize) -> Result<Self, String> {
        let unusable = |error: &dyn std::fmt::Display| format!("REDIS_URL cannot be used: {error}");
        let info = url.into_connection_info().map_err(|error| unusable(&error))?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let manager = Manager::new_with_config(info, config).map_err(|error| unusable(&error))?;
        let pool = Pool::builder(manager)
            .max_size(lanes.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_LIMIT))
            .create_timeout(Some(CONNECT_LIMIT))
            .recycle_timeout(Some(CONNECT_LIMIT))
            .build()
            .map_err(|error| unusable(&error))?;
        let connections = (0..lanes.max(1)).map(|_| Mutex::new(None)).collect();
        Ok(Self { lanes: Arc::new(Lanes { pool, connections, next: AtomicUsize::new(0) }) })
    }

    /// Runs a script on a queue's keys. `args` follow those that the prelude takes. What the script tells of
    /// the store is remembered.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &QueueKeys,
        when: When,
        args: &[String],
    ) -> Result<T, StoreError> {
        let mut invocation = script.script.prepare_invoke();
        for key in keys.for_scripts() {
            invocation.key(key);
        }
        invocation.arg(when.arg()).arg(nonce()).arg(keys.memory().tell());
        for arg in args {
            invocation.arg(arg);
        }
        let (answer, told): (T, String) = self.ask(Question::Script(&invocation), script.repeatable).await?;
        keys.memory().hear(told);
        Ok(answer)
    }

    /// Runs a script that stands alone.
    pub async fn run_plain<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[String],
    ) -> Result<T, StoreError> {
        let mut invocation = script.script.prepare_invoke();
        for key in keys {
            invocation.key(*key);
        }
        for arg in args {
            invocation.arg(arg);
        }
        self.ask(Question::Script(&invocation), script.repeatable).await
    }

    /// Runs plain commands in one round trip.
    pub async fn query<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        self.ask(Question::Pipeline(pipeline), true).await
    }

    async fn ask<T: FromRedisValue>(
        &self,
        question: Question<'_>,
        repeatable: bool,
    ) -> Result<T, StoreError> {
        let index = self.lanes.next.fetch_add(1, Ordering::Relaxed) % self.lanes.connections.len();
        let answer = question.put(self.connection(index).await?).await;
        let Err(error) = answer else { return Ok(answer?) };
        let is_broken = error.is_unrecoverable_error();
        if is_broken || error.is_timeout() {
            self.give_up(index).await;
        }
        if !is_broken || !repeatable {
            return Err(error.into());
        }
        let again = question.put(self.connection(index).await?).await;
        if again.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            self.give_up(index).await;
        }
        Ok(again?)
    }

    async fn connection(&self, index: usize) -> Result<MultiplexedConnection, StoreError> {
        let mut lane = self.lanes.connections[index].lock().await;
        if let Some(connection) = lane.as_ref() {
            return Ok(connection.clone());
        }
        let object =
            self.lanes.pool.get().await.map_err(|error| StoreError::Failed(error.to_string().into()))?;
        // The lane keeps the connection for good, so the pool must not count it as lent.
        let connection = deadpool_redis::Connection::take(object);
        *lane = Some(connection.clone());
        Ok(connection)
    }

    async fn give_up(&self, index: usize) {
        *self.lanes.connections[index].lock().await = None;
    }
}

/// What can be put to a lane, and put again.
enum Question<'a> {
    Script(&'a ScriptInvocation<'a>),
    Pipeline(&'a Pipeline),
}

impl Question<'_> {
    async fn put<T: FromRedisValue>(&self, mut lane: MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::Script(invocation) => invocation.invoke_async(&mut lane).await,
            Self::Pipeline(pipeline) => pipeline.query_async(&mut lane).await,
        }
    }
}

/// The moment at which a script acts.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// The time of Redis, plus so many milliseconds.
    Now { offset_ms: i64 },
    /// A moment of the reference model's own, ms since 1970.
    #[cfg(test)]
    At(i64),
}

impl When {
    /// The time of Redis, as far as this clock is moved.
    pub fn now(clock: &Clock) -> Self {
        Self::Now { offset_ms: clock.offset_ms() }
    }

    /// As the scripts take it.
    pub fn arg(self) -> String {
        match self {
            Self::Now { offset_ms } => offset_ms.to_string(),
            #[cfg(test)]
            Self::At(moment) => format!("@{moment}"),
        }
    }
}

/// Sixteen random bytes in hex.
fn nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}

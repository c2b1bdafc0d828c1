//! Lanes: the connections of one process, and what becomes of them when they break.
//!
//! ```text
//!             ┌ Single    one server           ┐
//!   Form ─▶ Way ┤ Sentinel  ask for the master ├─▶ pool (limits on connecting) ─▶ lane ─▶ clones
//!             └ Cluster   a connection a node  ┘                     given up ◀──┘
//! ```
//!
//! A checkout per request would cost two more commands each time, so a lane's connection is taken
//! out of its pool once and cloned; when it is given up, the next use takes a new one. The pools of
//! `deadpool-redis` for sentinels and clusters let nobody set limits, so [`Way`] is a manager of our own.
//!
//! - A lane is given up once, however many commands break on it: by identity, not by number.
//! - Each new lane learns which server it leads to before anything is put to it; every script is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, RecycleResult};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::Mutex;

use super::url::{Form, Watched, tcp};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Of one node of a cluster. A new lane connects to all nodes twice over, and a node that lies dead
/// must not keep it from those that live.
const NODE_CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// How a new connection comes about.
pub struct Way {
    kind: Kind,
    config: AsyncConnectionConfig,
}

enum Kind {
    Single(deadpool_redis::Manager),
    Sentinel(Watched),
    Cluster(ClusterClient),
}

impl Way {
    fn new(form: Form) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let kind = match form {
            Form::Single(info) => {
                Kind::Single(deadpool_redis::Manager::new_with_config(info, config.clone())?)
            }
            Form::Sentinel(watched) => Kind::Sentinel(watched),
            // Without retries of its own: it would repeat what must not be done twice.
            Form::Cluster(nodes) => Kind::Cluster(
                ClusterClientBuilder::new(nodes)
                    .retries(0)
                    .connection_timeout(NODE_CONNECT_LIMIT)
                    .response_timeout(ANSWER_LIMIT)
                    .overall_response_timeout(Some(ANSWER_LIMIT))
                    .tcp_settings(tcp())
                    .build()?,
            ),
        };
        Ok(Self { kind, config })
    }
}

impl managed::Manager for Way {
    type Type = Lane;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<Lane> {
        let connection = match &self.kind {
            Kind::Single(manager) => managed::Manager::create(manager).await?,
            Kind::Sentinel(Watched { sentinels, master, node }) => {
                let (sentinels, node) = (sentinels.clone(), Some(node.clone()));
                let mut client = SentinelClient::build(sentinels, master, node, SentinelServerType::Master)?;
                client.get_async_connection_with_config(&self.config).await?
            }
            Kind::Cluster(client) => {
                let connection = Connection::Cluster(client.get_async_connection().await?);
                return Ok(Lane { connection, run_id: None });
            }
        };
        let mut connection = Connection::Single(connection);
        Ok(Lane { run_id: run_id(&mut connection).await?, connection })
    }

    /// Nothing comes back into the pool.
    async fn recycle(&self, _: &mut Lane, _: &Metrics) -> RecycleResult<RedisError> {
        Ok(())
    }
}

/// Which run of which server this is; `None` where it may not be asked.
async fn run_id(connection: &mut Connection) -> RedisResult<Option<String>> {
    let info = redis::cmd("INFO").arg("server").query_async::<String>(connection).await;
    match info {
        Ok(info) => Ok(info.lines().find_map(|line| Some(line.strip_prefix("run_id:")?.trim().to_owned()))),
        Err(error) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A connection, and where it leads.
pub struct Lane {
    connection: Connection,
    run_id: Option<String>,
}

impl Lane {
    /// A handle on it.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Which run of which server it leads to: another one than before means a restart or a failover, after
    /// which writes may have been forgotten. `None` in a cluster and where a server does not tell.
    pub fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }
}

/// A handle on a lane's connection. Clones share it.
#[derive(Clone)]
pub enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The lanes of one process.
pub struct Lanes {
    pool: managed::Pool<Way>,
    open: Vec<Mutex<Option<Arc<Lane>>>>,
    next: AtomicUsize,
    cluster: bool,
}

impl Lanes {
    /// Prepares so many; connects at the first use.
    pub fn new(form: Form, count: usize) -> Result<Self, String> {
        let cluster = matches!(form, Form::Cluster(_));
        let way = Way::new(form).map_err(|error| error.to_string())?;
        let pool = managed::Pool::builder(way)
            .max_size(count.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_LIMIT))
            .create_timeout(Some(CONNECT_LIMIT))
            .recycle_timeout(Some(CONNECT_LIMIT))
            .build()
            .map_err(|error| error.to_string())?;
        let open = (0..count.max(1)).map(|_| Mutex::new(None)).collect();
        Ok(Self { pool, open, next: AtomicUsize::new(0), cluster })
    }

    /// Whether keys lie on several servers.
    pub fn are_of_a_cluster(&self) -> bool {
        self.cluster
    }

    /// The number of the lane whose turn it is.
    pub fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.open.len()
    }

    /// The lane of that number, open.
    pub async fn lane(&self, number: usize) -> Result<Arc<Lane>, String> {
        let mut open = self.open[number].lock().await;
        if let Some(lane) = open.as_ref() {
            return Ok(lane.clone());
        }
        let object = self.pool.get().await.map_err(|error| error.to_string())?;
        // The lane keeps the connection for good, so the pool must not count it as lent.
        let lane = Arc::new(Object::take(object));
        *open = Some(lane.clone());
        Ok(lane)
    }

    /// Lets go of a lane, unless another has taken its place.
    pub async fn give_up(&self, number: usize, lane: &Arc<Lane>) {
        let mut open = self.open[number].lock().await;
        if open.as_ref().is_some_and(|found| Arc::ptr_eq(found, lane)) {
            *open = None;
        }
    }
}

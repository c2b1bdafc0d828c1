//! The way to Postgres: connections, transactions, and what an error of the database means here.
//!
//! Two queues stand in front of the database, both in the service: a fair semaphore with a
//! deadline ([`Db`] hands out as many lanes as there are connections), and behind it the pool.
//! `sqlx` is named here and in the `store.rs` files, nowhere else.

use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::clock::Clock;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What every statement runs on.
pub type Conn = PgConnection;

/// Waiting for a lane ends before the request's own time limit does.
const LANE_LIMIT: Duration = Duration::from_secs(8);
const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
/// A connection that was idle for longer is asked whether it lives; a dead one is replaced. Under
/// load none is idle that long, and nothing is asked.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// A connection that says nothing for so long is closed: the other end is gone without a word.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Of an idle one; several may be tried within [`ACQUIRE_LIMIT`].
const PING_LIMIT: Duration = Duration::from_millis(500);
/// A transaction that begins on a connection that died since takes the next one.
const STALE_CONNECTIONS: usize = 64;

/// Milliseconds; ends what would otherwise hold locks or a connection for ever.
const LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "8000"),
    ("lock_timeout", "4000"),
    ("idle_in_transaction_session_timeout", "10000"),
];

/// Rows are looked up through an index. Prepared statements, and the checks of foreign keys, keep plans from the time when
/// their tables were empty and to walk through the whole of one seemed nothing: in a first sale that took most of Postgres.
const ROW_BY_ROW: [(&str, &str); 1] = [("enable_seqscan", "off")];

/// What went wrong between us and the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Gone, starting, stopping or out of resources: the same request may work later.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// No lane came free in time.
    #[error("every connection was busy for too long")]
    Busy,
    /// Two transactions were in each other's way; the same transaction may work at once.
    #[error("conflict between transactions: {0}")]
    Conflict(String),
    /// Another transaction has kept a lock for longer than this one was to wait.
    #[error("a lock was not won: {0}")]
    Locked(String),
    /// A named constraint refused.
    #[error("constraint {0}")]
    Constraint(String),
    /// A mistake of ours.
    #[error("{0}")]
    Failed(String),
}

/// The outcome of a statement.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether this constraint refused.
    pub fn is_constraint(&self, name: &str) -> bool {
        matches!(self, Self::Constraint(constraint) if constraint == name)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let text = error.to_string();
        match &error {
            E::Database(refused) => match (refused.code().as_deref(), refused.constraint()) {
                (Some("40001" | "40P01"), _) => Self::Conflict(text),
                (Some("55P03"), _) => Self::Locked(text),
                (Some(code), _) if is_passing(code) => Self::Unavailable(text),
                (_, Some(constraint)) => Self::Constraint(constraint.to_owned()),
                _ => Self::Failed(text),
            },
            E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed
            | E::BeginFailed => Self::Unavailable(text),
            _ => Self::Failed(text),
        }
    }
}

/// Whether a connection of the pool had died unnoticed: the server was stopped or went away.
fn is_stale(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(refused) => matches!(refused.code().as_deref(), Some("57P01" | "57P02")),
        _ => false,
    }
}

/// SQLSTATE classes of trouble that passes: connection, resources, shutdown, time-outs, read-only.
fn is_passing(code: &str) -> bool {
    ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || matches!(code, "25006" | "25P03")
}

/// The database, and the clock's offset that its statements take. Clones share the pool.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    lanes: Arc<Semaphore>,
    longest_wait_us: Arc<AtomicU64>,
    clock: Clock,
}

/// A connection outside a transaction.
pub struct Lane {
    conn: PoolConnection<Postgres>,
    _permit: OwnedSemaphorePermit,
}

/// A transaction; dropped without [`Tx::end`], it never was.
pub struct Tx {
    open: Open,
    _permit: OwnedSemaphorePermit,
}

/// A connection with a transaction on it. Dropped before that has ended, it is closed and not given back:
/// what a request left half-way when it was given up must not be another's transaction.
struct Open {
    conn: PoolConnection<Postgres>,
    ended: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.conn.close_on_drop();
        }
    }
}

impl Db {
    /// A pool of `connections` to `url`; connects when first used.
    pub fn new(url: &str, connections: u32, clock: Clock) -> Result<Self> {
        Ok(Self::connecting(options(url)?.options(ROW_BY_ROW), connections, clock))
    }

    /// As [`Db::new`], for statements that read whole tables.
    pub fn wholesale(url: &str, connections: u32, clock: Clock) -> Result<Self> {
        Ok(Self::connecting(options(url)?, connections, clock))
    }

    /// As [`Db::new`], for what is done anew when it was lost: a commit does not wait for the disk, and what was
    /// committed in the last moment before the server's end may not have been.
    pub fn unflushed(url: &str, connections: u32, clock: Clock) -> Result<Self> {
        let options = options(url)?.options(ROW_BY_ROW).options([("synchronous_commit", "off")]);
        Ok(Self::connecting(options, connections, clock))
    }

    fn connecting(options: PgConnectOptions, connections: u32, clock: Clock) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .test_before_acquire(false)
            .before_acquire(|conn, meta| {
                Box::pin(async move {
                    let trusted = meta.idle_for <= TRUSTED_IDLE;
                    Ok(trusted || matches!(tokio::time::timeout(PING_LIMIT, conn.ping()).await, Ok(Ok(()))))
                })
            })
            // What was dropped half-way may wait for an answer that never comes.
            .after_release(|conn, _| {
                Box::pin(async move {
                    let answer = tokio::time::timeout(ANSWER_LIMIT, conn.ping()).await;
                    answer.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
                })
            })
            .connect_lazy_with(options.options(LIMITS));
        let lanes = Arc::new(Semaphore::new(connections as usize));
        Self { pool, lanes, longest_wait_us: Arc::default(), clock }
    }

    /// What statements that judge a deadline take as their `offset_ms`.
    pub fn offset_ms(&self) -> i64 {
        self.clock.offset_ms()
    }

    /// The clock whose offset that is.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A connection; each statement on it stands alone.
    pub async fn lane(&self) -> Result<Lane> {
        let permit = self.permit().await?;
        Ok(Lane { conn: self.pool.acquire().await?, _permit: permit })
    }

    /// A transaction at `read committed`.
    pub async fn begin(&self) -> Result<Tx> {
        self.begin_with("begin").await
    }

    /// A transaction that waits for no lock longer than a moment: [`Error::Locked`].
    pub async fn begin_impatiently(&self) -> Result<Tx> {
        self.begin_with("begin; set local lock_timeout = '100ms'").await
    }

    /// A read-only transaction that sees one moment, however long it takes.
    pub async fn snapshot(&self) -> Result<Tx> {
        self.begin_with("begin isolation level repeatable read read only").await
    }

    async fn begin_with(&self, statement: &'static str) -> Result<Tx> {
        let permit = self.permit().await?;
        let mut left = STALE_CONNECTIONS;
        loop {
            // Whoever is dropped from here on takes the connection along.
            let mut open = Open { conn: self.pool.acquire().await?, ended: false };
            let begun = sqlx::raw_sql(statement).execute(&mut *open.conn);
            match tokio::time::timeout(ANSWER_LIMIT, begun).await {
                Ok(Ok(_)) => return Ok(Tx { open, _permit: permit }),
                Ok(Err(error)) if left > 0 && is_stale(&error) => left -= 1,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Error::Unavailable("a connection has gone silent".into())),
            }
        }
    }

    /// Gets in line for a lane, at most so long, and gives it back: what is measured is the wait.
    pub async fn try_lane(&self, limit: Duration) {
        drop(tokio::time::timeout(limit, self.permit()).await);
    }

    /// The longest that anybody has waited for a lane since this was last asked.
    pub fn take_longest_wait(&self) -> Duration {
        Duration::from_micros(self.longest_wait_us.swap(0, Ordering::Relaxed))
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let _wait = Wait { longest_us: &self.longest_wait_us, begun: Instant::now() };
        let waited = tokio::time::timeout(LANE_LIMIT, self.lanes.clone().acquire_owned()).await;
        waited.map_err(|_| Error::Busy)?.map_err(|_| Error::Unavailable("the service is stopping".into()))
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        let mut conn = self.pool.acquire().await?;
        sqlx::query("select 1").execute(&mut *conn).await?;
        Ok(())
    }
}

/// Somebody in line for a lane; measured however the wait ends.
struct Wait<'a> {
    longest_us: &'a AtomicU64,
    begun: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waited = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.longest_us.fetch_max(waited, Ordering::Relaxed);
    }
}

impl Tx {
    /// Makes it so when the work has succeeded, as if it never was when it has not. Either is done
    /// when this returns: a transaction that is merely dropped keeps its locks for a moment longer,
    /// and whoever was refused may try again at once.
    pub async fn end<T, E: From<Error>>(
        self,
        outcome: std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match outcome {
            Ok(done) => {
                self.commit().await?;
                Ok(done)
            }
            Err(refusal) => {
                self.abandon().await;
                Err(refusal)
            }
        }
    }

    /// Makes it so.
    pub async fn commit(mut self) -> Result<()> {
        sqlx::raw_sql("commit").execute(&mut *self.open.conn).await?;
        self.open.ended = true;
        Ok(())
    }

    /// As if it never was.
    pub async fn abandon(mut self) {
        match sqlx::raw_sql("rollback").execute(&mut *self.open.conn).await {
            Ok(_) => self.open.ended = true,
            Err(error) => {
                tracing::debug!(%error, "a transaction was not rolled back; its connection ends it");
            }
        }
    }
}

impl Deref for Lane {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Lane {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Deref for Tx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.open.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.open.conn
    }
}

const MIGRATION_TRIES: usize = 60;
const MIGRATION_PAUSE: Duration = Duration::from_secs(1);
/// What Postgres says when `lock_timeout` has passed.
const LOCK_NOT_WON: &str = "lock timeout";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Applies pending migrations, on a connection of its own. A migration may take long, but it does not
/// wait long for a table: while it waits, everybody waits behind it. It tries again instead.
pub async fn migrate(url: &str) -> std::result::Result<(), String> {
    use sqlx::{ConnectOptions as _, Connection as _};
    let options = options(url).map_err(|error| error.to_string())?.options([("lock_timeout", "2000")]);
    let mut conn =
        options.connect().await.map_err(|error| format!("the database does not answer: {error}"))?;
    let mut outcome = MIGRATIONS.run(&mut conn).await;
    for _ in 0..MIGRATION_TRIES {
        let Err(error) = &outcome else { break };
        if !error.to_string().contains(LOCK_NOT_WON) {
            break;
        }
        tracing::warn!(%error, "a migration waits for a table that is in use; trying again");
        tokio::time::sleep(MIGRATION_PAUSE).await;
        outcome = MIGRATIONS.run(&mut conn).await;
    }
    let outcome = outcome.map_err(|error| format!("the migrations cannot be applied: {error}"));
    if let Err(error) = conn.close().await {
        tracing::debug!(%error, "the migrations' connection did not close cleanly");
    }
    outcome
}

impl Db {
    /// Whether every migration of this binary has been applied.
    pub async fn is_migrated(&self) -> Result<bool> {
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
        let mut conn = self.pool.acquire().await?;
        let applied: std::result::Result<Option<i64>, _> =
            sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
                .fetch_one(&mut *conn)
                .await;
        match applied {
            Ok(applied) => Ok(applied >= newest),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url);
    // Compiling a plan takes longer than any statement here.
    let settings = [("client_min_messages", "warning"), ("jit", "off")];
    let options = options.map(|options| options.application_name("booking-service").options(settings));
    options.map_err(Error::from)
}

/// Waits until the database answers, at most `limit`; wrong credentials and names end the wait.
pub async fn await_answer(url: &str, limit: Duration) -> std::result::Result<(), String> {
    use sqlx::{ConnectOptions as _, Connection as _};
    let options = options(url).map_err(|error| format!("DATABASE_URL cannot be read: {error}"))?;
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let deadline = Instant::now() + limit;
    loop {
        let attempt = tokio::time::timeout(Duration::from_secs(5), options.connect()).await;
        let error = match attempt {
            Ok(Ok(conn)) => return conn.close().await.map_err(|error| error.to_string()),
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        let for_good = code.is_some_and(|code| code.starts_with("28") || code == "3D000");
        if for_good || Instant::now() >= deadline {
            let told = error.as_database_error().map(|error| error.message().to_owned());
            let told = told.unwrap_or_else(|| error.to_string());
            return Err(format!("the database at {place} cannot be used: {told}"));
        }
        tracing::warn!(place, %error, "the database does not answer yet; trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_passes_is_told_from_mistakes() {
        for code in ["08006", "53300", "57P01", "57014", "25006", "58030"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["23505", "42601", "22003", "40001"] {
            assert!(!is_passing(code), "{code}");
        }
    }
}

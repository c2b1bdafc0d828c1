//! The service in the test's process, on a database of its own, beside a queue service that only
//! listens. `TEST_DATABASE_URL` names the server (`scripts/test` sets it).

#![expect(clippy::expect_used, clippy::panic, reason = "a harness fails by panicking")]

mod completions;
mod queue;
mod shop;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::Instant;

pub use completions::Manner;
pub use queue::{FakeQueue, SERVICE_TOKEN};
pub use shop::Shop;

/// Looks until there is something to return; fails after `limit` with what it last saw.
pub async fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > limit => panic!("{what}: not within {limit:?}; last: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A database that goes with the test.
pub struct Database {
    server: String,
    pub url: String,
    name: String,
}

impl Database {
    pub async fn new() -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("TEST_DATABASE_URL is not set: run scripts/test, or set it to a server for tests");
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        run(&mut connect(&server).await, &format!("create database {name}")).await;
        let mut url = reqwest::Url::parse(&server).expect("TEST_DATABASE_URL is a URL");
        url.set_path(&name);
        Self { server, url: url.into(), name }
    }

    /// A connection to it.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }

    pub async fn remove(&self) {
        let drop_it = format!("drop database {} with (force)", self.name);
        run(&mut connect(&self.server).await, &drop_it).await;
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("Postgres at {url}: {error}"))
}

/// Runs statements of the test's own.
pub async fn run(conn: &mut PgConnection, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    outcome.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The one number that a query of the test's own answers.
pub async fn number(conn: &mut PgConnection, sql: &str) -> i64 {
    let outcome = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(conn).await;
    outcome.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Waits until `condition`, a question to the database, is true; fails after three seconds.
pub async fn until(conn: &mut PgConnection, condition: &str) {
    let limit = Duration::from_secs(3);
    let look = async {
        let question = || sqlx::query_scalar::<_, bool>(AssertSqlSafe(format!("select {condition}")));
        while !question().fetch_one(&mut *conn).await.expect("the database answers") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(limit, look).await;
    outcome.unwrap_or_else(|_| panic!("{condition}: not within {limit:?}"));
}

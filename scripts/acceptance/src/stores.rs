//! The two servers that tests are given, and in them a key prefix and a database per world.
//!
//! A database is copied from a template that has the migrations of `booking-service/migrations`
//! applied; the template is made once per server and content of that folder.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::binaries::repository;

const TEMPLATE_LOCK: &str = "select pg_advisory_lock(720451)";

/// Where one world keeps its state.
pub struct Stores {
    pub redis_url: String,
    pub redis_prefix: String,
    /// None for a world that has a Postgres of its own.
    pub database: Option<Database>,
}

/// A database of its own.
pub struct Database {
    pub url: String,
    name: String,
}

impl Stores {
    /// A fresh prefix, and a fresh database in the shared server when one is wanted.
    pub async fn new(with_database: bool) -> Self {
        let id = uuid::Uuid::new_v4().simple();
        let database = if with_database { Some(Database::new(&format!("test_{id}")).await) } else { None };
        Self { redis_url: given("TEST_REDIS_URL"), redis_prefix: format!("test-{id}:"), database }
    }

    /// Leaves nothing behind.
    pub async fn remove(&self) {
        if let Some(database) = &self.database {
            let drop_it = format!("drop database if exists {} with (force)", database.name);
            run(&mut connect(&server_url()).await, drop_it).await;
        }
        self.forget_redis().await;
    }

    async fn forget_redis(&self) {
        let client = redis::Client::open(self.redis_url.as_str()).expect("TEST_REDIS_URL can be read");
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("Redis at TEST_REDIS_URL answers");
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.redis_prefix)).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<String>) =
                scan.query_async(&mut connection).await.expect("Redis scans");
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys).query_async::<()>(&mut connection).await.expect("Redis forgets");
            }
            cursor = next;
            if cursor == 0 {
                return;
            }
        }
    }
}

impl Database {
    async fn new(name: &str) -> Self {
        let mut server = connect(&server_url()).await;
        let template = template(&mut server).await;
        run(&mut server, format!("create database {name} template {template}")).await;
        Self { url: url_of(name), name: name.to_owned() }
    }
}

/// The template of today's migrations, made when this server does not have it yet.
async fn template(server: &mut PgConnection) -> String {
    let folder = repository().join("booking-service/migrations");
    let name = format!("acceptance_{:016x}", content_hash(&folder));
    sqlx::raw_sql(TEMPLATE_LOCK).execute(&mut *server).await.expect("the lock is given");
    let known = sqlx::query("select count(*) from pg_database where datname = $1").bind(&name);
    let known: i64 = known.fetch_one(&mut *server).await.expect("Postgres lists databases").get(0);
    if known == 0 {
        let making = format!("{name}_making");
        run(server, format!("drop database if exists {making} with (force)")).await;
        run(server, format!("create database {making}")).await;
        let mut inside = connect(&url_of(&making)).await;
        let migrator = Migrator::new(folder).await.expect("the migrations can be read");
        migrator.run(&mut inside).await.expect("the migrations can be applied");
        inside.close().await.expect("the connection ends");
        run(server, format!("alter database {making} rename to {name}")).await;
    }
    sqlx::raw_sql("select pg_advisory_unlock_all()").execute(server).await.expect("the lock is returned");
    name
}

fn content_hash(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("booking-service/migrations can be listed");
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        (file.file_name(), std::fs::read(&file).unwrap_or_default()).hash(&mut hasher);
    }
    hasher.finish()
}

pub(crate) fn given(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or set what it sets"))
}

fn server_url() -> String {
    given("TEST_DATABASE_URL")
}

fn url_of(database: &str) -> String {
    let mut url = reqwest::Url::parse(&server_url()).expect("TEST_DATABASE_URL is a URL");
    url.set_path(database);
    url.into()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("Postgres at {url}: {error}"))
}

async fn run(connection: &mut PgConnection, sql: String) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(connection).await;
    outcome.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

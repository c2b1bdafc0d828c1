//! A booking service on a database of its own, with one date to sell.
//!
//! The database keeps what it promises: nothing about `fsync` is turned off.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use shared::clock::{Clock, rfc3339};
use sqlx::{Connection as _, PgConnection};

use crate::stand::{Service, Stand};

const SEATS_PER_ROW: u32 = 20;
const ROWS_PER_SECTION: u32 = 50;
/// A body larger than the service takes would be needed for more.
const MOST_IN_ROWS: u32 = 100_000;

/// What is sold, and to whom.
#[derive(Clone, Debug)]
pub struct Terms {
    pub queue: &'static str,
    pub halls: u32,
    pub seats: u32,
    pub price: i64,
    pub hold_seconds: u32,
    pub replicas: usize,
}

/// Running, with dates on sale.
pub struct House {
    pub services: Vec<Service>,
    /// The dates, one a hall.
    pub schedules: Vec<String>,
    pub conn: PgConnection,
    clock: Clock,
}

impl House {
    /// Completions go to the ops listener `queue_ops`.
    pub async fn open(stand: &Stand, queue_ops: SocketAddr, terms: &Terms) -> anyhow::Result<Self> {
        let url = new_database(&stand.place.database_url).await?;
        let settings = [("HOLD_TTL_SECONDS", terms.hold_seconds.to_string())];
        let mut services = Vec::new();
        for _ in 0..terms.replicas.max(1) {
            services.push(stand.booking(&url, queue_ops, &settings).await?);
        }
        let conn = PgConnection::connect(&url).await?;
        let mut house = Self { services, schedules: Vec::new(), conn, clock: Clock::system() };
        let concert = json!({ "title": "Load test", "queue": terms.queue });
        let concert = house.made("/admin/v1/concerts", &concert, "concert_id").await?;
        for _ in 0..terms.halls.max(1) {
            let path = format!("/admin/v1/concerts/{concert}/schedules");
            let date = house.made(&path, &house.date(terms), "schedule_id").await?;
            house.schedules.push(date);
        }
        Ok(house)
    }

    fn date(&self, terms: &Terms) -> Value {
        let (day, now) = (chrono::TimeDelta::days(1), self.clock.now());
        let rows = terms.seats.div_ceil(SEATS_PER_ROW);
        let seats = if terms.seats > MOST_IN_ROWS {
            json!({ "count": terms.seats, "price": terms.price })
        } else {
            let row = |row: u32| {
                let (section, number) = (row / ROWS_PER_SECTION + 1, row % ROWS_PER_SECTION + 1);
                let (from, to) = (row * SEATS_PER_ROW + 1, ((row + 1) * SEATS_PER_ROW).min(terms.seats));
                json!({ "section": section.to_string(), "row": number.to_string(), "from": from, "to": to,
                        "price": terms.price })
            };
            json!({ "blocks": (0..rows).map(row).collect::<Vec<_>>() })
        };
        json!({ "starts_at": rfc3339(now + day * 30), "sales_open_at": rfc3339(now - day),
                "sales_close_at": rfc3339(now + day * 20), "seats": seats })
    }

    async fn made(&self, path: &str, body: &Value, id: &str) -> anyhow::Result<String> {
        let (status, told) = self.first().admin("POST", path, Some(body)).await?;
        ensure!(status == 201, "POST {path} is answered {status}: {told}");
        Ok(told[id].as_str().with_context(|| format!("there is no {id}"))?.to_owned())
    }

    /// Gives everybody ([`crate::tokens::person`]) up to number `people` so many points, as if each had charged them once.
    pub async fn give_points(&mut self, people: u64, points: i64) -> anyhow::Result<()> {
        for statement in [ACCOUNTS, CHARGES] {
            let statement = sqlx::query(statement).bind(i64::try_from(people)? - 1).bind(points);
            statement.execute(&mut self.conn).await.context("points cannot be given")?;
        }
        for statement in ["vacuum analyze", "checkpoint"] {
            sqlx::raw_sql(statement).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Seats `(sold, held)` and revenue of a date, by its report.
    pub async fn report(&self, schedule: &str) -> anyhow::Result<(u64, u64, i64)> {
        let path = format!("/admin/v1/schedules/{schedule}/report");
        let (status, told) = self.first().admin("GET", &path, None).await?;
        ensure!(status == 200, "GET {path} is answered {status}: {told}");
        let number = |name: &str| told[name].as_i64().with_context(|| format!("the report has no {name}"));
        Ok((u64::try_from(number("sold")?)?, u64::try_from(number("held")?)?, number("revenue")?))
    }

    /// Live tickets of all dates, by the database.
    pub async fn tickets(&mut self) -> anyhow::Result<u64> {
        let counted = sqlx::query_scalar::<_, i64>("select count(*) from tickets where refund_id is null");
        Ok(u64::try_from(counted.fetch_one(&mut self.conn).await?)?)
    }

    /// What the books' audit finds; empty = they are in order.
    pub async fn violations(&self) -> anyhow::Result<Vec<String>> {
        let (status, told) = self.first().admin("GET", "/admin/v1/audit", None).await?;
        ensure!(status == 200, "the audit is answered {status}: {told}");
        let listed = told["violations"].as_array().context("the audit lists no violations")?;
        let mut found: Vec<String> = listed.iter().map(Value::to_string).collect();
        if found.is_empty() && told["ok"] != true {
            found.push(told.to_string());
        }
        Ok(found)
    }

    /// Stops the services.
    pub async fn close(self) -> anyhow::Result<()> {
        for service in self.services {
            service.stop().await?;
        }
        Ok(self.conn.close().await?)
    }

    fn first(&self) -> &Service {
        &self.services[0]
    }
}

async fn new_database(url: &str) -> anyhow::Result<String> {
    let name = format!("load_{}", uuid::Uuid::new_v4().simple());
    let stem = &url[..=url.rfind('/').context("LOAD_DATABASE_URL names no database")?];
    let mut conn = PgConnection::connect(url).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&mut conn).await?;
    conn.close().await?;
    Ok(format!("{stem}{name}"))
}

/// `$1` the last person's number, `$2` points.
const ACCOUNTS: &str = "insert into accounts (user_id, balance, last_seq)
    select '00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'), $2::bigint, 1 from generate_series(0, $1::bigint) n";

const CHARGES: &str = "insert into ledger
        (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause, at)
    select '00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'), 1, id, 'charge', 'funding', $2::bigint, $2::bigint, id, db_now(0)
    from (select n, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid id
          from generate_series(0, $1::bigint) n) given";

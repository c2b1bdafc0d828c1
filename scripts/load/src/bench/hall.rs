//! A booking service on a database of its own, dates to sell, and bulk work beside the service.
//!
//! The database keeps what it promises: `fsync` and `synchronous_commit` are on, as Postgres has them unasked. Its books are audited
//! when the hall is closed, whoever wrote into them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use shared::clock::{Clock, rfc3339};
use shared::ids::new_id;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::Bench;
use super::compare::{self, Side};
use super::row::Spread;
use crate::stand::{Service, Usage};
use crate::work::Prepared;

/// In front of all dates.
pub const QUEUE: &str = "hall";
/// Of every seat.
const PRICE: i64 = 1000;
const POINTS: i64 = 1_000_000;
/// Holds outlast the run: nothing sweeps them meanwhile.
const HOLD_SECONDS: u32 = 7200;

/// A running booking service, and what it stands on.
pub struct Hall {
    pub booking: Service,
    pub database_url: String,
    queue: Service,
    conn: PgConnection,
    concert: String,
    on_sale: Option<Uuid>,
    clock: Clock,
}

/// What a run of writing requests found: how many a second and in all, and in microseconds of processor time each.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub rate: f64,
    pub answers: f64,
    pub service_us: f64,
    pub postgres_us: f64,
    pub asked_us: f64,
}

impl Written {
    /// The median of each cost, in words.
    pub fn told(all: &[Self]) -> String {
        let median = |of: fn(&Self) -> f64| Spread::of(all.iter().map(of).collect()).median;
        let (service, postgres) = (median(|one| one.service_us), median(|one| one.postgres_us));
        let asked = median(|one| one.asked_us);
        format!(
            "processor time: {service:.0} µs of the service, {postgres:.0} µs of Postgres, generator {asked:.0} µs"
        )
    }
}

/// Somebody's hold, made beforehand.
#[derive(Debug, sqlx::FromRow)]
pub struct Held {
    pub id: Uuid,
    pub user_id: String,
    pub entry_jti: String,
}

impl Hall {
    pub async fn open(bench: &Bench) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let named = format!("bench_{}", Uuid::new_v4().simple());
        let mut url = up_to_the_name(&bench.stand.place.database_url)?;
        let mut conn = PgConnection::connect(&bench.stand.place.database_url).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {named}"))).execute(&mut conn).await?;
        conn.close().await?;
        url.push_str(&named);
        let queue = bench.stand.queue(&[]).await?;
        let (status, told) =
            queue.admin("PUT", &format!("/admin/v1/queues/{QUEUE}"), Some(&json!({}))).await?;
        ensure!(status < 300, "the queue cannot be made: {status} {told}");
        let hold = [("HOLD_TTL_SECONDS", HOLD_SECONDS.to_string())];
        let booking = bench.stand.booking(&url, queue.ops(), &hold).await?;
        let body = json!({ "title": "Benchmark", "queue": QUEUE });
        let (status, told) = booking.admin("POST", "/admin/v1/concerts", Some(&body)).await?;
        ensure!(status == 201, "a concert cannot be made: {status} {told}");
        let concert = told["concert_id"].as_str().context("the concert has no id")?.to_owned();
        let mut conn = PgConnection::connect(&url).await?;
        // Tables that nobody has analyzed pass for tiny ones, which are gone through row by row.
        sqlx::raw_sql("set enable_nestloop = off").execute(&mut conn).await?;
        Ok(Self { booking, database_url: url, queue, conn, concert, on_sale: None, clock })
    }

    /// A date on sale, with seats in sections and rows. The one before is on sale no more: its seats would be counted
    /// with these.
    pub async fn date(&mut self, seats: u32, limit: Option<u32>) -> anyhow::Result<Uuid> {
        const ROW: u32 = 10;
        let blocks: Vec<Value> = (0..seats.div_ceil(ROW))
            .map(|row| {
                let (from, to) = (row * ROW + 1, ((row + 1) * ROW).min(seats));
                let section = format!("Block {}", row / 50 + 1);
                json!({ "section": section, "row": (row % 50 + 1).to_string(), "from": from, "to": to, "price": PRICE })
            })
            .collect();
        let (day, now) = (chrono::TimeDelta::days(1), self.clock.now());
        let mut body = json!({
            "starts_at": rfc3339(now + day * 30), "sales_open_at": rfc3339(now - day),
            "sales_close_at": rfc3339(now + day * 20), "max_seats_per_user": limit,
            "seats": { "blocks": blocks },
        });
        if blocks_are_many(seats) {
            // The body would be larger than the service takes.
            body["seats"] = json!({ "count": seats, "price": PRICE });
        }
        let path = format!("/admin/v1/concerts/{}/schedules", self.concert);
        if let Some(before) = self.on_sale.take() {
            let path = format!("/admin/v1/schedules/{before}");
            let over = json!({ "sales_close_at": rfc3339(now) });
            let (status, told) = self.booking.admin("PATCH", &path, Some(&over)).await?;
            ensure!(status == 200, "the sale of a date cannot be ended: {status} {told}");
        }
        let (status, told) = self.booking.admin("POST", &path, Some(&body)).await?;
        ensure!(status == 201, "a date cannot be made: {status} {told}");
        let date = told["schedule_id"].as_str().context("the date has no id")?.parse()?;
        self.on_sale = Some(date);
        Ok(date)
    }

    /// What ids begin with that are made from now on outside the service: as old as its own.
    pub fn prefix(&self) -> String {
        new_id(&self.clock).simple().to_string()[..12].to_owned()
    }

    /// Holds all seats of a date, each for a user of its own who has points.
    pub async fn hold_all(&mut self, schedule: Uuid, prefix: &str) -> anyhow::Result<Vec<Held>> {
        for statement in [ACCOUNTS, CHARGES, RESERVATIONS, SEATS] {
            let done = sqlx::query(statement)
                .bind(schedule)
                .bind(prefix)
                .bind(POINTS)
                .bind(QUEUE)
                .bind(f64::from(HOLD_SECONDS))
                .execute(&mut self.conn)
                .await;
            done.context("holds cannot be made beforehand")?;
        }
        let found = sqlx::query_as(
            "select id, user_id, entry_jti from reservations where schedule_id = $1 order by id",
        );
        Ok(found.bind(schedule).fetch_all(&mut self.conn).await?)
    }

    /// Requests that each write something, for so long or until none is left: their rate, and what they cost.
    pub async fn put(&mut self, work: &Arc<Prepared>, seconds: u32) -> anyhow::Result<Written> {
        let (side, before) = (Side::of(&self.booking)?, self.postgres().await?);
        let found =
            compare::metered(side, Duration::from_secs(seconds.into()), work, &Arc::default()).await?;
        let postgres_us = (self.postgres().await? - before) * 1e6 / found.answers;
        Ok(Written {
            rate: found.rate,
            answers: found.answers,
            service_us: found.served_us,
            postgres_us,
            asked_us: found.asked_us,
        })
    }

    /// Whether just so many seats of a date are `held` or `sold`.
    pub async fn check(&mut self, schedule: Uuid, state: &str, expected: f64) -> anyhow::Result<()> {
        let counted: i64 =
            sqlx::query_scalar("select count(*) from seats where schedule_id = $1 and state = $2")
                .bind(schedule)
                .bind(state)
                .fetch_one(&mut self.conn)
                .await?;
        let counted = f64::from(i32::try_from(counted)?);
        ensure!((counted - expected).abs() < 0.5, "{counted} seats are {state} and not {expected}");
        Ok(())
    }

    /// Processor seconds of Postgres so far, of all of its processes that are there now.
    pub async fn postgres(&mut self) -> anyhow::Result<f64> {
        let ids: Vec<i32> =
            sqlx::query_scalar("select pid from pg_stat_activity").fetch_all(&mut self.conn).await?;
        let used = ids.into_iter().filter_map(|id| Usage::of(u32::try_from(id).ok()?).ok());
        Ok(used.map(|usage| usage.processor.as_secs_f64()).sum())
    }

    /// The planner knows what was prepared. One commit, and no checkpoint: after one, the first change of
    /// each page is written twice, and samples would pay for that.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        let statement = "begin; analyze seats, reservations, accounts, ledger; commit";
        sqlx::raw_sql(statement).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Audits the books and stops everything.
    pub async fn close(self) -> anyhow::Result<()> {
        let (status, told) = self.booking.admin("GET", "/admin/v1/audit", None).await?;
        ensure!(status == 200 && told["ok"] == true, "the books are not clean: {status} {told}");
        self.booking.stop().await?;
        self.queue.stop().await?;
        Ok(self.conn.close().await?)
    }
}

fn blocks_are_many(seats: u32) -> bool {
    seats > 50_000
}

/// The URL up to the name of the database.
fn up_to_the_name(url: &str) -> anyhow::Result<String> {
    let end = url.rfind('/').context("LOAD_DATABASE_URL names no database")?;
    Ok(url[..=end].to_owned())
}

/// People and ids of a prefix, one for each seat of a date: `$1` date, `$2` prefix, `$3` points, `$4` queue,
/// `$5` seconds. pgbench computes the same ones.
macro_rules! each_seat {
    ($rest:literal) => {
        concat!(
            "with given as (
                select number, price, md5($2::text || number)::uuid::text as user_id,
                    ($2::text || lpad(to_hex(number), 20, '0'))::uuid as id,
                    ($2::text || lpad(to_hex(number + 536870912), 20, '0'))::uuid as entry_id,
                    md5('j' || $2::text || number)::uuid::text as jti,
                    $3::bigint as points, $4::text as queue,
                    clock_timestamp() + make_interval(secs => $5) as until
                from seats where schedule_id = $1
            ) ",
            $rest
        )
    };
}

const ACCOUNTS: &str =
    each_seat!("insert into accounts (user_id, balance, last_seq) select user_id, points, 1 from given");

const CHARGES: &str = each_seat!(
    "insert into ledger (user_id, seq, entry_id, kind, counter_account, amount, balance_after, cause, at)
     select user_id, 1, entry_id, 'charge', 'funding', points, points, entry_id, db_now(0) from given"
);

const RESERVATIONS: &str = each_seat!(
    "insert into reservations (id, user_id, schedule_id, queue, entry_jti, entry_queue, entry_exp, seat_numbers,
        prices, seat_count, amount, held_at, expires_at, status)
     select id, user_id, $1, queue, jti, queue, extract(epoch from until)::bigint, array[number], array[price], 1,
        price, db_now(0), until, 'held'
     from given order by id"
);

const SEATS: &str = each_seat!(
    "update seats s set state = 'held', hold_id = g.id, held_by = g.user_id, held_until = r.expires_at
     from given g join reservations r on r.id = g.id
     where s.schedule_id = $1 and s.number = g.number"
);

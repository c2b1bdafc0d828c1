//! Each load test in small, on real servers: whether it runs to its end, and what it promises is kept.
//!
//! Speed is not judged here. `scripts/test` names the servers (`TEST_DATABASE_URL`); each test has a Redis and a
//! database of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::process::ExitCode;

use acceptance::{RedisServer, binary};
use clap::Parser as _;
use load::stand::Place;
use load::{booking_alone, queue_alone, sale};

/// Longer than anything takes, in milliseconds.
const NO_LIMIT: &str = "60000";

struct Ground {
    place: Place,
    folder: std::path::PathBuf,
    _redis: RedisServer,
}

impl Ground {
    async fn new() -> Self {
        let redis = RedisServer::start(&[]).await;
        let folder = std::env::temp_dir().join(format!("load-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        let programs = binary("queue-service").parent().unwrap().to_owned();
        let database_url = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL: run scripts/test");
        let place = Place { redis_url: redis.url(), database_url, programs, folder: folder.clone() };
        Self { place, folder, _redis: redis }
    }

    /// The report of a test that has ended so.
    fn report(&self, name: &str, ended: anyhow::Result<ExitCode>) -> serde_json::Value {
        ended.unwrap();
        assert!(self.folder.join(format!("{name}.html")).is_file());
        let data = std::fs::read(self.folder.join(format!("{name}.json"))).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&data).unwrap();
        assert_eq!(report["ok"], true, "{:#}", report["checks"]);
        report
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn good(report: &serde_json::Value, what: &str) -> u64 {
    let requests = report["requests"].as_array().unwrap();
    let kind = requests.iter().find(|kind| kind["what"] == what).unwrap_or_else(|| panic!("no {what}"));
    let outcomes = kind["outcomes"].as_object().unwrap();
    outcomes.iter().filter(|(what, _)| what.starts_with('2')).filter_map(|(_, times)| times.as_u64()).sum()
}

#[tokio::test]
async fn people_in_line_are_served_in_order_and_within_the_limits() {
    let ground = Ground::new().await;
    let arguments = ["load-queue", "--people=600", "--seconds=4", "--admit=50", "--stay-ms=300"];
    let limits = [format!("--poll-p99-ms={NO_LIMIT}"), format!("--join-p99-ms={NO_LIMIT}")];
    let arguments = arguments.map(str::to_owned).into_iter().chain(limits);
    let arguments = queue_alone::Arguments::parse_from(arguments);
    let ended = queue_alone::run(arguments, ground.place.clone(), &ground.folder).await;
    let report = ground.report("load-queue", ended);
    assert!(good(&report, "poll") > 100 && good(&report, "completion") > 10, "{:#}", report["requests"]);
}

#[tokio::test]
async fn shoppers_get_what_they_are_told() {
    let ground = Ground::new().await;
    let arguments = ["load-booking", "--rate=60", "--seconds=4", "--seats=200", "--hold-seconds=2"];
    let limits = ["hold", "pay", "map"].map(|kind| format!("--{kind}-p99-ms={NO_LIMIT}"));
    let arguments = arguments.map(str::to_owned).into_iter().chain(limits);
    let arguments = booking_alone::Arguments::parse_from(arguments);
    let ended = booking_alone::run(arguments, ground.place.clone(), &ground.folder).await;
    let report = ground.report("load-booking", ended);
    assert!(good(&report, "payment") > 50 && good(&report, "refund") > 0, "{:#}", report["requests"]);
}

#[tokio::test]
async fn a_hall_is_sold_out() {
    let ground = Ground::new().await;
    let arguments =
        ["load-sale", "--seats=150", "--people=400", "--joining=2", "--opening=1", "--max-active=40"];
    let arguments = sale::Arguments::parse_from(arguments);
    let ended = sale::run(arguments, ground.place.clone(), &ground.folder).await;
    let report = ground.report("load-sale", ended);
    assert!(good(&report, "payment") >= 150 / 4, "{:#}", report["requests"]);
}

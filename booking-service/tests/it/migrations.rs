//! From nothing, and from an older version with data, to the newest; what was there goes on working.

use std::process::Output;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::migrate::Migrator;

use crate::harness::{Database, FakeQueue, Shop, number, run, within};
use crate::{FINE, run as program};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
/// The version whose data is in the fixture.
const OLD: i64 = 7;
const FIXTURE: &str = include_str!("fixtures/version_7.sql");

fn id(number: u32) -> String {
    format!("018f0000-0000-7000-8000-{number:012}")
}

/// A database of the old version, in use.
async fn old_database() -> Database {
    let database = Database::new().await;
    let mut conn = database.connect().await;
    MIGRATIONS.run_to(OLD, &mut conn).await.unwrap();
    run(&mut conn, FIXTURE).await;
    for table in TABLES {
        assert!(number(&mut conn, &format!("select count(*) from {table}")).await > 0, "{table} is empty");
    }
    database
}

const TABLES: [&str; 13] = [
    "concerts",
    "schedules",
    "seats",
    "reservations",
    "buyers",
    "accounts",
    "ledger",
    "payments",
    "tickets",
    "refunds",
    "idempotency",
    "spent_entries",
    "outbox",
];

/// A command that needs the database alone.
fn command(name: &str, database: &Database) -> Output {
    program(&[name], &[("DATABASE_URL", &database.url)]).unwrap()
}

#[track_caller]
fn succeeds(output: &Output) {
    let told = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{told:?}");
}

async fn applied(database: &Database) -> i64 {
    number(&mut database.connect().await, "select count(*) from _sqlx_migrations where success").await
}

#[tokio::test]
async fn an_empty_database_becomes_the_newest_and_a_second_time_changes_nothing() {
    let database = Database::new().await;
    for _ in 0..2 {
        succeeds(&command("migrate", &database));
        assert_eq!(applied(&database).await, i64::try_from(MIGRATIONS.iter().count()).unwrap());
    }
    succeeds(&command("audit", &database));
    database.remove().await;
}

#[tokio::test]
async fn old_data_passes_the_audit_and_works_through_the_verbs() {
    let database = old_database().await;
    succeeds(&command("migrate", &database));
    succeeds(&command("audit", &database));
    let shop = Shop::over(database, FakeQueue::start().await).await;
    reads_old_rows(&shop).await;
    replays_the_old_key(&shop).await;

    let paid =
        shop.expect(201, "bob", Method::POST, "/v1/payments", json!({ "reservation_id": id(23) })).await;
    assert_eq!((&paid["amount"], &paid["balance_after"]), (&json!(200), &json!(800)));
    let refund = format!("/v1/payments/{}/refund", id(41));
    let refunded = shop.expect(201, "ann", Method::POST, &refund, json!({})).await;
    assert_eq!((&refunded["amount"], &refunded["balance_after"]), (&json!(200), &json!(500)));
    let again = format!("/v1/payments/{}/refund", id(42));
    shop.expect(409, "ann", Method::POST, &again, json!({})).await;
    let lapsed =
        shop.expect(410, "cem", Method::POST, "/v1/payments", json!({ "reservation_id": id(25) })).await;
    assert_eq!(lapsed["code"], "hold_expired");
    let more = json!({ "schedule_id": id(12), "seat_numbers": [2] });
    let limited = shop.expect(409, "dan", Method::POST, "/v1/reservations", more).await;
    assert_eq!(limited["code"], "seat_limit_reached");
    shop.expect(201, "dan", Method::POST, "/v1/payments", json!({ "reservation_id": id(27) })).await;
    // Given back, lapsed and cancelled: free for anybody.
    let seats = json!({ "schedule_id": id(11), "seat_numbers": [1, 3, 6, 7] });
    shop.expect(201, "eve", Method::POST, "/v1/reservations", seats).await;

    within(Duration::from_secs(10), "the queue hears of old and new", || {
        let mut heard = shop.queue.completions.heard("main");
        heard.sort();
        if heard == ["jti-ann", "jti-bob"] || heard == ["jti-ann", "jti-bob", "jti-moot"] {
            Ok(())
        } else {
            Err(format!("{heard:?}"))
        }
    })
    .await;
    succeeds(&command("audit", &shop.database));
    shop.close().await;
}

async fn reads_old_rows(shop: &Shop) {
    let history = shop.expect(200, "ann", Method::GET, "/v1/points/history", Value::Null).await;
    let rows: Vec<_> = history["items"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["payment", "use", "refund", "payment", "charge"]);
    let amounts: Vec<_> = rows.iter().map(|row| row["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [-200, -500, 100, -100, 1000]);
    for (user, number, status) in [
        ("ann", 21, "confirmed"),
        ("ann", 22, "refunded"),
        ("bob", 23, "held"),
        ("cem", 24, "expired"),
        ("cem", 25, "expired"),
        ("cem", 26, "cancelled"),
    ] {
        let path = format!("/v1/reservations/{}", id(number));
        let shown = shop.expect(200, user, Method::GET, &path, Value::Null).await;
        assert_eq!(shown["status"], status, "{shown}");
    }
    let receipt =
        shop.expect(200, "ann", Method::GET, &format!("/v1/payments/{}", id(41)), Value::Null).await;
    assert_eq!((&receipt["amount"], &receipt["balance_after"]), (&json!(200), &json!(300)));
    let map =
        shop.expect(200, "eve", Method::GET, &format!("/v1/schedules/{}/seats", id(11)), Value::Null).await;
    assert_eq!(map["available_seat_numbers"], json!([3, 6, 7, 8, 9, 10]));
}

async fn replays_the_old_key(shop: &Shop) {
    let path = "/v1/points/charges";
    let body = json!({ "amount": 1000 });
    let (status, answer) = shop.call_with("bob", Method::POST, path, Some(body), "old-charge").await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer, json!({ "entry_id": id(36), "amount": 1000, "balance": 1000 }));
    let other = Some(json!({ "amount": 1 }));
    assert_eq!(shop.call_with("bob", Method::POST, path, other, "old-charge").await.0, 422);
    assert_eq!(shop.expect(200, "bob", Method::GET, "/v1/points", Value::Null).await["balance"], 1000);
}

#[tokio::test]
async fn replicas_that_migrate_at_once_do_it_once() {
    let database = old_database().await;
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..3).map(|_| scope.spawn(|| command("migrate", &database))).collect();
        for racer in racers {
            succeeds(&racer.join().unwrap());
        }
    });
    assert_eq!(applied(&database).await, i64::try_from(MIGRATIONS.iter().count()).unwrap());
    succeeds(&command("audit", &database));
    database.remove().await;
}

#[tokio::test]
async fn without_migrate_a_service_refuses_an_old_database_and_says_why() {
    let database = old_database().await;
    let mut settings = FINE.to_vec();
    settings.retain(|(name, _)| *name != "DATABASE_URL");
    settings.extend([
        ("DATABASE_URL", database.url.as_str()),
        ("MIGRATE", "false"),
        ("BOOKING_ADDR", "127.0.0.1:0"),
        ("BOOKING_OPS_ADDR", "127.0.0.1:0"),
    ]);
    let output = program(&["serve"], &settings).unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("lacks migrations") && told.contains("booking-service migrate"), "{told}");
    assert_eq!(applied(&database).await, OLD, "it migrated all the same");
    database.remove().await;
}

#[tokio::test]
async fn a_migration_that_cannot_be_applied_fails_the_command() {
    let database = old_database().await;
    let mut conn = database.connect().await;
    // Applied once, and changed since.
    run(&mut conn, r"update _sqlx_migrations set checksum = '\x00' where version = 3").await;
    let output = command("migrate", &database);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be applied"), "{output:?}");
    assert_eq!(applied(&database).await, OLD);
    let gone = database.url.clone() + "-which-is-not-there";
    let output = program(&["migrate"], &[("DATABASE_URL", &gone)]).unwrap();
    assert!(!output.status.success() && !output.stderr.is_empty(), "{output:?}");
    database.remove().await;
}

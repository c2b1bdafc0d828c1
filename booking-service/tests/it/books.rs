//! `booking-service audit` over the books of a large shop: it reads them all, and one wrong point is found.
//! `BOOKS_PAYMENTS` says how large; with `--nocapture` it tells how long it took and how much memory.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Database, run};

const PAYMENTS: u64 = 3000;

fn audit(database: &Database) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_booking-service"));
    command.arg("audit").env_clear().env("DATABASE_URL", &database.url);
    let output = command.output().unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, told)
}

#[tokio::test]
#[expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tells what it measured; asserts no time"
)]
async fn the_books_of_many_are_read_and_one_wrong_point_is_found() {
    let payments =
        std::env::var("BOOKS_PAYMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(PAYMENTS);
    let database = Database::new().await;
    let mut migrate = Command::new(env!("CARGO_BIN_EXE_booking-service"));
    assert!(
        migrate.arg("migrate").env_clear().env("DATABASE_URL", &database.url).status().unwrap().success()
    );
    let mut conn = database.connect().await;
    let books = include_str!("fixtures/books_of_many.sql").replace("PAYMENTS", &payments.to_string());
    run(&mut conn, &books).await;
    run(&mut conn, "analyze").await;

    let begun = std::time::Instant::now();
    let (output, books) = audit(&database);
    eprintln!("read in {:?}: {}", begun.elapsed(), books["checked"]);
    assert!(output.status.success(), "{books}");
    assert_eq!((&books["ok"], &books["checked"]["payments"]), (&true.into(), &payments.into()));

    for (spoil, rule) in [
        ("update accounts set balance = balance + 1 where user_id = 'user-7'", "balance_is_sum_of_ledger"),
        ("update tickets set price = 999 where number = 8", "ticket_price_adds_up"),
        ("update seats set held_by = 'thief' where number = 9", "sold_seat_has_one_unrefunded_payment"),
    ] {
        run(&mut conn, spoil).await;
        let (output, books) = audit(&database);
        assert_eq!((output.status.code(), &books["ok"]), (Some(1), &false.into()), "{spoil}");
        let found = books["violations"].as_array().unwrap().iter().any(|broken| broken["rule"] == rule);
        assert!(found, "{spoil}: {books}");
    }
    database.remove().await;
}

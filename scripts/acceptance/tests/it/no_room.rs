//! The database fails in the middle of a statement: it has no room for a row. Whichever row that is, nothing of the
//! rest is there, and the same request with its key is carried out once there is room. Requirements 36 and 64;
//! between the statements: `crashes`.
//!
//! ```text
//!   before ─ no room in a table ─ ask: 503 ─ ask: 503 ─ all as before? ─ room ─ ask: 201 ─ ask: the same
//! ```

use acceptance::{Builder, Call, PRICE, Row, User, World};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// As the disk says it.
const NO_ROOM: &str = "
    create function no_room() returns trigger language plpgsql
    as $$ begin raise exception 'no space left' using errcode = 'disk_full'; end $$";
const HOLD: [&str; 5] = ["seats", "reservations", "spent_entries", "outbox", "idempotency"];
const PAYMENT: [&str; 9] = [
    "seats",
    "accounts",
    "ledger",
    "reservations",
    "payments",
    "tickets",
    "spent_entries",
    "outbox",
    "idempotency",
];
const REFUND: [&str; 7] =
    ["refunds", "tickets", "reservations", "seats", "accounts", "ledger", "idempotency"];
const POINTS: [&str; 3] = ["accounts", "ledger", "idempotency"];

fn open(world: Builder) -> Builder {
    world.open_door().with_outages()
}

async fn database(world: &World) -> PgConnection {
    let mut database = PgConnection::connect(world.database_url()).await.expect("Postgres answers");
    run(&mut database, NO_ROOM).await;
    database
}

async fn run(database: &mut PgConnection, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(database).await;
    outcome.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Somebody inside with the points for a seat.
async fn newcomer<'w>(world: &'w World, table: &str) -> User<'w> {
    let user = world.user(&format!("without-{table}"));
    user.enter().await;
    user.charge(PRICE).await.ok(201);
    user
}

/// The picture above.
async fn story<'w>(
    world: &World,
    database: &mut PgConnection,
    table: &str,
    user: &User<'_>,
    ask: impl Fn() -> Call<'w>,
) {
    let books = world.books(&[user]).await;
    let event = format!("before insert or update on {table} for each row");
    run(database, &format!("create trigger full_disk {event} execute function no_room()")).await;
    for _ in 0..2 {
        ask().await.refused(503, "unavailable");
    }
    run(database, &format!("drop trigger full_disk on {table}")).await;
    books.unchanged().await;
    let answer = ask().await.ok(201);
    assert_eq!(ask().await.ok(201).body, answer.body, "{table}");
}

#[test]
fn a_hold_without_room_for_one_of_its_rows_was_never_made() {
    open(World::s3()).run(async |world| {
        let mut database = database(world).await;
        for (table, number) in HOLD.into_iter().zip(1..) {
            let user = newcomer(world, table).await;
            let body = json!({ "schedule_id": world.date().id, "seat_numbers": [number] });
            let ask = || user.row(Row::Reserve, "POST", "/v1/reservations").json(&body).key("hold");
            story(world, &mut database, table, &user, ask).await;
            world.admin().until_completed(number).await;
        }
    });
}

/// 36, 64
#[test]
fn a_payment_without_room_for_one_of_its_rows_was_never_made() {
    open(World::s1()).run(async |world| {
        let mut database = database(world).await;
        for (table, number) in PAYMENT.into_iter().zip(1..) {
            let user = newcomer(world, table).await;
            let hold = user.reserve(world.date(), &[number]).await.ok(201).text("reservation_id");
            story(world, &mut database, table, &user, || user.pay_call(&hold).key("pay")).await;
            assert_eq!((user.balance().await, user.history().await.len()), (0, 2), "{table}");
            world.admin().until_completed(number).await;
        }
    });
}

#[test]
fn a_refund_without_room_for_one_of_its_rows_was_never_made() {
    open(World::s1()).run(async |world| {
        let mut database = database(world).await;
        for (table, number) in REFUND.into_iter().zip(1..) {
            let user = newcomer(world, table).await;
            let hold = user.reserve(world.date(), &[number]).await.ok(201);
            let path = format!("/v1/payments/{}/refund", user.pay(&hold).await.ok(201).text("payment_id"));
            world.admin().until_completed(number).await;
            story(world, &mut database, table, &user, || user.booking("POST", &path).key("refund")).await;
            assert_eq!((user.balance().await, user.history().await.len()), (PRICE, 3), "{table}");
        }
    });
}

#[test]
fn a_charge_and_a_use_without_room_for_one_of_their_rows_were_never_made() {
    open(World::s1()).run(async |world| {
        let mut database = database(world).await;
        for table in POINTS {
            let user = world.user(&format!("without-{table}"));
            let charge = || user.points_call("charges", &json!({ "amount": 7 })).key("charge");
            story(world, &mut database, table, &user, charge).await;
            let take = || user.points_call("uses", &json!({ "amount": 3, "memo": "tea" })).key("use");
            story(world, &mut database, table, &user, take).await;
            assert_eq!((user.balance().await, user.history().await.len()), (4, 2), "{table}");
        }
    });
}

//! Payments one by one: what ends with them, and what they go through with all the same.

use std::time::Duration;

use acceptance::{Answer, Call, PRICE, Side, User, World, at_once, pause};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::Instant;

/// A payment with this credential; without a key it is one statement, with one a transaction.
fn pay<'w>(world: &'w World, credential: &str, hold: &Answer, key: Option<&str>) -> Call<'w> {
    let body = json!({ "reservation_id": hold.text("reservation_id") });
    let call = world.call(Side::Booking, "POST", "/v1/payments").bearer(credential).json(&body);
    match key {
        Some(key) => call.key(key),
        None => call,
    }
}

/// The answer to a request that comes while a stranger has written something; he commits when it has begun to wait.
async fn while_written(world: &World, write: &str, request: impl Future<Output = Answer>) -> Answer {
    let mut stranger = PgConnection::connect(world.database_url()).await.expect("Postgres answers");
    let write = AssertSqlSafe(format!("begin; {write}"));
    sqlx::raw_sql(write).execute(&mut stranger).await.expect("it is written");
    let committed = async {
        pause(60).await;
        sqlx::raw_sql("commit").execute(&mut stranger).await.expect("the stranger commits");
    };
    let begun = Instant::now();
    let waiting = async { (request.await, begun.elapsed()) };
    let ((answer, took), ()) = futures_util::join!(waiting, committed);
    assert!(took >= Duration::from_millis(60), "it did not wait: {took:?}");
    answer
}

/// A user who is rich, and may have to show an entry token.
async fn rich<'w>(world: &'w World, name: &str) -> User<'w> {
    let user = world.user(name);
    user.charge(5 * PRICE).await.ok(201);
    user
}

#[test]
fn the_token_of_the_hold_and_the_one_that_pays_both_end() {
    World::s4().open_door().run(async |world| {
        for (seat, key) in [(1, None), (2, Some("k"))] {
            let user = rich(world, &format!("user-{seat}")).await;
            let mut tokens = Vec::new();
            for _ in 0..2 {
                tokens.push(world.entry_token(user.id(), "main").await);
            }
            user.take(tokens[0].clone());
            let held = user.reserve(world.date(), &[seat]).await.ok(201);
            pay(world, &tokens[1], &held, key).await.ok(201);
            for token in &tokens {
                pay(world, token, &held, None).await.refused(401, "entry_token_completed");
            }
        }
    });
}

/// Where the gate is open it is a credential, and is not used up
#[test]
fn the_token_of_another_queue_outlives_the_payment() {
    World::s0().gated("").run(async |world| {
        for (seat, key) in [(1, None), (2, Some("k"))] {
            let user = rich(world, &format!("user-{seat}")).await;
            let made = world.entry_token(user.id(), "main").await;
            let other = world.entry_token(user.id(), "other").await;
            let reserve = |token: &str, seat: i64| {
                let body = json!({ "schedule_id": world.date().id, "seat_numbers": [seat] });
                world.call(Side::Booking, "POST", "/v1/reservations").bearer(token).json(&body)
            };
            let held = reserve(&made, seat).await.ok(201);
            pay(world, &other, &held, key).await.ok(201);
            reserve(&made, seat + 10).await.refused(401, "entry_token_completed");
            let held = reserve(&other, seat + 10).await.ok(201);
            pay(world, &other, &held, None).await.ok(201);
        }
    });
}

/// They have no account until then
#[test]
fn who_pays_nothing_needs_no_points() {
    World::s0().gated("").run(async |world| {
        let free = json!({ "seats": { "count": 24, "price": 0 } });
        let date = world.add_date_with(world.concert(), free).await;
        let users = world.users("guest", 24);
        let paid = at_once(users.iter().zip(1..).map(async |(user, seat)| {
            let held = user.reserve(&date, &[seat]).await.ok(201);
            let key = format!("key-{seat}");
            pay(world, user.token(), &held, (seat % 2 == 0).then_some(&*key)).await.ok(201)
        }))
        .await;
        for (user, paid) in users.iter().zip(&paid) {
            assert_eq!([paid.int("amount"), paid.int("balance_after")], [0, 0], "{paid:?}");
            let history = user.history().await;
            assert_eq!(history.len(), 1, "{history:?}");
            assert_eq!(history[0]["payment_id"], paid["payment_id"], "{history:?}");
        }
    });
}

/// Somebody writes the hold while its payment waits for the lock: what the payment's statement sees is not the newest
#[test]
fn a_hold_that_is_written_under_its_payment_is_paid_all_the_same() {
    World::s0().gated("").run(async |world| {
        for (seat, key, table) in [
            (1, None, "reservations"),
            (2, Some("a"), "reservations"),
            (3, None, "seats"),
            (4, Some("b"), "seats"),
        ] {
            let user = rich(world, &format!("user-{seat}")).await;
            let held = user.reserve(world.date(), &[seat]).await.ok(201);
            let id = held.text("reservation_id");
            let write = match table {
                "seats" => format!("update seats set state = state where hold_id = '{id}'"),
                _ => format!("update reservations set status = status where id = '{id}'"),
            };
            let paying = pay(world, user.token(), &held, key).into_future();
            while_written(world, &write, paying).await.ok(201);
            assert_eq!(user.balance().await, 4 * PRICE);
        }
        let metrics = world.get(Side::BookingOps, "/metrics").await.ok(200).text;
        let alone =
            metrics.lines().find(|line| line.starts_with("booking_alone_requests_total{verb=\"payment\"}"));
        assert_eq!(alone.and_then(|line| line.split(' ').nth(1)), Some("0"), "a batch was undone");
    });
}

/// Whoever spends it first, its payment is whole or absent
#[test]
fn a_token_that_is_spent_under_its_payment_pays_nothing() {
    World::s4().open_door().run(async |world| {
        for (seat, key) in [(1, None), (2, Some("k"))] {
            let user = rich(world, &format!("user-{seat}")).await;
            let made = world.entry_token(user.id(), "main").await;
            user.take(made.clone());
            let held = user.reserve(world.date(), &[seat]).await.ok(201);
            user.take(world.entry_token(user.id(), "main").await);
            let (shown, jti) = (user.entry_token(), user.claims().jti);
            let spend =
                format!("insert into spent_entries (jti, queue, exp) values ('{jti}', 'main', 4000000000)");
            let paying = pay(world, &shown, &held, key).into_future();
            while_written(world, &spend, paying).await.refused(401, "entry_token_completed");
            assert_eq!(user.balance().await, 5 * PRICE);
            pay(world, &made, &held, key).await.ok(201);
        }
    });
}

//! Points: charges, uses, the ledger. Requirements 16, 24, 47, 48, 59, 60; refunds.

use acceptance::{PRICE, World, at_once};
use serde_json::{Value, json};

/// 48, 60
#[test]
fn only_whole_amounts_of_one_or_more_are_taken() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        ann.charge(50).await.ok(201);
        let books = world.books(&[&ann]).await;
        let two_to_63: Value = serde_json::from_str("9223372036854775808").unwrap();
        let bad = [
            json!(0),
            json!(-1),
            json!(i64::MIN),
            json!(1.5),
            json!(5.0),
            two_to_63,
            json!(u64::MAX),
            json!("5"),
            json!(null),
            json!(true),
            json!([5]),
            json!({ "value": 5 }),
        ];
        for what in ["charges", "uses"] {
            for amount in &bad {
                let body = json!({ "amount": amount, "memo": "" });
                let key = uuid::Uuid::new_v4().to_string();
                ann.points_call(what, &body).key(&key).await.refused(422, "invalid_amount");
            }
            ann.points_call(what, &json!({})).key("no-amount").await.ok(422);
            for text in ["{\"amount\":1e2}", "{\"amount\":-0}", "{\"amount\":99999999999999999999}"] {
                let call = ann.booking("POST", &format!("/v1/points/{what}")).key("odd-amount");
                call.body("application/json", text).await.refused(422, "invalid_amount");
            }
        }
        books.unchanged().await;
    });
}

/// 48: the limit of one charge
#[test]
fn a_charge_is_limited_and_a_balance_never_overflows() {
    World::s4().booking_flags(&["--max-charge", "9223372036854775807"]).run(async |world| {
        let ann = world.user("ann");
        ann.charge(i64::MAX).await.ok(201);
        let books = world.books(&[&ann]).await;
        ann.charge(1).await.refused_somehow();
        ann.charge(i64::MAX).await.refused_somehow();
        books.unchanged().await;
        ann.use_points(i64::MAX).await.ok(201);
        assert_eq!(ann.balance().await, 0);
    });
    World::s4().run(async |world| {
        let ann = world.user("ann");
        ann.charge(100_000_000).await.ok(201);
        ann.charge(100_000_001).await.refused(422, "invalid_amount");
        assert_eq!(ann.balance().await, 100_000_000);
    });
}

/// 60
#[test]
fn points_that_are_not_there_cannot_be_used() {
    World::s4().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.charge(1000).await.ok(201);
        let books = world.books(&[&ann, &bob]).await;
        ann.use_points(1001).await.refused(402, "insufficient_points");
        bob.use_points(1).await.refused(402, "insufficient_points");
        ann.use_points(0).await.refused(422, "invalid_amount");
        ann.charge(0).await.refused(422, "invalid_amount");
        books.unchanged().await;
        assert_eq!(ann.use_points(1000).await.ok(201)["balance"], 0);
    });
}

/// 59
#[test]
fn a_hundred_charges_at_once_are_a_hundred_rows() {
    World::s4().replicas(2).run(async |world| {
        let ann = world.user("ann");
        for answer in at_once((0..100).map(|_| ann.charge(1000))).await {
            answer.ok(201);
        }
        assert_eq!(ann.balance().await, 100_000);
        let ledger = ann.history().await;
        assert_eq!(ledger.len(), 100);
        add_up(&ledger);
    });
}

/// 59
#[test]
fn charges_and_uses_at_once_add_up_and_never_go_below_zero() {
    World::s4().replicas(2).run(async |world| {
        let ann = world.user("ann");
        let charge = async |_: usize| ann.charge(1000).await.ok(201).int("amount");
        let spend = async |_: usize| {
            let answer = ann.use_points(1500).await;
            if answer.status == 402 { 0 } else { -answer.ok(201).int("amount").abs() }
        };
        let (gains, losses) = tokio::join!(at_once((0..100).map(charge)), at_once((0..50).map(spend)));
        let expected: i64 = gains.iter().chain(&losses).sum();
        assert_eq!(ann.balance().await, expected);
        add_up(&ann.history().await);
    });
}

/// The rows, newest first: each balance follows from the one before, none is negative.
fn add_up(ledger: &[Value]) {
    let mut balance = 0;
    for row in ledger.iter().rev() {
        balance += row["amount"].as_i64().expect("a row has an amount");
        assert_eq!(row["balance_after"], balance, "{row}");
        assert!(balance >= 0, "{row}");
    }
}

#[test]
fn the_history_tells_every_movement_newest_first() {
    World::s4().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.charge(3 * PRICE).await.ok(201);
        ann.use_points(1).await.ok(201);
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        ann.refund(&payment).await.ok(201);
        let ledger = ann.history().await;
        let rows: Vec<_> = ledger
            .iter()
            .map(|row| (row["kind"].as_str().unwrap(), row["amount"].as_i64().unwrap()))
            .collect();
        assert_eq!(rows, [("refund", PRICE), ("payment", -PRICE), ("use", -1), ("charge", 3 * PRICE)]);
        for (row, is_of_payment) in ledger.iter().zip([true, true, false, false]) {
            let expected = if is_of_payment { payment["payment_id"].clone() } else { Value::Null };
            assert_eq!(row["payment_id"], expected, "{row}");
            assert!(!row["entry_id"].is_null() && !row["at"].is_null(), "{row}");
        }
        add_up(&ledger);
    });
}

#[test]
fn the_history_comes_in_pages_that_join() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        for amount in 1..=7 {
            ann.charge(amount).await.ok(201);
        }
        let (mut amounts, mut query) = (Vec::new(), "?limit=3".to_owned());
        loop {
            let page = ann.booking("GET", &format!("/v1/points/history{query}")).await.ok(200);
            assert!(page.list("items").len() <= 3);
            amounts.extend(page.list("items").iter().filter_map(|row| row["amount"].as_i64()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            query = format!("?limit=3&cursor={next}");
        }
        assert_eq!(amounts, [7, 6, 5, 4, 3, 2, 1]);
        for bad in ["limit=0", "limit=201", "limit=x", "cursor=nonsense", "cursor=%00"] {
            let path = format!("/v1/points/history?{bad}");
            ann.booking("GET", &path).await.refused(422, "invalid_request");
        }
    });
}

#[test]
fn a_refund_gives_points_and_seats_back_once_until_the_show_starts() {
    World::s4().open_door().queue(json!({ "rejoin": "requeue" })).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.charge(2 * PRICE).await.ok(201);
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        bob.refund(&payment).await.refused(404, "payment_not_found");
        let refund = ann.refund(&payment).await.ok(201);
        assert_eq!(refund["payment_id"], payment["payment_id"]);
        assert_eq!((refund.int("amount"), refund.int("balance_after")), (PRICE, 2 * PRICE));
        assert!(!refund["refund_id"].is_null());
        assert!(refund.time("refunded_at") >= payment.time("paid_at"));
        world.admin().until_completed(1).await;
        let books = world.books(&[&ann]).await;
        ann.refund(&payment).await.refused(409, "already_refunded");
        books.unchanged().await;
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "refunded");
        assert_eq!(ann.reservations("refunded").await.len(), 1);
        assert_eq!(world.seat_map(world.date()).await.available.len(), 50);
        assert_eq!(world.admin().report(world.date()).await.ok(200)["revenue"], 0);
        bob.enter().await;
        bob.charge(PRICE).await.ok(201);
        let again = bob.reserve(world.date(), &[1]).await.ok(201);
        let second = bob.pay(&again).await.ok(201);
        ann.refund(&payment).await.refused(409, "already_refunded");
        assert_eq!(world.seat_map(world.date()).await.sold, [1]);
        ann.enter().await;
        ann.pay(&hold).await.refused(409, "not_held");
        world.advance_seconds(31 * 24 * 3600);
        bob.refund(&second).await.refused(409, "show_started");
        assert_eq!(bob.balance().await, 0);
    });
}

//! Idempotency keys. Requirement 70; across a crash in `restarts`.

use acceptance::{Answer, PRICE, Side, User, World, at_once};
use serde_json::json;

#[test]
fn the_same_key_and_body_answer_the_same_on_every_replica() {
    World::s4().replicas(2).run(async |world| {
        let ann = world.user("ann");
        let body = json!({ "amount": 500 });
        let first = ann.points_call("charges", &body).key("k").on(0).await.ok(201);
        for replica in [0, 1, 1, 0] {
            let again = ann.points_call("charges", &body).key("k").on(replica).await.ok(201);
            assert_eq!(again.body, first.body);
        }
        world.advance_seconds(23 * 3600);
        assert_eq!(ann.points_call("charges", &body).key("k").await.ok(201).body, first.body);
        assert_eq!((ann.balance().await, ann.history().await.len()), (500, 1));
    });
}

#[test]
fn the_same_key_with_another_body_is_refused() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        ann.points_call("charges", &json!({ "amount": 500 })).key("k").await.ok(201);
        let books = world.books(&[&ann]).await;
        let other = ann.points_call("charges", &json!({ "amount": 501 })).key("k").await;
        other.refused(422, "idempotency_key_reused");
        books.unchanged().await;
    });
}

#[test]
fn a_key_belongs_to_its_user_and_endpoint() {
    World::s4().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.points_call("charges", &json!({ "amount": 500 })).key("k").await.ok(201);
        bob.points_call("charges", &json!({ "amount": 300 })).key("k").await.ok(201);
        let body = json!({ "amount": 100, "memo": "x" });
        ann.points_call("uses", &body).key("k").await.ok(201);
        assert_eq!((ann.balance().await, bob.balance().await), (400, 300));
    });
}

#[test]
fn a_missing_key_is_refused_before_the_body_is_looked_at() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        for what in ["charges", "uses"] {
            let path = format!("/v1/points/{what}");
            for body in ["{\"amount\":5}", "{\"amount\":-5}", "not json", ""] {
                let call = ann.booking("POST", &path).body("application/json", body);
                call.await.refused(400, "idempotency_key_required");
            }
            ann.booking("POST", &path).await.refused(400, "idempotency_key_required");
            let nobody = world.call(Side::Booking, "POST", &path).json(&json!({ "amount": 5 }));
            nobody.await.refused(401, "unauthorized");
        }
        assert_eq!(ann.history().await.len(), 0);
    });
}

#[test]
fn a_refused_request_leaves_no_trace_of_its_key() {
    World::s4().open_door().run(async |world| {
        let ann = world.user("ann");
        let charge =
            async |amount: i64| ann.points_call("charges", &json!({ "amount": amount })).key("c").await;
        charge(0).await.refused(422, "invalid_amount");
        charge(100).await.ok(201);
        let use_150 = async || ann.points_call("uses", &json!({ "amount": 150, "memo": "x" })).key("u").await;
        use_150().await.refused(402, "insufficient_points");
        ann.charge(50).await.ok(201);
        let used = use_150().await.ok(201);
        assert_eq!(use_150().await.ok(201).body, used.body);
        assert_eq!(ann.balance().await, 0);
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let id = hold.text("reservation_id");
        ann.pay_call(&id).key("p").await.refused(402, "insufficient_points");
        ann.charge(PRICE).await.ok(201);
        ann.pay_call(&id).key("p").await.ok(201);
    });
}

/// The refusal has left no trace when its answer arrives, not some time later.
#[test]
fn a_refused_request_may_be_tried_again_at_once() {
    World::s0().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201).text("reservation_id");
        let use_it = json!({ "amount": 100_000, "memo": "x" });
        for _ in 0..60 {
            ann.pay_call(&hold).key("pay").await.refused(402, "insufficient_points");
            ann.pay_call(&hold).key("pay").await.refused(402, "insufficient_points");
            ann.points_call("uses", &use_it).key("use").await.refused(402, "insufficient_points");
            ann.charge(1).await.ok(201);
            ann.points_call("uses", &use_it).key("use").await.refused(402, "insufficient_points");
        }
    });
}

#[test]
fn the_same_key_many_times_at_once_has_one_effect() {
    World::s4().replicas(2).open_door().run(async |world| {
        let ann = world.user("ann");
        let body = json!({ "amount": PRICE });
        let charges =
            at_once((0..20).map(|_| ann.points_call("charges", &body).key("c").into_future())).await;
        one_effect(&charges);
        assert_eq!((ann.balance().await, ann.history().await.len()), (PRICE, 1));
        ann.enter().await;
        let seats = json!({ "schedule_id": world.date().id, "seat_numbers": [1, 2] });
        let reserve = || ann.row(acceptance::Row::Reserve, "POST", "/v1/reservations").json(&seats).key("r");
        one_effect(&at_once((0..20).map(|_| reserve().into_future())).await);
        assert_eq!(ann.reservations("").await.len(), 1);
    });
}

/// Each is the first answer again, or says that the first is still running.
fn one_effect(answers: &[Answer]) {
    let first = answers.iter().find(|answer| answer.status == 201).expect("one was carried out");
    for answer in answers {
        match answer.status {
            201 => assert_eq!(answer.body, first.body),
            _ => drop(answer.clone().refused(409, "idempotency_in_flight")),
        }
    }
}

#[test]
fn a_payment_is_answered_again_after_its_entry_token_is_spent() {
    World::s1().run(async |world| {
        let (ann, hold) = held(world).await;
        let id = hold.text("reservation_id");
        let payment = ann.pay_call(&id).key("pay").await.ok(201);
        for _ in 0..3 {
            assert_eq!(ann.pay_call(&id).key("pay").await.ok(201).body, payment.body);
        }
        // Any kind of credential of the same person that the row takes.
        let other = world.entry_token("ann", "main").await;
        let body = json!({ "reservation_id": id });
        let call = world.call(Side::Booking, "POST", "/v1/payments").json(&body).key("pay");
        assert_eq!(call.bearer(&other).await.ok(201).body, payment.body);
        ann.pay_call(&id).key("another").await.refused(401, "entry_token_completed");
        ann.pay_call(&id).await.refused(401, "entry_token_completed");
        let nobody = world.call(Side::Booking, "POST", "/v1/payments").json(&body).key("pay");
        nobody.await.refused(401, "entry_token_required");
        let call = world.call(Side::Booking, "POST", "/v1/payments").json(&body).key("pay");
        call.bearer("rubbish").await.refused(401, "invalid_token");
        world.advance_seconds(601);
        ann.pay_call(&id).key("pay").await.refused(401, "entry_token_expired");
        assert_eq!(ann.history().await.len(), 2);
    });
}

#[test]
fn a_hold_that_spent_its_token_is_answered_again() {
    World::s3().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let seats = json!({ "schedule_id": world.date().id, "seat_numbers": [1] });
        let reserve = || ann.row(acceptance::Row::Reserve, "POST", "/v1/reservations").json(&seats);
        let hold = reserve().key("r").await.ok(201);
        let again = reserve().key("r").await.ok(201);
        assert_eq!(again["reservation_id"], hold["reservation_id"]);
        reserve().key("s").await.refused(401, "entry_token_completed");
        assert_eq!(ann.reservations("").await.len(), 1);
    });
}

#[test]
fn a_revoked_entry_token_has_no_replay() {
    World::s1().queue(json!({ "rejoin": "requeue" })).run(async |world| {
        let (ann, hold) = held(world).await;
        let seats = json!({ "schedule_id": world.date().id, "seat_numbers": [2] });
        let old = ann.entry_token();
        let reserve = || {
            let call = world.call(Side::Booking, "POST", "/v1/reservations").bearer(&old);
            call.json(&seats).key("r")
        };
        reserve().await.ok(201);
        ann.leave().await.ok(204);
        acceptance::eventually("booking has heard", async || {
            let answer = reserve().await;
            if answer.code() == Some("entry_token_revoked") { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "held");
    });
}

#[test]
fn refunds_and_reservations_honour_keys() {
    World::s4().open_door().run(async |world| {
        let (ann, hold) = held(world).await;
        let payment = ann.pay(&hold).await.ok(201);
        let path = format!("/v1/payments/{}/refund", payment.text("payment_id"));
        let refund = ann.booking("POST", &path).key("r").await.ok(201);
        assert_eq!(ann.booking("POST", &path).key("r").await.ok(201).body, refund.body);
        ann.booking("POST", &path).key("s").await.refused(409, "already_refunded");
        ann.booking("POST", &path).await.refused(409, "already_refunded");
        assert_eq!(ann.balance().await, PRICE);
    });
    World::s4().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let seats = json!({ "schedule_id": world.date().id, "seat_numbers": [1] });
        let reserve = || ann.row(acceptance::Row::Reserve, "POST", "/v1/reservations");
        let hold = reserve().json(&seats).key("r").await.ok(201);
        assert_eq!(reserve().json(&seats).key("r").await.ok(201)["reservation_id"], hold["reservation_id"]);
        reserve().json(&seats).key("s").await.refused(409, "seat_taken");
        let other = json!({ "schedule_id": world.date().id, "seat_numbers": [2] });
        reserve().json(&other).key("r").await.refused(422, "idempotency_key_reused");
    });
}

#[test]
fn odd_keys_are_refused_and_change_nothing() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        let body = json!({ "amount": 5 });
        let longest = "k".repeat(255);
        ann.points_call("charges", &body).key(&longest).await.ok(201);
        ann.points_call("charges", &body).key("!~").await.ok(201);
        let books = world.books(&[&ann]).await;
        for key in ["", " ", "a b", "\t", &"k".repeat(256), "ключ", "é"] {
            let call = ann.points_call("charges", &body).header("idempotency-key", key);
            let refusal = call.await.refused_somehow();
            assert!(matches!(refusal.status, 400 | 422), "{key:?}: {refusal:?}");
        }
        let twice = ann.points_call("charges", &body).key("one").key("two");
        twice.await.refused_somehow();
        books.unchanged().await;
    });
}

async fn held(world: &World) -> (User<'_>, Answer) {
    let ann = world.user("ann");
    ann.enter().await;
    ann.charge(PRICE).await.ok(201);
    let hold = ann.reserve(world.date(), &[1]).await.ok(201);
    (ann, hold)
}

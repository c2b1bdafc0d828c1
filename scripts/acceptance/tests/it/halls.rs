//! Halls: large ones, price tiers, changes of a date that sells; lists that grow while they are read.

use std::collections::HashSet;

use acceptance::{Answer, Call, Date, PRICE, Side, World, at_once};
use serde_json::{Value, json};

const LARGE: i64 = 50_000;

async fn made(world: &World, seats: Value) -> Answer {
    let mut body = world.date_body();
    body["seats"] = seats;
    world.admin().schedule(&world.concert().id, &body).await
}

/// One call, within the time limit of every request (10 s) and the size limit of the ops listener.
#[test]
fn a_hall_of_fifty_thousand_seats_is_made_in_one_call() {
    World::s2().open_door().run(async |world| {
        let whole = made(world, json!({ "count": LARGE, "price": PRICE })).await.ok(201);
        let name = "a section with a name of forty letters..";
        let block = |n: i64| json!({ "section": name, "row": n.to_string(), "from": 50 * n + 1, "to": 50 * n + 50, "price": n, "tier": name });
        let blocks: Vec<_> = (0..1000).map(block).collect();
        let rows = made(world, json!({ "blocks": blocks })).await.ok(201);
        for date in [&whole, &rows] {
            assert_eq!((date.int("seats_total"), date.int("remaining")), (LARGE, LARGE));
        }
        let date = Date { id: rows.text("schedule_id"), concert: world.concert().clone() };
        let report = world.admin().report(&date).await.ok(200);
        assert_eq!((report.int("free"), report.list("tiers").len()), (LARGE, 1000));
        let ann = world.user("ann");
        ann.enter().await;
        let hold = ann.reserve(&date, &[LARGE]).await.ok(201);
        assert_eq!(hold.int("amount"), 999);
        ann.reserve(&date, &[LARGE + 1]).await.refused(422, "unknown_seat");
        // Half of a hall is no hall.
        let overlapping = json!({ "blocks": [block(1), block(2), block(1)] });
        made(world, overlapping).await.refused(422, "invalid_request");
        made(world, json!({ "count": 100_001, "price": 1 })).await.refused(422, "invalid_request");
    });
}

#[test]
fn the_report_tells_how_each_price_sells() {
    World::s2().open_door().run(async |world| {
        let block = |from: i64, to: i64, price: i64, tier: Value| json!({ "from": from, "to": to, "price": price, "tier": tier });
        for bad in [json!(""), json!("x".repeat(41)), json!("a\u{0}"), json!(5)] {
            let seats = json!({ "blocks": [block(1, 5, 1, bad)] });
            made(world, seats).await.refused(422, "invalid_request");
        }
        let blocks = [block(1, 2, 500, json!("front")), block(3, 6, 100, json!("back")), block(7, 9, 100, Value::Null), block(10, 11, 500, json!("front"))];
        let date = made(world, json!({ "blocks": blocks })).await.ok(201);
        let date = Date { id: date.text("schedule_id"), concert: world.concert().clone() };
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(10_000).await.ok(201);
        let bought = ann.reserve(&date, &[1, 3, 4, 10]).await.ok(201);
        ann.reserve(&date, &[7]).await.ok(201);
        let payment = ann.pay(&bought).await.ok(201);
        ann.refund_seats(&payment, &[4]).await.ok(201);
        let report = world.admin().report(&date).await.ok(200);
        let row = |tier: Value, price: i64, total: i64, sold: i64, held: i64, revenue: i64| {
            json!({ "tier": tier, "price": price, "seats_total": total, "sold": sold, "held": held,
                "free": total - sold - held, "revenue": revenue })
        };
        let expected = [row(json!("front"), 500, 4, 2, 0, 1000), row(json!("back"), 100, 4, 1, 0, 100), row(Value::Null, 100, 3, 0, 1, 0)];
        assert_eq!(report.list("tiers"), expected);
        assert_eq!((report.int("seats_total"), report.int("revenue"), report.int("free")), (11, 1100, 7));
        let bare = world.add_date_with(world.concert(), json!({})).await;
        let empty = world.admin().report(&bare).await.ok(200);
        assert!(empty.list("tiers").is_empty() && empty.int("seats_total") == 0, "{empty:?}");
    });
}

/// What was sold stays as it was sold, whatever the operator changes.
#[test]
fn a_change_of_a_date_that_sells_touches_nothing_that_was_sold() {
    World::s2().open_door().run(async |world| {
        let (ann, admin, date) = (world.user("ann"), world.admin(), world.date());
        ann.enter().await;
        ann.charge(10 * PRICE).await.ok(201);
        let bought = ann.reserve(date, &[1, 2]).await.ok(201);
        let held = ann.reserve(date, &[3]).await.ok(201);
        let payment = ann.pay(&bought).await.ok(201);
        let change = async |patch: Value| admin.change_schedule(&date.id, &patch).await;
        change(json!({ "seats": { "count": 60, "price": 1 } })).await.refused(409, "seats_exist");
        change(json!({ "price": 1 })).await.refused(422, "invalid_request");
        // A limit below what somebody has takes nothing away, and stops more.
        change(json!({ "max_seats_per_user": 1 })).await.ok(200);
        ann.take(world.entry_token("ann", "main").await);
        ann.reserve(date, &[4]).await.refused(409, "seat_limit_reached");
        // A sale that has not begun again sells nothing, and a hold that was made is good.
        change(json!({ "sales_open_at": world.in_hours(2) })).await.ok(200);
        world.user("bob").reserve(date, &[5]).await.refused(401, "entry_token_required");
        ann.pay(&held).await.ok(201);
        // Another queue in front of it is that of later holds.
        admin.put_queue("other", &json!({})).await.ok(201);
        change(json!({ "queue": "other" })).await.ok(200);
        assert_eq!(ann.receipt(&payment).await.ok(200).int("amount"), 2 * PRICE);
        // An earlier start ends refunds with it; a later one opens them again.
        change(json!({ "sales_open_at": world.in_hours(-2), "starts_at": world.in_hours(-1) })).await.ok(200);
        ann.refund(&payment).await.refused(409, "show_started");
        change(json!({ "starts_at": world.in_hours(5) })).await.ok(200);
        ann.refund(&payment).await.ok(201);
    });
}

/// Every page of a list until the last, with `meanwhile` after each.
async fn pages<'w>(call: impl Fn(&str) -> Call<'w>, member: &str, meanwhile: impl AsyncFn()) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = call(&format!("limit=3{cursor}")).await.ok(200);
        ids.extend(page.list("items").iter().map(|item| item[member].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) if ids.len() < 200 => cursor = format!("&cursor={next}"),
            _ => return ids,
        }
        meanwhile().await;
    }
}

#[test]
fn pages_repeat_and_miss_nothing_while_rows_arrive() {
    World::s2().open_door().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let date = world.add_date(world.concert(), 60).await;
        for seat in 1..=10 {
            ann.reserve(&date, &[seat]).await.ok(201);
            ann.charge(seat).await.ok(201);
            world.add_date(world.concert(), 1).await;
        }
        let whole = async |path: &str, member: &str| -> Vec<String> {
            let page = ann.booking("GET", &format!("{path}?limit=200")).await.ok(200);
            page.list("items").iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
        };
        let next = std::sync::atomic::AtomicI64::new(11);
        let more = async || {
            let seat = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seat <= 60 {
                ann.reserve(&date, &[seat]).await.ok(201);
                ann.charge(seat).await.ok(201);
            }
        };
        for (path, member) in [("/v1/reservations", "reservation_id"), ("/v1/points/history", "entry_id")] {
            let before = whole(path, member).await;
            let seen = pages(|query| ann.booking("GET", &format!("{path}?{query}")), member, more).await;
            assert_eq!(seen, before, "newest first: what arrives is on no later page");
        }
        // Dates by their start: those that come before the cursor are on no later page, the others are.
        let path = format!("/admin/v1/concerts/{}/schedules", world.concert().id);
        let count = async || world.admin().call(Side::BookingOps, "GET", &format!("{path}?limit=200")).await.ok(200).list("items").len();
        let before = count().await;
        let dates = async || drop(at_once([-1, 1].map(|hours| async move {
            let times = json!({ "starts_at": world.in_hours(720 + hours), "sales_close_at": world.in_hours(600) });
            world.add_date_with(world.concert(), times).await
        })).await);
        let seen = pages(|query| world.admin().call(Side::BookingOps, "GET", &format!("{path}?{query}")), "schedule_id", dates).await;
        let distinct: HashSet<_> = seen.iter().collect();
        assert!(distinct.len() == seen.len() && seen.len() >= before, "{} of {before}", seen.len());
    });
}

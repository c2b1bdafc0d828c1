//! S0: issue or return, gate, hold, slip. Requirements 1 to 16.

use acceptance::{Answer, Date, PRICE, SeatMap, Side, World, at_once, eventually, is_uuid_v7, pause};
use chrono::TimeDelta;
use serde_json::{Value, json};

/// 1
#[test]
fn joining_without_a_place_gives_201_and_a_position() {
    World::s0().paused().run(async |world| {
        let ann = world.user("ann").join().await.ok(201);
        assert_eq!(ann["status"], "waiting");
        assert_eq!((ann.int("position"), ann.int("waiting")), (1, 1));
        let bob = world.user("bob").join().await.ok(201);
        assert_eq!((bob.int("position"), bob.int("waiting")), (2, 2));
    });
}

#[test]
fn a_status_carries_every_field_of_the_contract() {
    World::s0().paused().run(async |world| {
        let status = world.user("ann").join().await.ok(201);
        assert_eq!(status["queue"], "main");
        assert_eq!(status["queue_state"], "paused");
        assert!(status.text("queue_token").starts_with("qt_"));
        assert!(status.int("poll_after_ms") > 0);
        assert!(status.time("token_expires_at") > world.clock().now());
        let unknown = [
            "estimated_wait_seconds",
            "opens_at",
            "admitted_at",
            "entry_token",
            "entry_expires_at",
            "redirect_url",
        ];
        for member in unknown {
            let members = status.body.as_object().unwrap();
            assert_eq!(members.get(member), Some(&Value::Null), "{member}: {status:?}");
        }
    });
}

/// 2
#[test]
fn joining_again_returns_the_same_place_and_the_crowd_stays() {
    World::s0().paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        let again = ann.join().await.ok(200);
        assert_eq!((again.int("position"), again.int("waiting")), (1, 2));
        assert_eq!(world.admin().number("waiting").await, 2);
        assert_eq!(bob.poll().await.ok(200)["position"], 2);
    });
}

/// 2
#[test]
fn joining_again_while_active_returns_the_same_admission() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let claims = ann.claims();
        let again = ann.join().await.ok(200);
        assert_eq!(again["status"], "active");
        assert_eq!(ann.claims(), claims);
        assert_eq!(world.admin().number("active").await, 1);
    });
}

/// 3
#[test]
fn fifty_joins_of_one_person_at_once_make_one_place() {
    World::s0().paused().replicas(2).run(async |world| {
        let ann = world.user("ann");
        let answers = at_once((0..50).map(|_| ann.join())).await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(created, 1, "{answers:?}");
        for answer in answers {
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            assert_eq!(answer["position"], 1);
        }
        assert_eq!(world.admin().number("waiting").await, 1);
    });
}

/// 4
#[test]
fn a_lapsed_token_is_410_and_joining_again_is_at_the_back() {
    World::s0().paused().run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        for person in [&ann, &bob, &cem] {
            person.join().await.ok(201);
        }
        pause(1000).await; // polls of this second must not count as those of the next
        world.advance_seconds(80);
        bob.poll().await.ok(200);
        cem.poll().await.ok(200);
        pause(1000).await; // polls are written in batches
        world.advance_seconds(60);
        ann.poll().await.refused(410, "token_expired");
        eventually("ann is out of the line", async || {
            let (waiting, bob) = (world.admin().number("waiting").await, bob.poll().await.ok(200));
            let seen = (waiting, bob.int("waiting"), bob.int("position"));
            if seen == (2, 2, 1) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
        assert_eq!(ann.join().await.ok(201)["position"], 3);
        assert_eq!(world.admin().number("expired_total").await, 1);
    });
}

/// 5
#[test]
fn dates_seats_and_reserving_open_only_to_those_let_in() {
    World::s0().queue(json!({ "max_active": 1 })).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.join().await.ok(201);
        let foreign = foreign_token(world).await;
        let books = world.books(&[&ann, &bob]).await;
        for row in gated_rows(world.date()) {
            ask(world, &row, None).await.refused(401, "entry_token_required");
            for waiting in [bob.token(), &bob.queue_token()] {
                ask(world, &row, Some(waiting)).await.refused(401, "entry_token_required");
            }
            ask(world, &row, Some(&foreign)).await.refused(403, "wrong_queue");
            books.unchanged().await;
        }
        ann.dates(world.concert()).await.ok(200);
        ann.seats(world.date()).await.ok(200);
        ann.reserve(world.date(), &[1]).await.ok(201);
    });
}

/// 5
#[test]
fn a_gate_says_where_to_queue() {
    World::s0().run(async |world| {
        let queue = world.base(Side::Queue, None);
        for row in gated_rows(world.date()) {
            let refusal = ask(world, &row, None).await.refused(401, "entry_token_required");
            assert!(refusal.text("queue_url").starts_with(&queue), "{refusal:?}");
        }
        for (method, path, body) in &gated_rows(world.date())[..2] {
            let refusal = ask(world, &(*method, path.clone(), body.clone()), None).await;
            assert!(refusal.text("queue_url").contains("main"), "{refusal:?}");
        }
    });
}

type Request = (&'static str, String, Option<Value>);

fn gated_rows(date: &Date) -> [Request; 3] {
    let hold = json!({ "schedule_id": date.id, "seat_numbers": [1] });
    [
        ("GET", format!("/v1/concerts/{}/schedules", date.concert.id), None),
        ("GET", format!("/v1/schedules/{}/seats", date.id), None),
        ("POST", "/v1/reservations".to_owned(), Some(hold)),
    ]
}

async fn ask(world: &World, (method, path, body): &Request, token: Option<&str>) -> Answer {
    let mut call = world.call(Side::Booking, method, path);
    if let Some(token) = token {
        call = call.bearer(token);
    }
    if let Some(body) = body {
        call = call.json(body);
    }
    call.await
}

async fn foreign_token(world: &World) -> String {
    world.admin().put_queue("other", &json!({})).await.ok(201);
    let stranger = world.user("stranger").at("other");
    stranger.enter().await;
    stranger.entry_token()
}

/// 6
#[test]
fn the_list_of_dates_holds_only_bookable_ones() {
    World::s0().run(async |world| {
        let concert = world.add_concert("Another", "main").await;
        let seats = json!({ "count": 1, "price": PRICE });
        let good = world.add_date(&concert, 2).await;
        let tight = world.add_date(&concert, 1).await;
        let soon =
            json!({ "starts_at": world.in_hours(1), "sales_close_at": world.in_hours(1), "seats": seats });
        let past = world.add_date_with(&concert, soon).await;
        let later = json!({ "sales_open_at": world.in_hours(48), "seats": seats });
        let unopened = world.add_date_with(&concert, later).await;
        let short = json!({ "sales_close_at": world.in_hours(1), "seats": seats });
        let closed = world.add_date_with(&concert, short).await;
        let bare = world.add_date_with(&concert, json!({})).await;
        world.advance_seconds(2 * 3600);
        let ann = world.user("ann");
        ann.enter().await;
        ann.reserve(&tight, &[1]).await.ok(201);
        eventually("only the good one is bookable", async || {
            let listed = ids(&ann.dates(&concert).await.ok(200));
            if listed == [good.id.clone()] { Ok(()) } else { Err(format!("{listed:?}")) }
        })
        .await;
        let explicit = ann.dates_where(&concert, "?bookable=true").await.ok(200);
        assert_eq!(ids(&explicit), ids(&ann.dates(&concert).await));
        let mut all = ids(&ann.dates_where(&concert, "?bookable=false").await.ok(200));
        let mut expected = [good, tight, past, unopened, closed, bare].map(|date| date.id).to_vec();
        all.sort();
        expected.sort();
        assert_eq!(all, expected);
    });
}

fn ids(dates: &Answer) -> Vec<String> {
    dates.list("items").iter().map(|date| date["schedule_id"].as_str().unwrap().to_owned()).collect()
}

/// 6
#[test]
fn dates_can_be_narrowed_to_a_span_that_includes_its_ends() {
    World::s0().run(async |world| {
        let concert = world.add_concert("Another", "main").await;
        let mut dates = Vec::new();
        for day in [10, 11, 12] {
            let starts_at = format!("2099-05-{day}T19:00:00Z");
            let seats = json!({ "count": 1, "price": PRICE });
            let body = json!({ "starts_at": starts_at, "sales_close_at": starts_at, "seats": seats });
            dates.push(world.add_date_with(&concert, body).await.id);
        }
        let ann = world.user("ann");
        ann.enter().await;
        let list = async |query: &str| ids(&ann.dates_where(&concert, query).await.ok(200));
        assert_eq!(list("").await, dates);
        assert_eq!(list("?from=2099-05-10&to=2099-05-12").await, dates);
        assert_eq!(list("?from=2099-05-11&to=2099-05-11").await, dates[1..2]);
        assert_eq!(list("?from=2099-05-11").await, dates[1..]);
        assert_eq!(list("?to=2099-05-11").await, dates[..2]);
        assert!(list("?from=2099-05-13").await.is_empty());
        for bad in ["?from=tomorrow", "?to=2099-13-01", "?bookable=perhaps"] {
            ann.dates_where(&concert, bad).await.refused(422, "invalid_request");
        }
    });
}

/// 7
#[test]
fn exactly_the_free_seats_are_available() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        ann.reserve(world.date(), &[1, 2]).await.ok(201);
        let bought = ann.reserve(world.date(), &[3]).await.ok(201);
        ann.pay(&bought).await.ok(201);
        let map = world.seat_map(world.date()).await;
        let available = (4..=50).collect();
        assert_eq!(map, SeatMap { available, held: vec![1, 2], sold: vec![3] });
        let visitor = world.user("visitor");
        visitor.enter().await;
        let seats = visitor.seats(world.date()).await.ok(200);
        assert_eq!(seats["schedule_id"], world.date().id);
        assert_eq!(seats["seats"][0]["price"], PRICE);
        for member in ["number", "section", "row", "price", "status"] {
            assert!(seats["seats"][0].as_object().unwrap().contains_key(member), "{member}");
        }
    });
}

/// 8
#[test]
fn a_hold_lasts_five_minutes_to_the_millisecond() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[7]).await.ok(201);
        assert_eq!(hold.time("expires_at") - hold.time("held_at"), TimeDelta::seconds(300));
        assert!((299..=300).contains(&hold.int("remaining_seconds")), "{hold:?}");
    });
}

/// 9
#[test]
fn a_taken_seat_is_named_and_its_loser_can_take_another() {
    World::s0().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        ann.reserve(world.date(), &[1]).await.ok(201);
        let books = world.books(&[&ann, &bob]).await;
        let refusal = bob.reserve(world.date(), &[1]).await.refused(409, "seat_taken");
        assert_eq!(refusal.ints("seat_numbers"), [1]);
        books.unchanged().await;
        bob.reserve(world.date(), &[2]).await.ok(201);
    });
}

/// 10
#[test]
fn a_third_person_no_longer_sees_a_held_seat_free() {
    World::s0().run(async |world| {
        let (ann, cem) = (world.user("ann"), world.user("cem"));
        ann.enter().await;
        cem.enter().await;
        assert!(SeatMap::of(&cem.seats(world.date()).await.ok(200)).available.contains(&9));
        ann.reserve(world.date(), &[9]).await.ok(201);
        let map = SeatMap::of(&cem.seats(world.date()).await.ok(200));
        assert!(!map.available.contains(&9) && map.held == [9], "{map:?}");
    });
}

/// 11
#[test]
fn a_reservation_shows_its_remaining_seconds_to_its_owner_alone() {
    World::s0().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        world.advance_seconds(100);
        let seen = ann.reservation(&hold).await.ok(200);
        assert_eq!((&seen["status"], &seen["amount"]), (&json!("held"), &json!(PRICE)));
        assert!((195..=200).contains(&seen.int("remaining_seconds")), "{seen:?}");
        bob.reservation(&hold).await.refused(404, "reservation_not_found");
        world.advance_seconds(200);
        let seen = ann.reservation(&hold).await.ok(200);
        assert_eq!((&seen["status"], &seen["remaining_seconds"]), (&json!("expired"), &json!(0)));
    });
}

/// 12
#[test]
fn paying_takes_the_price_and_gives_the_seat_and_a_receipt() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(3 * PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[5, 6]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        assert!(is_uuid_v7(&payment["payment_id"]));
        assert_eq!(payment["reservation_id"], hold["reservation_id"]);
        assert_eq!((payment.int("amount"), payment.int("balance_after")), (2 * PRICE, PRICE));
        assert_eq!(payment["seats"], hold["seats"]);
        assert!(payment.time("paid_at") >= hold.time("held_at"));
        assert_eq!(ann.balance().await, PRICE);
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "confirmed");
        assert_eq!(world.seat_map(world.date()).await.sold, [5, 6]);
        let receipt = ann.receipt(&payment).await.ok(200);
        for member in ["payment_id", "reservation_id", "amount", "paid_at", "seats"] {
            assert_eq!(receipt[member], payment[member], "{member}");
        }
        world.user("bob").receipt(&payment).await.refused(404, "payment_not_found");
    });
}

/// 13
#[test]
fn too_few_points_change_nothing_and_the_same_payment_works_after_a_charge() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE - 1).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let books = world.books(&[&ann]).await;
        ann.pay(&hold).await.refused(402, "insufficient_points");
        books.unchanged().await;
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "held");
        ann.charge(1).await.ok(201);
        assert_eq!(ann.pay(&hold).await.ok(201)["balance_after"], 0);
    });
}

/// 14
#[test]
fn what_is_not_held_cannot_be_paid_and_is_refused_by_name() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(10 * PRICE).await.ok(201);
        let (paid, left, lapsing) = (
            ann.reserve(world.date(), &[1]).await.ok(201),
            ann.reserve(world.date(), &[2]).await.ok(201),
            ann.reserve(world.date(), &[3]).await.ok(201),
        );
        ann.pay(&paid).await.ok(201);
        ann.cancel(&left).await.ok(204);
        world.advance_seconds(300);
        world.admin().until_completed(1).await;
        let books = world.books(&[&ann]).await;
        ann.pay(&paid).await.refused(409, "already_paid");
        ann.pay(&left).await.refused(409, "not_held");
        ann.pay(&lapsing).await.refused(410, "hold_expired");
        ann.pay_call(&world.unknown_id()).await.refused(404, "reservation_not_found");
        books.unchanged().await;
    });
}

/// 15
#[test]
fn payment_needs_only_the_user_token_here() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let body = json!({ "reservation_id": hold["reservation_id"] });
        world.call(Side::Booking, "POST", "/v1/payments").json(&body).await.refused(401, "unauthorized");
        ann.booking("POST", "/v1/payments").json(&body).await.ok(201);
    });
}

/// 16
#[test]
fn a_new_person_has_no_points_and_ten_thousand_after_a_charge_of_that() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        assert_eq!(ann.balance().await, 0);
        assert!(ann.history().await.is_empty());
        assert_eq!(ann.charge(10_000).await.ok(201)["balance"], 10_000);
        assert_eq!(ann.balance().await, 10_000);
    });
}

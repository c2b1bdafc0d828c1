//! S3: replace, release at the hold, separable queue. Requirements 39 to 50; 49 is in `restarts`.

use acceptance::{PRICE, SeatMap, User, World, at_once, eventually};
use serde_json::json;

/// 39
#[test]
fn joining_again_gives_a_new_token_at_the_back_and_ends_the_old_one() {
    World::s3().paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        let old = ann.queue_token();
        let again = ann.join().await.ok(201);
        assert_eq!((again.int("position"), again.int("waiting")), (2, 2));
        assert_ne!(ann.queue_token(), old);
        let call = world.get(acceptance::Side::Queue, &ann.me("")).bearer(&old);
        call.await.refused(410, "token_replaced");
        eventually("bob moves up", async || {
            let status = bob.poll().await.ok(200);
            if status["position"] == 1 { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
        assert_eq!(world.admin().number("waiting").await, 2);
    });
}

/// 39
#[test]
fn joining_again_while_active_revokes_the_admission_everywhere() {
    World::s3().open_door().queue(json!({ "max_active": 1 })).run(async |world| {
        let ann = world.user("ann");
        assert_eq!(ann.join().await.ok(201)["status"], "active");
        let old = ann.entry_token();
        world.admin().pause("main").await.ok(200);
        assert_eq!(ann.join().await.ok(201)["status"], "waiting");
        let path = format!("/v1/schedules/{}/seats", world.date().id);
        eventually("booking has heard", async || {
            let seats = world.get(acceptance::Side::Booking, &path).bearer(&old).await;
            if seats.code() == Some("entry_token_revoked") { Ok(()) } else { Err(format!("{seats:?}")) }
        })
        .await;
        let (active, waiting) = (world.admin().number("active").await, world.admin().number("waiting").await);
        assert_eq!((active, waiting), (0, 1));
    });
}

/// 40
#[test]
fn thirty_joins_at_once_leave_one_live_token() {
    World::s3().paused().replicas(2).run(async |world| {
        let path = "/v1/queues/main/tokens";
        let joins = (0..30).map(|_| async {
            let ann = world.user("ann");
            ann.call(acceptance::Side::Queue, "POST", path).await.ok(201).text("queue_token")
        });
        let tokens = at_once(joins).await;
        let mut live = 0;
        for token in &tokens {
            let poll = world.get(acceptance::Side::Queue, "/v1/queues/main/tokens/me").bearer(token).await;
            match poll.status {
                200 => live += 1,
                _ => drop(poll.refused(410, "token_replaced")),
            }
        }
        assert_eq!(live, 1);
        assert_eq!(world.admin().number("waiting").await, 1);
    });
}

/// 41
#[test]
fn looking_without_a_place_is_404_and_makes_none() {
    World::s3().paused().run(async |world| {
        let ann = world.user("ann");
        ann.poll_as_user().await.refused(404, "token_not_found");
        ann.call(acceptance::Side::Queue, "GET", &ann.me("/events")).await.refused(404, "token_not_found");
        assert_eq!(world.admin().number("waiting").await, 0);
    });
}

/// 42
#[test]
fn seats_are_refused_in_line_and_an_empty_line_lets_in_at_once() {
    World::s3().queue(json!({ "max_active": 1 })).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let joined = ann.join().await.ok(201);
        assert_eq!(joined["status"], "active");
        ann.seats(world.date()).await.ok(200);
        assert_eq!(bob.join().await.ok(201)["status"], "waiting");
        bob.seats(world.date()).await.refused(401, "entry_token_required");
        bob.reserve(world.date(), &[1]).await.refused(401, "entry_token_required");
    });
}

/// 42
#[test]
fn nobody_is_let_in_past_a_line_that_is_not_empty() {
    World::s3().queue(json!({ "max_active": 1, "rejoin": "keep" })).run(async |world| {
        let first = world.user("first");
        first.join().await.ok(201);
        let line = world.users("person", 6);
        for person in &line {
            assert_eq!(person.join().await.ok(201)["status"], "waiting");
        }
        let mut inside = &first;
        for (number, next) in line.iter().enumerate() {
            inside.leave().await.ok(204);
            let late = world.user(&format!("late-{number}"));
            assert_eq!(late.join().await.ok(201)["status"], "waiting", "late-{number} passed the line");
            next.until_active().await;
            inside = next;
        }
    });
}

/// 42: many join at the moment when a slot is free and the line is empty
#[test]
fn joins_at_once_never_exceed_the_cap() {
    World::s3().queue(json!({ "max_active": 3, "admission": null })).replicas(2).run(async |world| {
        let people = world.users("person", 60);
        let answers = at_once(people.iter().map(User::join)).await;
        let active = answers.iter().filter(|answer| answer.body["status"] == "active").count();
        assert!(active <= 3, "{active} were let in by their join");
        eventually("three are inside", async || {
            let queue = world.admin().queue("main").await.ok(200);
            let seen = (queue.int("active"), queue.int("waiting"));
            assert!(seen.0 <= 3, "{seen:?}");
            if seen == (3, 57) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    });
}

/// 43
#[test]
fn remaining_and_sold_out_follow_holds_sales_and_lapses() {
    World::s3().open_door().run(async |world| {
        let date = world.add_date(world.concert(), 3).await;
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let check = async |remaining: i64, sold_out: bool| {
            let visitor = world.user("visitor");
            visitor.take(world.entry_token("visitor", "main").await);
            let seats = visitor.seats(&date).await.ok(200);
            assert_eq!((seats.int("remaining"), &seats["sold_out"]), (remaining, &json!(sold_out)));
            let list = visitor.dates_where(world.concert(), "?bookable=false").await.ok(200);
            let listed = list.list("items").iter().find(|item| item["schedule_id"] == date.id.as_str());
            let listed = listed.expect("the date is listed");
            assert_eq!((&listed["remaining"], &listed["sold_out"]), (&json!(remaining), &json!(sold_out)));
        };
        check(3, false).await;
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let bought = ann.reserve(&date, &[1]).await.ok(201);
        check(2, false).await;
        ann.pay(&bought).await.ok(201);
        check(2, false).await;
        bob.enter().await;
        let hold = bob.reserve(&date, &[2, 3]).await.ok(201);
        check(0, true).await;
        bob.cancel(&hold).await.ok(204);
        check(2, false).await;
        bob.enter().await;
        bob.reserve(&date, &[3]).await.ok(201);
        check(1, false).await;
        world.advance_seconds(300);
        check(2, false).await;
    });
}

/// 44
#[test]
fn seats_that_do_not_exist_are_refused_by_name() {
    World::s3().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let books = world.books(&[&ann]).await;
        for number in [0, 51, -1] {
            ann.reserve(world.date(), &[number]).await.refused(422, "unknown_seat");
            ann.reserve(world.date(), &[1, number]).await.refused(422, "unknown_seat");
        }
        let id = &world.date().id;
        for numbers in
            [json!(["a"]), json!([1.5]), json!([]), json!([3, 3]), json!(1), json!([null]), json!({})]
        {
            let body = json!({ "schedule_id": id, "seat_numbers": numbers });
            let refusal = ann.reserve_json(&body).await.refused(422, "invalid_request");
            assert!(!refusal.list("errors").is_empty(), "{refusal:?}");
        }
        for number in [json!(i64::MAX), json!(u64::MAX), json!(1e300)] {
            let body = json!({ "schedule_id": id, "seat_numbers": [number] });
            ann.reserve_json(&body).await.refused_somehow().ok(422);
        }
        ann.reserve(world.date(), &[1, 2, 3, 4, 5]).await.refused(422, "too_many_seats");
        ann.reserve(world.date(), &[1, 2, 3, 4, 51]).await.refused(422, "unknown_seat");
        books.unchanged().await;
        ann.reserve(world.date(), &[1, 2, 3, 4]).await.ok(201);
    });
}

/// 45. With several replicas the others of the booking service hear of it within a second
#[test]
fn a_hold_spends_the_entry_token_and_the_next_person_comes_in() {
    World::s3().queue(json!({ "max_active": 1 })).replicas(1).run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        ann.enter().await;
        bob.join().await.ok(201);
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.reserve(world.date(), &[2]).await.refused(401, "entry_token_completed");
        ann.seats(world.date()).await.refused(401, "entry_token_completed");
        bob.until_active().await;
        ann.poll().await.refused(410, "token_completed");
        // A hold that fails does not spend it.
        cem.join().await.ok(201);
        bob.reserve(world.date(), &[1]).await.refused(409, "seat_taken");
        bob.reserve(world.date(), &[99]).await.refused(422, "unknown_seat");
        bob.seats(world.date()).await.ok(200);
        assert_eq!(cem.poll().await.ok(200)["status"], "waiting");
        bob.reserve(world.date(), &[2]).await.ok(201);
        cem.until_active().await;
        ann.pay(&hold).await.ok(201);
        assert_eq!(world.admin().number("completed_total").await, 2);
    });
}

/// 46
#[test]
fn held_reservations_are_listed_paid_by_id_and_gone_from_the_list() {
    World::s3().open_door().queue(json!({ "rejoin": "keep" })).run(async |world| {
        let ann = world.user("ann");
        ann.charge(PRICE).await.ok(201);
        let mut ids = Vec::new();
        for seat in [1, 2] {
            eventually("ann may join again", async || {
                let joined = ann.join().await;
                if joined.status == 201 { Ok(()) } else { Err(format!("{joined:?}")) }
            })
            .await;
            ids.push(ann.reserve(world.date(), &[seat]).await.ok(201).text("reservation_id"));
        }
        let listed = ann.reservations("held").await;
        assert_eq!(listed.len(), 2);
        for item in &listed {
            for member in [
                "reservation_id",
                "status",
                "schedule_id",
                "seats",
                "amount",
                "held_at",
                "expires_at",
                "remaining_seconds",
            ] {
                assert!(!item[member].is_null(), "{member}: {item}");
            }
        }
        ann.pay_call(&ids[0]).await.ok(201);
        let of = async |status: &str| -> Vec<String> {
            let listed = ann.reservations(status).await;
            listed.iter().map(|item| item["reservation_id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of("held").await, ids[1..]);
        assert_eq!(of("confirmed").await, ids[..1]);
        assert!(of("expired").await.is_empty() && of("cancelled").await.is_empty());
        ann.booking("GET", "/v1/reservations?status=lost").await.refused(422, "invalid_request");
    });
}

/// 47
#[test]
fn a_balance_equal_to_the_price_pays_and_leaves_nothing() {
    World::s3().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        assert_eq!(ann.pay(&hold).await.ok(201)["balance_after"], 0);
        assert_eq!(ann.balance().await, 0);
    });
}

/// 50
#[test]
fn a_cancelled_hold_frees_its_seats_once() {
    World::s3().open_door().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1, 2]).await.ok(201);
        bob.cancel(&hold).await.refused(404, "reservation_not_found");
        ann.cancel(&hold).await.ok(204);
        assert_eq!(world.seat_map(world.date()).await.available.len(), 50);
        bob.enter().await;
        let taken = bob.reserve(world.date(), &[1]).await.ok(201);
        ann.cancel(&hold).await.refused(409, "not_held");
        let map: SeatMap = world.seat_map(world.date()).await;
        assert_eq!((map.held, map.available.len()), (vec![1], 49));
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "cancelled");
        world.advance_seconds(300);
        bob.cancel(&taken).await.refused(410, "hold_expired");
        bob.charge(PRICE).await.ok(201);
        bob.enter().await;
        let bought = bob.reserve(world.date(), &[1]).await.ok(201);
        bob.pay(&bought).await.ok(201);
        bob.cancel(&bought).await.refused(409, "not_held");
    });
}

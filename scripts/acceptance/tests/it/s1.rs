//! S1: two tokens, once-a-minute sweep. Requirements 17 to 31; 30 is in `races`.

use acceptance::{PRICE, Side, World, eventually, is_uuid_v7};
use serde_json::json;

/// 17
#[test]
fn a_poll_in_line_tells_the_position_and_the_crowd() {
    World::s1().paused().run(async |world| {
        let people = world.users("person", 7);
        for person in &people {
            person.join().await.ok(201);
        }
        for (ahead, person) in (0_i64..).zip(&people) {
            eventually("the replica sees the whole line", async || {
                let status = person.poll().await.ok(200);
                let (position, waiting) = (status.int("position"), status.int("waiting"));
                assert!(position <= waiting, "{status:?}");
                if (position, waiting) == (ahead + 1, 7) { Ok(()) } else { Err(format!("{status:?}")) }
            })
            .await;
        }
        let as_user = people[3].poll_as_user().await.ok(200);
        assert_eq!((as_user.int("position"), as_user.int("waiting")), (4, 7));
    });
}

/// 18
#[test]
fn who_is_let_in_gets_an_entry_token_with_its_expiry() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        let status = ann.enter().await;
        let claims = ann.claims();
        assert_ne!(status["entry_token"], status["queue_token"]);
        assert_eq!(status.time("entry_expires_at").timestamp(), claims.exp);
        assert_eq!(claims.exp - claims.iat, 600);
        assert!(status.time("admitted_at").timestamp() <= claims.iat + 1);
        assert!(status["position"].is_null());
        assert_eq!(
            (claims.sub.as_str(), claims.queue.as_str(), claims.aud.as_str()),
            ("ann", "main", "booking")
        );
        assert!(claims.nbf <= claims.iat && !claims.jti.is_empty() && !claims.iss.is_empty());
        for _ in 0..3 {
            world.advance_seconds(5);
            assert_eq!(ann.poll().await.ok(200)["admitted_at"], status["admitted_at"]);
            assert_eq!(ann.claims(), claims);
            ann.poll_as_user().await.ok(200);
            assert_eq!(ann.claims(), claims);
        }
    });
}

/// 18
#[test]
fn an_admission_is_claimed_by_the_first_poll_after_it() {
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        world.admin().admit("main", 1).await.ok(200);
        world.advance_seconds(20);
        let status = ann.until_active().await;
        let (admitted, claims) = (status.time("admitted_at"), ann.claims());
        assert!((19..=22).contains(&(claims.iat - admitted.timestamp())), "{claims:?} {admitted}");
        assert_eq!(claims.exp - claims.iat, 600);
        assert_eq!(status.text("admitted_at").len(), "2026-01-01T00:00:00.000Z".len(), "milliseconds");
    });
}

/// 18
#[test]
fn the_entry_token_is_signed_with_a_published_key() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let header = jsonwebtoken::decode_header(ann.entry_token()).unwrap();
        assert_eq!(header.alg, jsonwebtoken::Algorithm::EdDSA);
        assert_eq!(header.typ.as_deref(), Some("entry+jwt"));
        let jwks = world.get(Side::Queue, "/.well-known/jwks.json").await.ok(200);
        assert!(jwks.header("cache-control").is_some_and(|value| value.contains("max-age")), "{jwks:?}");
        let kids: Vec<_> = jwks.list("keys").iter().map(|key| key["kid"].as_str()).collect();
        assert!(kids.contains(&header.kid.as_deref()), "{jwks:?}");
        assert!(jwks.list("keys").iter().all(|key| key["d"].is_null()), "a private key is published");
    });
}

/// 19
#[test]
fn the_queue_token_opens_nothing() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let books = world.books(&[&ann]).await;
        let (date, reservation) = (world.date(), hold.text("reservation_id"));
        let (seats, pay) = (
            json!({ "schedule_id": date.id, "seat_numbers": [2] }),
            json!({ "reservation_id": reservation }),
        );
        let token = ann.queue_token();
        for (method, path, body) in [
            ("GET", format!("/v1/concerts/{}/schedules", date.concert.id), None),
            ("GET", format!("/v1/schedules/{}/seats", date.id), None),
            ("POST", "/v1/reservations".to_owned(), Some(&seats)),
            ("POST", "/v1/payments".to_owned(), Some(&pay)),
        ] {
            let call = world.call(Side::Booking, method, &path).bearer(&token);
            let call = if let Some(body) = body { call.json(body) } else { call };
            call.await.refused(401, "entry_token_required");
        }
        for (method, path) in [
            ("GET", "/v1/points".to_owned()),
            ("GET", "/v1/points/history".to_owned()),
            ("GET", "/v1/reservations".to_owned()),
            ("GET", format!("/v1/reservations/{reservation}")),
            ("DELETE", format!("/v1/reservations/{reservation}")),
        ] {
            world.call(Side::Booking, method, &path).bearer(&token).await.refused(401, "invalid_token");
        }
        books.unchanged().await;
    });
}

/// 20, 26
#[test]
fn the_entry_token_of_one_cannot_act_for_another() {
    World::s1().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        ann.charge(PRICE).await.ok(201);
        bob.charge(PRICE).await.ok(201);
        let hold = bob.reserve(world.date(), &[1]).await.ok(201);
        let books = world.books(&[&ann, &bob]).await;
        ann.pay(&hold).await.refused(404, "reservation_not_found");
        let path = format!("/v1/reservations/{}", hold.text("reservation_id"));
        for method in ["GET", "DELETE"] {
            let call = world.call(Side::Booking, method, &path).bearer(&ann.entry_token());
            call.await.refused(404, "reservation_not_found");
        }
        let list = world.get(Side::Booking, "/v1/reservations").bearer(&ann.entry_token()).await.ok(200);
        assert!(list.list("items").is_empty());
        books.unchanged().await;
        let payment = bob.pay(&hold).await.ok(201);
        ann.receipt(&payment).await.refused(404, "payment_not_found");
        ann.refund(&payment).await.refused(404, "payment_not_found");
        let points = world.get(Side::Booking, "/v1/points").bearer(&ann.entry_token()).await.ok(200);
        assert_eq!(points["balance"], PRICE);
    });
}

/// 21
#[test]
fn the_concerts_are_open_to_all_and_dates_and_seats_are_not() {
    World::s1().run(async |world| {
        let concerts = world.get(Side::Booking, "/v1/concerts").await.ok(200);
        let listed: Vec<_> = concerts.list("items").iter().map(|concert| &concert["concert_id"]).collect();
        assert_eq!(listed, [world.concert().id.as_str()]);
        let one = world.get(Side::Booking, &format!("/v1/concerts/{}", world.concert().id)).await.ok(200);
        assert_eq!((&one["concert_id"], &one["title"]), (&json!(world.concert().id), &json!("The concert")));
        world.get(Side::Booking, "/v1/concerts").bearer("rubbish").await.ok(200);
        for path in [
            format!("/v1/concerts/{}/schedules", world.concert().id),
            format!("/v1/schedules/{}/seats", world.date().id),
        ] {
            world.get(Side::Booking, &path).await.refused(401, "entry_token_required");
        }
    });
}

/// 22
#[test]
fn a_hold_answers_with_the_whole_order() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let blocks = json!({ "seats": { "blocks": [
            { "section": "A", "row": "1", "from": 1, "to": 3, "price": 700 },
            { "section": "B", "row": "9", "from": 10, "to": 12, "price": 300 },
        ] } });
        let date = world.add_date_with(world.concert(), blocks).await;
        let hold = ann.reserve(&date, &[2, 11]).await.ok(201);
        assert!(is_uuid_v7(&hold["reservation_id"]));
        assert_eq!((&hold["status"], &hold["schedule_id"]), (&json!("held"), &json!(date.id)));
        let seats: Vec<_> = hold.list("seats").iter().map(|seat| (&seat["number"], &seat["price"])).collect();
        assert_eq!(seats, [(&json!(2), &json!(700)), (&json!(11), &json!(300))]);
        assert_eq!(hold["amount"], 1000);
        assert!(hold.time("expires_at") > hold.time("held_at"));
        hold.int("remaining_seconds");
        let again = ann.reservation(&hold).await.ok(200);
        for member in ["reservation_id", "status", "schedule_id", "seats", "amount", "held_at", "expires_at"]
        {
            assert_eq!(again[member], hold[member], "{member}");
        }
    });
}

/// 23
#[test]
fn a_free_seat_asked_for_with_a_taken_one_stays_free() {
    World::s1().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        ann.reserve(world.date(), &[2, 4]).await.ok(201);
        let books = world.books(&[&ann, &bob]).await;
        let refusal = bob.reserve(world.date(), &[1, 2, 3, 4]).await.refused(409, "seat_taken");
        assert_eq!(refusal.ints("seat_numbers"), [2, 4]);
        books.unchanged().await;
        bob.reserve(world.date(), &[1]).await.ok(201);
    });
}

/// 24
#[test]
fn a_charge_answers_with_the_balance_after_it() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        let first = ann.charge(700).await.ok(201);
        assert!(!first["entry_id"].is_null(), "{first:?}");
        assert_eq!((first.int("amount"), first.int("balance")), (700, 700));
        assert_eq!(ann.charge(300).await.ok(201)["balance"], 1000);
        let used = ann.use_points(400).await.ok(201);
        assert_eq!(used["balance"], 600);
    });
}

/// 25
#[test]
fn paying_with_a_lapsed_entry_token_is_refused_and_the_order_stays_held() {
    World::s1().queue(json!({ "entry_ttl_seconds": 60 })).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        world.advance_seconds(63);
        ann.pay(&hold).await.refused(401, "entry_token_expired");
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "held");
        assert_eq!(ann.balance().await, PRICE);
        assert_eq!(world.seat_map(world.date()).await.held, [1]);
        // Any valid entry token of the same person and queue pays it.
        ann.poll().await.refused(410, "token_expired");
        ann.enter().await;
        ann.pay(&hold).await.ok(201);
    });
}

/// 27
#[test]
fn a_lapsed_hold_cannot_be_paid_and_nothing_is_debited() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        world.advance_seconds(300);
        ann.pay(&hold).await.refused(410, "hold_expired");
        assert_eq!(ann.balance().await, PRICE);
        assert_eq!(ann.history().await.len(), 1);
        assert!(world.seat_map(world.date()).await.available.contains(&1));
    });
}

/// 28
#[test]
fn payment_ends_the_entry_token_at_once_and_frees_the_slot() {
    World::s1().queue(json!({ "max_active": 1 })).replicas(2).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        assert_eq!(bob.join().await.ok(201)["status"], "waiting");
        ann.charge(2 * PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let other = ann.reserve(world.date(), &[2]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        for _ in 0..6 {
            // The database knows at once, on every replica.
            ann.reserve(world.date(), &[3]).await.refused(401, "entry_token_completed");
            ann.pay(&other).await.refused(401, "entry_token_completed");
        }
        for _ in 0..6 {
            eventually("no replica shows seats for a spent token", async || {
                let seats = ann.seats(world.date()).await;
                if seats.code() == Some("entry_token_completed") { Ok(()) } else { Err(format!("{seats:?}")) }
            })
            .await;
        }
        bob.until_active().await;
        ann.poll().await.refused(410, "token_completed");
        let queue = world.admin().queue("main").await.ok(200);
        assert_eq!((queue.int("active"), queue.int("completed_total")), (1, 1));
        assert_eq!(ann.balance().await, PRICE);
    });
}

/// 29
#[test]
fn three_lapsed_holds_are_free_and_a_payment_just_after_the_deadline_fails() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(3 * PRICE).await.ok(201);
        let mut holds = Vec::new();
        for seat in 1..=3 {
            holds.push(ann.reserve(world.date(), &[seat]).await.ok(201));
        }
        let left = holds[2].time("expires_at") - world.booking_clock().now();
        world.advance(left.to_std().unwrap() + std::time::Duration::from_millis(1));
        for hold in &holds {
            ann.pay(hold).await.refused(410, "hold_expired");
        }
        assert_eq!(world.seat_map(world.date()).await.available.len(), 50);
        assert_eq!(world.admin().report(world.date()).await.ok(200)["free"], 50);
        assert_eq!(ann.reservations("expired").await.len(), 3);
        let bob = world.user("bob");
        bob.enter().await;
        bob.reserve(world.date(), &[1, 2, 3]).await.ok(201);
        assert_eq!(ann.balance().await, 3 * PRICE);
    });
}

/// 29
#[test]
fn a_hold_can_be_paid_until_shortly_before_its_deadline() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        world.advance_seconds(298);
        ann.pay(&hold).await.ok(201);
        world.advance_seconds(120);
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "confirmed");
        assert_eq!(world.seat_map(world.date()).await.sold, [1]);
    });
}

/// 31
#[test]
fn an_idle_active_token_is_refused_past_its_ttl_and_its_slot_refilled() {
    World::s1().queue(json!({ "max_active": 1, "waiting_ttl_seconds": 0 })).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.join().await.ok(201);
        world.advance_seconds(599);
        assert_eq!(bob.poll().await.ok(200)["status"], "waiting");
        world.advance_seconds(1);
        ann.seats(world.date()).await.refused(401, "entry_token_expired");
        assert_eq!(world.admin().number("active").await, 1, "a slot outlives its token by two seconds");
        assert_eq!(bob.poll().await.ok(200)["status"], "waiting");
        world.advance_seconds(3);
        ann.reserve(world.date(), &[1]).await.refused(401, "entry_token_expired");
        ann.poll().await.refused(410, "token_expired");
        bob.until_active().await;
        assert_eq!(world.admin().number("active").await, 1);
    });
}

/// 31, contract 3.3: let in, but never polls again
#[test]
fn a_slot_that_is_not_claimed_in_its_window_goes_back() {
    let settings = json!({ "max_active": 1, "waiting_ttl_seconds": 0, "claim_window_seconds": 30 });
    World::s1().queue(settings).paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        world.admin().resume("main").await.ok(200);
        eventually("ann is let in", async || {
            let active = world.admin().number("active").await;
            if active == 1 { Ok(()) } else { Err(active.to_string()) }
        })
        .await;
        world.advance_seconds(31);
        bob.until_active().await;
        ann.poll().await.refused(410, "token_expired");
        assert_eq!(world.admin().number("active").await, 1);
    });
}

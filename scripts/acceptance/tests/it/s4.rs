//! S4: points with history, heartbeat, cap, both limits. Requirements 51 to 65; points have a file of
//! their own.

use std::collections::HashSet;

use acceptance::{PRICE, SeatMap, Side, World, eventually, pause};
use serde_json::json;

/// 51
#[test]
fn seats_are_numbered_from_one_to_fifty_each_once() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let seats = ann.seats(world.date()).await.ok(200);
        let numbers: Vec<_> = seats.list("seats").iter().filter_map(|seat| seat["number"].as_i64()).collect();
        assert_eq!(numbers.len(), 50);
        assert_eq!(numbers.into_iter().collect::<HashSet<_>>(), (1..=50).collect());
    });
}

/// 52
#[test]
fn a_date_without_seats_is_a_named_refusal() {
    World::s4().run(async |world| {
        let bare = world.add_date_with(world.concert(), json!({})).await;
        let ann = world.user("ann");
        ann.enter().await;
        ann.seats(&bare).await.refused(409, "seats_not_ready");
        ann.reserve(&bare, &[1]).await.refused(409, "seats_not_ready");
        assert_eq!(ann.reservations("").await.len(), 0);
    });
}

/// 53; forged tokens are in `tokens`
#[test]
fn an_expired_malformed_foreign_or_waiting_token_cannot_reserve() {
    World::s4().queue(json!({ "entry_max_lifetime_seconds": 600 })).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        world.admin().put_queue("other", &json!({})).await.ok(201);
        let foreign = bob.at("other");
        foreign.enter().await;
        ann.enter().await;
        let expired = ann.entry_token();
        world.advance_seconds(605);
        world.admin().pause("main").await.ok(200);
        bob.join().await.ok(201);
        let fresh = world.entry_token("bob", "other").await;
        let books = world.books(&[&ann, &bob]).await;
        for (token, status, code) in [
            (expired, 401, "entry_token_expired"),
            ("not.a.token".to_owned(), 401, "invalid_token"),
            (fresh, 403, "wrong_queue"),
            (foreign.entry_token(), 401, "entry_token_expired"),
            (bob.queue_token(), 401, "entry_token_required"),
            (bob.token().to_owned(), 401, "entry_token_required"),
        ] {
            let body = json!({ "schedule_id": world.date().id, "seat_numbers": [1] });
            let call = world.call(Side::Booking, "POST", "/v1/reservations").bearer(&token).json(&body);
            call.await.refused(status, code);
            books.unchanged().await;
        }
    });
}

/// 54
#[test]
fn polling_moves_the_expiry_and_silence_ends_it() {
    World::s4().paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let first = ann.join().await.ok(201).time("token_expires_at");
        bob.join().await.ok(201);
        pause(1000).await; // polls are written in batches
        world.advance_seconds(90);
        let second = ann.poll().await.ok(200).time("token_expires_at");
        assert!((second - first).num_seconds() >= 88, "{first} then {second}");
        bob.poll().await.ok(200);
        pause(1000).await;
        world.advance_seconds(90);
        bob.poll().await.ok(200);
        pause(1000).await;
        world.advance_seconds(40);
        eventually("bob moves up", async || {
            let status = bob.poll().await.ok(200);
            if status["position"] == 1 && status["waiting"] == 1 {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        ann.poll().await.refused(410, "token_expired");
        ann.poll_as_user().await.refused(404, "token_not_found");
    });
}

/// 54, S4's settings: polling while active extends, up to the longest life
#[test]
fn polling_while_active_extends_the_admission_up_to_its_longest_life() {
    let settings = json!({ "entry_ttl_seconds": 60, "entry_max_lifetime_seconds": 150 });
    World::s4().queue(settings).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let first = ann.claims();
        assert_eq!(first.exp - first.iat, 60);
        for seconds in [50, 50, 40] {
            world.advance_seconds(seconds);
            ann.poll().await.ok(200);
            let now = ann.claims();
            assert_eq!((&now.jti, now.iat), (&first.jti, first.iat));
            assert!(now.exp <= first.iat + 150, "{now:?}");
            ann.seats(world.date()).await.ok(200);
        }
        assert_eq!(ann.claims().exp, first.iat + 150);
        world.advance_seconds(14);
        ann.poll().await.refused(410, "token_expired");
        ann.seats(world.date()).await.refused(401, "entry_token_expired");
    });
}

/// 55
#[test]
fn who_is_let_in_is_sent_on_and_a_browser_by_303() {
    let shop = "https://shop.example/main";
    World::s4().queue(json!({ "redirect_url": shop })).paused().run(async |world| {
        let ann = world.user("ann");
        let browse = async || {
            let call = world.get(Side::Queue, &ann.me("")).bearer(&ann.queue_token());
            call.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8").await
        };
        ann.join().await.ok(201);
        assert_ne!(browse().await.status, 303);
        world.admin().resume("main").await.ok(200);
        assert_eq!(ann.until_active().await["redirect_url"], shop);
        let sent = browse().await.ok(303);
        assert_eq!(sent.header("location"), Some(shop));
        assert_eq!(ann.poll().await.ok(200)["status"], "active");
    });
}

/// 57, 58; positions that rise are refused by the harness at every poll
#[test]
fn polling_hard_never_jumps_the_line() {
    let settings = json!({ "admission": { "users": 3, "every_seconds": 1 }, "max_active": null });
    World::s4().queue(settings).paused().replicas(2).run(async |world| {
        let people = world.users("person", 30);
        for person in &people {
            person.join().await.ok(201);
        }
        world.admin().resume("main").await.ok(200);
        let greedy = &people[29];
        while world.admin().number("active").await < 27 {
            for _ in 0..5 {
                let status = greedy.poll().await.ok(200);
                assert!(status["status"] == "waiting" || world.admin().number("active").await >= 27);
            }
            people[15].poll().await.ok(200);
            world.advance(std::time::Duration::from_millis(250));
        }
        let mut admitted = Vec::new();
        for person in &people {
            admitted.push(person.until_active().await.time("admitted_at"));
        }
        assert!(admitted.is_sorted(), "not in the order of arrival: {admitted:?}");
    });
}

/// 54, 57: the silent are skipped and cost nobody a turn
#[test]
fn silent_people_are_skipped_without_spending_the_rate() {
    let settings = json!({
        "admission": { "users": 2, "every_seconds": 3600 }, "waiting_ttl_seconds": 60, "max_active": null,
    });
    World::s4().queue(settings).paused().run(async |world| {
        let (silent, present) = (world.users("silent", 5), world.users("present", 2));
        for person in silent.iter().chain(&present) {
            person.join().await.ok(201);
        }
        pause(1000).await;
        world.advance_seconds(40);
        for person in &present {
            person.poll().await.ok(200);
        }
        pause(1000).await; // polls are written in batches
        world.advance_seconds(30);
        world.admin().resume("main").await.ok(200);
        for person in &present {
            person.until_active().await;
        }
        for person in &silent {
            person.poll().await.refused(410, "token_expired");
        }
        assert_eq!(world.admin().number("admitted_total").await, 2);
    });
}

/// 62
#[test]
fn a_payment_leaves_row_ledger_reservation_spent_token_and_a_freed_slot() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(2 * PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        ann.receipt(&payment).await.ok(200);
        let ledger = ann.history().await;
        assert_eq!(ledger.len(), 2);
        assert_eq!(
            (&ledger[0]["kind"], &ledger[0]["payment_id"]),
            (&json!("payment"), &payment["payment_id"])
        );
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "confirmed");
        ann.reserve(world.date(), &[2]).await.refused(401, "entry_token_completed");
        world.admin().until_completed(1).await;
        assert_eq!(world.admin().number("active").await, 0);
    });
}

/// 63, on the world's clock; the real five minutes are for a longer run
#[test]
fn at_five_minutes_and_one_second_a_hold_is_refused_and_bookable_by_others() {
    World::s4().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        world.advance_seconds(301);
        ann.pay(&hold).await.refused(410, "hold_expired");
        bob.enter().await;
        let map = SeatMap::of(&bob.seats(world.date()).await.ok(200));
        assert!(map.available.contains(&1));
        bob.reserve(world.date(), &[1]).await.ok(201);
    });
}

/// 63, on the real clock
#[test]
fn a_hold_of_one_second_ends_after_one_second() {
    World::s4().booking_flags(&["--hold-ttl-seconds", "1"]).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        bob.reserve(world.date(), &[1]).await.refused(409, "seat_taken");
        pause(1010).await;
        ann.pay(&hold).await.refused(410, "hold_expired");
        bob.reserve(world.date(), &[1]).await.ok(201);
    });
}

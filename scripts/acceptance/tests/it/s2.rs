//! S2: flow control. Requirements 32 to 38; 35 and 37 are in `races`.

use acceptance::{PRICE, Side, World, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

/// 32
#[test]
fn five_every_two_seconds_are_let_in_in_the_order_of_arrival() {
    let settings = json!({ "admission": { "users": 5, "every_seconds": 2 } });
    World::s2().queue(settings).paused().run(flow_in_fives);
}

/// 33
#[test]
fn two_replicas_let_in_no_more_than_one() {
    let settings = json!({ "admission": { "users": 5, "every_seconds": 2 } });
    World::s2().queue(settings).paused().replicas(2).run(flow_in_fives);
}

/// 33
#[test]
fn four_replicas_let_in_no_more_than_one() {
    let settings = json!({ "admission": { "users": 5, "every_seconds": 2 } });
    World::s2().queue(settings).paused().replicas(4).run(flow_in_fives);
}

async fn flow_in_fives(world: &World) {
    let people = world.users("person", 23);
    for person in &people {
        person.join().await.ok(201);
    }
    world.admin().resume("main").await.ok(200);
    for expected in [5, 10, 15, 20, 23] {
        eventually(&format!("{expected} are let in"), async || {
            let active = world.admin().number("active").await;
            if active >= expected { Ok(()) } else { Err(active.to_string()) }
        })
        .await;
        world.advance_seconds(2);
    }
    let mut admitted = Vec::new();
    for person in &people {
        admitted.push(person.poll().await.ok(200).time("admitted_at"));
    }
    in_order_and_at_most(5, &admitted);
}

/// Of people in the order of their arrival: let in in that order, and at most `most` in any two seconds.
fn in_order_and_at_most(most: usize, admitted: &[DateTime<Utc>]) {
    assert!(admitted.is_sorted(), "not in the order of arrival: {admitted:?}");
    for these in admitted.windows(most + 1) {
        assert!(these[most] - these[0] >= TimeDelta::seconds(2), "within two seconds: {these:?}");
    }
}

/// 32: in any n seconds, not in each n seconds of the clock
#[test]
fn the_window_slides() {
    let settings = json!({ "admission": { "users": 5, "every_seconds": 100 }, "waiting_ttl_seconds": 0 });
    World::s2().queue(settings).run(async |world| {
        let admitted = async |expected: i64| {
            eventually(&format!("{expected} are let in"), async || {
                let admitted = world.admin().number("admitted_total").await;
                if admitted == expected { Ok(()) } else { Err(admitted.to_string()) }
            })
            .await;
            acceptance::pause(600).await;
            assert_eq!(world.admin().number("admitted_total").await, expected);
        };
        for person in world.users("early", 3) {
            person.join().await.ok(201);
        }
        admitted(3).await;
        world.advance_seconds(80);
        for person in world.users("late", 20) {
            person.join().await.ok(201);
        }
        admitted(5).await; // the window has the three and these two
        world.advance_seconds(21);
        admitted(8).await; // the three have left it
        world.advance_seconds(60);
        admitted(8).await;
        world.advance_seconds(21);
        admitted(10).await; // the two have
    });
}

/// 32: nothing is banked while idle
#[test]
fn an_idle_hour_does_not_let_the_next_crowd_pass() {
    let settings = json!({ "admission": { "users": 2, "every_seconds": 60 } });
    World::s2().queue(settings).paused().run(async |world| {
        world.admin().resume("main").await.ok(200);
        world.advance_seconds(3600);
        world.admin().pause("main").await.ok(200);
        for person in world.users("person", 9) {
            person.join().await.ok(201);
        }
        world.admin().resume("main").await.ok(200);
        eventually("two are let in", async || {
            let active = world.admin().number("active").await;
            if active == 2 { Ok(()) } else { Err(active.to_string()) }
        })
        .await;
        acceptance::pause(700).await;
        assert_eq!(world.admin().number("active").await, 2);
    });
}

/// 34, as far as one process goes: a replica that goes away takes nobody with it
#[test]
fn a_replica_that_dies_between_two_ticks_loses_nobody() {
    let settings = json!({ "admission": { "users": 4, "every_seconds": 2 } });
    World::s2().queue(settings).paused().replicas(2).run(async |world| {
        let people = world.users("person", 12);
        for person in &people {
            person.join().await.ok(201);
        }
        world.admin().resume("main").await.ok(200);
        let on_second = async |number: &str| {
            let call = world.admin().call(Side::QueueOps, "GET", "/admin/v1/queues/main").on(1);
            call.await.ok(200).int(number)
        };
        for expected in [4, 8, 12] {
            eventually(&format!("{expected} are let in"), async || {
                let active = on_second("active").await;
                if active >= expected { Ok(()) } else { Err(active.to_string()) }
            })
            .await;
            if expected == 4 {
                world.kill(Side::Queue).await;
            }
            world.advance_seconds(2);
        }
        let mut admitted = Vec::new();
        for person in &people {
            let call = world.get(Side::Queue, &person.me("")).on(1).bearer(&person.queue_token());
            admitted.push(call.await.ok(200).time("admitted_at"));
        }
        in_order_and_at_most(4, &admitted);
        assert_eq!(on_second("admitted_total").await, 12);
    });
}

/// S2's settings: one queue per concert, only reserving is gated
#[test]
fn each_concert_has_its_own_queue_and_only_reserving_is_gated() {
    World::s2().run(async |world| {
        world.admin().put_queue("second", &json!({})).await.ok(201);
        let concert = world.add_concert("The second", "second").await;
        let date = world.add_date(&concert, 10).await;
        let ann = world.user("ann");
        ann.enter().await;
        for path in
            [format!("/v1/concerts/{}/schedules", concert.id), format!("/v1/schedules/{}/seats", date.id)]
        {
            world.get(Side::Booking, &path).await.ok(200);
            world.get(Side::Booking, &path).bearer("rubbish").await.ok(200);
        }
        ann.reserve(&date, &[1]).await.refused(403, "wrong_queue");
        ann.reserve(world.date(), &[1]).await.ok(201);
        let there = ann.at("second");
        there.enter().await;
        there.reserve(&date, &[1]).await.ok(201);
        there.reserve(world.date(), &[2]).await.refused(403, "wrong_queue");
    });
}

/// 36
#[test]
fn a_payment_has_one_row_and_a_failed_debit_leaves_none() {
    World::s2().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.charge(PRICE - 1).await.ok(201);
        for _ in 0..3 {
            ann.pay(&hold).await.refused(402, "insufficient_points");
        }
        assert_eq!(kinds(&ann.history().await), ["charge"]);
        ann.charge(1).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        ann.pay(&hold).await.refused(409, "already_paid");
        let ledger = ann.history().await;
        assert_eq!(kinds(&ledger), ["payment", "charge", "charge"]);
        assert_eq!(ledger[0]["payment_id"], payment["payment_id"]);
        assert_eq!((&ledger[0]["amount"], &ledger[0]["balance_after"]), (&json!(-PRICE), &json!(0)));
        let report = world.admin().report(world.date()).await.ok(200);
        assert_eq!((report.int("sold"), report.int("revenue")), (1, PRICE));
    });
}

fn kinds(ledger: &[serde_json::Value]) -> Vec<&str> {
    ledger.iter().filter_map(|row| row["kind"].as_str()).collect()
}

/// 38
#[test]
fn paying_after_the_hold_lapsed_and_another_took_the_seat_is_refused() {
    World::s2().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        bob.charge(PRICE).await.ok(201);
        let lapsed = ann.reserve(world.date(), &[1]).await.ok(201);
        world.advance_seconds(300);
        bob.enter().await;
        let taken = bob.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&lapsed).await.refused(410, "hold_expired");
        ann.cancel(&lapsed).await.refused(410, "hold_expired");
        assert_eq!(ann.balance().await, PRICE);
        assert_eq!(world.seat_map(world.date()).await.held, [1]);
        bob.pay(&taken).await.ok(201);
        ann.pay(&lapsed).await.refused(410, "hold_expired");
        assert_eq!(world.seat_map(world.date()).await.sold, [1]);
        assert_eq!(bob.reservation(&taken).await.ok(200)["status"], "confirmed");
    });
}

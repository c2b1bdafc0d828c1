//! Cancelled dates and concerts: nothing more is sold, every hold is released, every payment refunded once;
//! whatever races with it, and whoever is killed meanwhile. The books are audited after each test.

use std::time::Duration;

use acceptance::{Answer, Date, PRICE, Side, User, World, at_once, eventually, within};
use serde_json::json;

/// Somebody inside, with points.
async fn buyer<'w>(world: &'w World, name: &str) -> User<'w> {
    let person = world.user(name);
    person.enter().await;
    person.charge(10 * PRICE).await.ok(201);
    person
}

#[test]
fn a_cancelled_date_is_undone_and_everybody_sees_it() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (ann, bob, eve) =
            (buyer(world, "ann").await, buyer(world, "bob").await, buyer(world, "eve").await);
        let date = world.date();
        let kept = ann.reserve(&world.add_date(world.concert(), 5).await, &[1]).await.ok(201);
        let bought = ann.reserve(date, &[1, 2, 3]).await.ok(201);
        let lapsed = eve.reserve(date, &[9]).await.ok(201);
        let payment = ann.pay(&bought).await.ok(201);
        ann.refund_seats(&payment, &[2]).await.ok(201);
        world.advance_seconds(299);
        bob.take(world.entry_token("bob", "main").await);
        let held = bob.reserve(date, &[4, 5]).await.ok(201);
        world.advance_seconds(2);

        let first = world.admin().cancel_schedule(date).await.ok(200);
        assert_eq!(first["schedule_id"], date.id.as_str());
        // From here on, whether or not anything was undone yet.
        bob.pay(&held).await.refused(409, "not_held");
        bob.take(world.entry_token("bob", "main").await);
        bob.reserve(date, &[30]).await.refused(409, "sales_closed");
        let again = world.admin().cancel_schedule(date).await.ok(200);
        assert_eq!(again["cancelled_at"], first["cancelled_at"], "cancelled once");
        let done = world.admin().until_undone(date).await;
        assert_eq!((done.int("holds_released"), done.int("payments_refunded")), (1, 1));
        assert_eq!((done.int("payments_left"), done.int("payments_put_aside")), (0, 0));

        assert_eq!(bob.reservation(&held).await.ok(200)["status"], "cancelled");
        assert_eq!(ann.reservation(&bought).await.ok(200)["status"], "refunded");
        assert_eq!(eve.reservation(&lapsed).await.ok(200)["status"], "expired");
        assert_eq!(ann.balance().await, 10 * PRICE);
        let receipt = ann.receipt(&payment).await.ok(200);
        let reasons: Vec<_> = receipt.list("refunds").iter().map(|refund| refund["reason"].clone()).collect();
        assert_eq!(
            (reasons, receipt.int("refunded_amount")),
            (vec![json!("request"), json!("cancellation")], 3 * PRICE)
        );
        assert_eq!(receipt.list("refunds")[1]["seat_numbers"], json!([1, 3]));
        let newest = &ann.history().await[0];
        assert_eq!((&newest["kind"], newest["amount"].as_i64()), (&json!("refund"), Some(2 * PRICE)));
        ann.refund(&payment).await.refused(409, "already_refunded");
        bob.cancel(&held).await.refused(409, "not_held");
        let report = world.admin().report(date).await.ok(200);
        assert_eq!((report.int("sold"), report.int("held"), report.int("revenue")), (0, 0, 0));
        assert_eq!(ann.reservation(&kept).await.ok(200)["status"], "expired", "another date is left alone");
    });
}

#[test]
fn a_cancelled_date_is_listed_only_to_who_asks_for_all_and_does_not_change() {
    World::s2().open_door().run(async |world| {
        let (ann, admin, date) = (buyer(world, "ann").await, world.admin(), world.date());
        admin.cancellation(date).await.refused(409, "not_cancelled");
        admin.cancel_schedule(date).await.ok(200);
        assert!(ann.dates(world.concert()).await.ok(200).list("items").is_empty());
        let all = ann.dates_where(world.concert(), "?bookable=false").await.ok(200);
        let listed = &all.list("items")[0];
        assert!(listed["cancelled_at"].is_string() && listed["remaining"] == 0, "{listed}");
        let concerts = world.get(Side::Booking, "/v1/concerts").await.ok(200);
        assert!(concerts.list("items").is_empty(), "{concerts:?}");
        for patch in [json!({}), json!({ "cancelled_at": null }), json!({ "starts_at": world.in_hours(99) })]
        {
            let answer = admin.change_schedule(&date.id, &patch).await;
            let unknown_member = patch.get("cancelled_at").is_some();
            drop(if unknown_member {
                answer.refused(422, "invalid_request")
            } else {
                answer.refused(409, "schedule_cancelled")
            });
        }
    });
}

#[test]
fn a_cancelled_concert_is_all_its_dates_to_come_and_one_that_has_begun_is_cancelled_by_name() {
    World::s2().open_door().run(async |world| {
        let (ann, admin) = (buyer(world, "ann").await, world.admin());
        let short = json!({ "seats": { "count": 5, "price": PRICE }, "starts_at": world.in_hours(1), "sales_close_at": world.in_hours(1) });
        let begun = world.add_date_with(world.concert(), short).await;
        let early = ann.reserve(&begun, &[1]).await.ok(201);
        let late = ann.reserve(world.date(), &[1]).await.ok(201);
        let first = ann.pay(&early).await.ok(201);
        ann.pay(&late).await.ok(201);
        world.advance_seconds(2 * 3600);
        ann.refund(&first).await.refused(409, "show_started");
        let cancelled = admin.cancel_concert(&world.concert().id).await.ok(200);
        assert_eq!(cancelled["concert_id"], world.concert().id.as_str());
        let ids = |answer: &Answer| -> Vec<_> {
            answer.list("schedules").iter().map(|date| date["schedule_id"].clone()).collect()
        };
        assert_eq!(ids(&cancelled), [world.date().id.as_str()]);
        admin.until_undone(world.date()).await;
        admin.cancellation(&begun).await.refused(409, "not_cancelled");
        admin.cancel_schedule(&begun).await.ok(200);
        admin.until_undone(&begun).await;
        assert_eq!(ann.balance().await, 10 * PRICE);
        let again = admin.cancel_concert(&world.concert().id).await.ok(200);
        assert_eq!(ids(&again), [begun.id.as_str(), world.date().id.as_str()]);
        assert!(again.list("schedules").iter().all(|date| date["done"] == true), "{again:?}");
        // A concert may go on with other dates.
        let next = world.add_date(world.concert(), 5).await;
        ann.take(world.entry_token("ann", "main").await);
        ann.reserve(&next, &[1]).await.ok(201);
    });
}

/// The mark alone ends the sale: the loop comes to the last of the dates long after the first payments.
#[test]
fn nothing_is_paid_after_the_cancellation_was_answered() {
    World::s2().open_door().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(60 * PRICE).await.ok(201);
        let mut holds = Vec::new();
        for _ in 0..60 {
            let date = world.add_date(world.concert(), 1).await;
            holds.push((ann.reserve(&date, &[1]).await.ok(201), date));
        }
        world.admin().cancel_concert(&world.concert().id).await.ok(200);
        let answers = at_once(holds.iter().rev().map(async |(hold, _)| ann.pay(hold).await)).await;
        for answer in answers {
            answer.refused(409, "not_held");
        }
        for (hold, date) in &holds {
            world.admin().until_undone(date).await;
            assert_eq!(ann.reservation(hold).await.ok(200)["status"], "cancelled");
        }
        assert_eq!((ann.balance().await, ann.history().await.len()), (60 * PRICE, 1));
    });
}

/// 200 payments of holds, a quarter of them with a release, while the date is cancelled: money comes back or
/// was never taken, whoever is first.
#[test]
fn payments_and_releases_against_the_cancellation_of_their_date() {
    World::s2().open_door().replicas(2).run(async |world| {
        let people = world.users("person", 200);
        let date = world.add_date(world.concert(), 200).await;
        let holds = at_once(people.iter().zip(1..).map(async |(person, seat)| {
            person.take(world.entry_token(person.id(), "main").await);
            person.charge(PRICE).await.ok(201);
            person.reserve(&date, &[seat]).await.ok(201)
        }))
        .await;
        let pays = at_once(people.iter().zip(&holds).map(async |(person, hold)| person.pay(hold).await));
        let lettings_go = at_once(
            people.iter().zip(&holds).step_by(4).map(async |(person, hold)| person.cancel(hold).await),
        );
        let cancels = async {
            // In the midst: when the first of them have paid.
            within(Duration::from_secs(10), "somebody has paid", async || {
                let report = world.admin().report(&date).await.ok(200);
                if report.int("sold") > 0 { Ok(()) } else { Err(format!("{report:?}")) }
            })
            .await;
            at_once((0..4).map(|_| world.admin().cancel_schedule(&date))).await
        };
        let (paid, released, cancelled) = tokio::join!(pays, lettings_go, cancels);
        for answer in cancelled {
            answer.ok(200);
        }
        for answer in released.into_iter().filter(|answer| answer.status != 204) {
            answer.refused(409, "not_held");
        }
        let count = paid.iter().filter(|answer| answer.status == 201).count();
        for answer in paid.into_iter().filter(|answer| answer.status != 201) {
            answer.refused(409, "not_held");
        }
        let undone = world.admin().until_undone(&date).await;
        assert_eq!(undone.int("payments_refunded"), i64::try_from(count).unwrap());
        assert!(count < 200, "the cancellation came too late to be a race");
        for (person, hold) in people.iter().zip(&holds) {
            assert_eq!(person.balance().await, PRICE, "{}", person.id());
            let status = person.reservation(hold).await.ok(200).text("status");
            assert!(["cancelled", "refunded"].contains(&status.as_str()), "{status}");
        }
        let report = world.admin().report(&date).await.ok(200);
        assert_eq!((report.int("free"), report.int("revenue")), (200, 0));
    });
}

/// The owners give seats back while the loop does: each seat comes back once.
#[test]
fn refunds_by_their_owners_against_the_cancellation() {
    World::s2().open_door().replicas(2).run(async |world| {
        let people = world.users("person", 20);
        let (date, payments) = bought(world, &people, 10).await;
        let refunds = at_once(payments.iter().map(async |(owner, payment)| {
            let seat = payment.list("seats")[0]["number"].as_i64().unwrap();
            let answer = people[*owner].refund_seats(payment, &[seat]).await;
            if answer.status != 201 {
                answer.refused(409, "already_refunded");
            }
        }));
        tokio::join!(refunds, async { world.admin().cancel_schedule(&date).await.ok(200) });
        world.admin().until_undone(&date).await;
        for person in &people {
            assert_eq!(person.balance().await, 30 * PRICE);
            assert_eq!(person.reservations("refunded").await.len(), 10);
        }
    });
}

/// A date of their own, and so many payments of three seats by each, with their owner's number.
async fn bought(world: &World, people: &[User<'_>], each: usize) -> (Date, Vec<(usize, Answer)>) {
    let count = i64::try_from(people.len() * each).unwrap();
    let date = world.add_date(world.concert(), u32::try_from(3 * count).unwrap()).await;
    at_once(people.iter().map(async |person| {
        person.enter().await;
        person.charge(3 * i64::try_from(each).unwrap() * PRICE).await.ok(201);
    }))
    .await;
    let holds = at_once((0..count).map(async |n| {
        let owner = usize::try_from(n).unwrap() % people.len();
        let seats = [3 * n + 1, 3 * n + 2, 3 * n + 3];
        (owner, people[owner].reserve(&date, &seats).await.ok(201))
    }))
    .await;
    let pay = async |(owner, hold): &(usize, Answer)| (*owner, people[*owner].pay(hold).await.ok(201));
    (date, at_once(holds.iter().map(pay)).await)
}

/// An account that is full is put aside; the others are refunded, and it is when there is room.
#[test]
fn one_refund_that_cannot_be_made_holds_up_nobody() {
    let world = World::s2().open_door().booking_flags(&["--max-charge", "9223372036854775807"]);
    world.run(async |world| {
        let full = world.user("full");
        full.enter().await;
        full.charge(PRICE).await.ok(201);
        let date = world.date();
        let hold = full.reserve(date, &[1]).await.ok(201);
        full.pay(&hold).await.ok(201);
        full.charge(i64::MAX).await.ok(201);
        let people = world.users("person", 20);
        at_once(people.iter().zip(2..).map(async |(person, seat)| {
            person.take(world.entry_token(person.id(), "main").await);
            person.charge(PRICE).await.ok(201);
            let hold = person.reserve(date, &[seat]).await.ok(201);
            person.pay(&hold).await.ok(201);
        }))
        .await;
        world.admin().cancel_schedule(date).await.ok(200);
        eventually("all but one are refunded", async || {
            let progress = world.admin().cancellation(date).await.ok(200);
            let seen = (progress.int("payments_left"), progress.int("payments_put_aside"));
            if seen == (1, 1) { Ok(()) } else { Err(format!("{progress:?}")) }
        })
        .await;
        for person in &people {
            assert_eq!(person.balance().await, PRICE);
        }
        let metrics = world.get(Side::BookingOps, "/metrics").await.ok(200).text;
        assert!(metrics.contains("booking_refunds_put_aside_total 1"), "{metrics}");
        full.use_points(PRICE).await.ok(201);
        world.advance_seconds(601);
        let done = world.admin().until_undone(date).await;
        assert_eq!((done.int("payments_refunded"), done.int("payments_put_aside")), (21, 0));
        assert_eq!(full.balance().await, i64::MAX);
    });
}

/// The program is killed in the midst of the refunds, again and again; what comes after it goes on.
#[test]
fn a_cancellation_goes_on_after_a_kill_at_any_point() {
    World::s2().open_door().programs().run(async |world| {
        let people = world.users("person", 30);
        let (date, _) = bought(world, &people, 20).await;
        world.admin().cancel_schedule(&date).await.ok(200);
        let mut midst = 0;
        for kill in 0..6 {
            let before = world.admin().cancellation(&date).await.ok(200);
            midst += usize::from(before["done"] == false);
            world.kill(Side::Booking).await;
            world.start_again(Side::Booking).await;
            assert_eq!(world.admin().audit().await.ok(200)["ok"], true, "after kill {kill}");
        }
        assert!(midst > 0, "every kill came too late");
        let undone = world.admin().until_undone(&date).await;
        assert_eq!(undone.int("payments_refunded"), 600);
        for person in &people {
            assert_eq!(person.balance().await, 60 * PRICE);
        }
    });
}

/// The queue hears that a cancelled date has nothing left.
#[test]
fn the_queue_is_told_that_a_cancelled_date_has_nothing_left() {
    World::s2().open_door().run(async |world| {
        let remaining = async |expected: i64| {
            within(Duration::from_secs(20), "the queue knows", async || {
                let queue = world.get(Side::Queue, "/v1/queues/main").await.ok(200);
                if queue["remaining"] == expected { Ok(()) } else { Err(format!("{queue:?}")) }
            })
            .await;
        };
        let other = world.add_date(world.concert(), 7).await;
        remaining(57).await;
        world.admin().cancel_schedule(world.date()).await.ok(200);
        remaining(7).await;
        world.admin().cancel_schedule(&other).await.ok(200);
        remaining(0).await;
    });
}

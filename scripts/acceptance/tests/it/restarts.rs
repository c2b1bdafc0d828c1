//! The real programs, killed and started again: nothing is lost. Requirements 34, 49, 70; issue 2.

use std::time::Duration;

use acceptance::{PRICE, Row, Side, World, eventually, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_killed_queue_service_loses_no_place_and_no_admission() {
    World::s1().queue(json!({ "max_active": 1 })).programs().run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        ann.enter().await;
        bob.join().await.ok(201);
        cem.join().await.ok(201);
        let claims = ann.claims();
        world.kill(Side::Queue).await;
        ann.seats(world.date()).await.ok(200); // what was handed out goes on working
        world.start_again(Side::Queue).await;
        assert_eq!(ann.poll().await.ok(200)["status"], "active");
        assert_eq!(ann.claims(), claims);
        for (person, position) in [(&bob, 1), (&cem, 2)] {
            assert_eq!(person.poll().await.ok(200)["position"], position);
            assert_eq!(person.join().await.ok(200)["position"], position);
        }
        assert_eq!(world.user("dan").join().await.ok(201)["position"], 3);
        ann.leave().await.ok(204);
        bob.until_active().await;
        assert_eq!(cem.poll().await.ok(200)["status"], "waiting");
        assert_eq!(world.admin().number("admitted_total").await, 2);
    });
}

/// 70 too: keys survive a crash
#[test]
fn a_killed_booking_service_loses_no_hold_no_point_and_no_payment() {
    World::s1().programs().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        let charge = || ann.points_call("charges", &json!({ "amount": 3 * PRICE })).key("charge");
        let charged = charge().await.ok(201);
        bob.charge(PRICE).await.ok(201);
        let bought = ann.reserve(world.date(), &[1]).await.ok(201);
        let held = bob.reserve(world.date(), &[2, 3]).await.ok(201);
        let pay = || ann.pay_call(bought["reservation_id"].as_str().unwrap()).key("pay");
        let payment = pay().await.ok(201);
        world.kill(Side::Booking).await;
        world.start_again(Side::Booking).await;
        assert_eq!(charge().await.ok(201).body, charged.body);
        assert_eq!(pay().await.ok(201).body, payment.body);
        assert_eq!(ann.balance().await, 2 * PRICE);
        assert_eq!(ann.receipt(&payment).await.ok(200)["amount"], PRICE);
        assert_eq!(ann.reservation(&bought).await.ok(200)["status"], "confirmed");
        assert_eq!(bob.reservation(&held).await.ok(200)["expires_at"], held["expires_at"]);
        bob.reserve(world.date(), &[1]).await.refused(409, "seat_taken");
        ann.reserve(world.date(), &[4]).await.refused(401, "entry_token_completed");
        bob.pay(&held).await.refused(402, "insufficient_points");
        bob.charge(PRICE).await.ok(201);
        bob.pay(&held).await.ok(201);
    });
}

/// 69, small: killed while people pay; what was answered stands, what was not is whole or absent
#[test]
fn a_booking_service_killed_amid_payments_keeps_its_books() {
    World::s2().open_door().programs().with_outages().run(async |world| {
        let people = world.users("person", 40);
        let mut holds = Vec::new();
        for (person, seat) in people.iter().zip(1..) {
            person.enter().await;
            person.charge(PRICE).await.ok(201);
            holds.push(person.reserve(world.date(), &[seat]).await.ok(201));
        }
        let pay = |number: usize| {
            let id = holds[number].text("reservation_id");
            people[number].pay_call(&id).key("once")
        };
        let paying = acceptance::at_once((0..40).map(async |number| {
            acceptance::pause(u64::try_from(number).unwrap() * 3).await;
            pay(number).attempt().await.ok().filter(|answer| answer.status == 201)
        }));
        let killing = async {
            acceptance::pause(60).await;
            world.kill(Side::Booking).await;
        };
        let (first, ()) = tokio::join!(paying, killing);
        world.start_again(Side::Booking).await;
        for (number, first) in first.into_iter().enumerate() {
            let again = pay(number).await.ok(201);
            assert!(first.is_none_or(|first| first.body == again.body), "{again:?}");
            assert_eq!(people[number].balance().await, 0);
            assert_eq!(people[number].history().await.len(), 2);
        }
    });
}

#[test]
fn a_completion_of_the_time_when_the_queue_service_was_down_is_delivered() {
    World::s1().queue(json!({ "max_active": 1 })).programs().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.join().await.ok(201);
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        world.kill(Side::Queue).await;
        ann.pay(&hold).await.ok(201);
        // The relay's own process dies as well: the completion is in the database.
        world.kill(Side::Booking).await;
        world.start_again(Side::Queue).await;
        assert_eq!(bob.poll().await.ok(200)["status"], "waiting");
        world.start_again(Side::Booking).await;
        within(SOON, "bob is let in", async || {
            let status = bob.poll().await.ok(200);
            if status["status"] == "active" { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
        ann.poll().await.refused(410, "token_completed");
    });
}

/// 49
#[test]
fn the_two_services_are_separate_and_each_runs_without_the_other() {
    World::s3().programs().run(async |world| {
        let ann = world.user("ann");
        ann.charge(PRICE).await.ok(201);
        ann.enter().await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        world.kill(Side::Queue).await;
        ann.pay(&hold).await.ok(201);
        assert_eq!(ann.balance().await, 0);
        world.kill(Side::Booking).await;
        world.start_again(Side::Queue).await;
        let bob = world.user("bob");
        bob.enter().await;
        world.start_again(Side::Booking).await;
        // The keys of the queue service are fetched again, and its tokens taken.
        eventually("booking knows bob's token", async || {
            let seats = bob.row(Row::Seats, "GET", &format!("/v1/schedules/{}/seats", world.date().id)).await;
            if seats.status == 200 { Ok(()) } else { Err(format!("{seats:?}")) }
        })
        .await;
    });
}

#[test]
fn sigterm_ends_a_service_in_time_and_with_success() {
    World::s0().paused().programs().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        let call = world.get(Side::Queue, &ann.me("/events")).bearer(&ann.queue_token());
        let mut stream = call.stream().await;
        assert!(stream.chunk().await.unwrap().is_some());
        let limit = Duration::from_secs(10);
        assert_eq!(world.terminate(Side::Queue, limit).await, Some(0));
        // The stream ends; it is not left hanging.
        let rest = async { while let Ok(Some(_)) = stream.chunk().await {} };
        tokio::time::timeout(limit, rest).await.expect("the stream has ended");
        assert_eq!(world.terminate(Side::Booking, limit).await, Some(0));
        world.start_again(Side::Queue).await;
        world.start_again(Side::Booking).await;
        assert_eq!(ann.poll().await.ok(200)["position"], 1);
    });
}

#[test]
fn requests_under_way_at_sigterm_are_answered() {
    World::s2().open_door().programs().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let asking = acceptance::at_once((0..50).map(async |number: u64| {
            acceptance::pause(number * 2).await;
            ann.points_call("charges", &json!({ "amount": 1 })).key(&number.to_string()).attempt().await
        }));
        let ending = async {
            acceptance::pause(50).await;
            world.terminate(Side::Booking, Duration::from_secs(10)).await
        };
        let (answers, code) = tokio::join!(asking, ending);
        assert_eq!(code, Some(0));
        let answered = answers.iter().flatten().filter(|answer| answer.status == 201).count();
        assert!(answered > 0, "{answers:?}");
        world.start_again(Side::Booking).await;
        // What was answered stands; what was not may be tried again with its key, for one effect in all.
        for number in 0..50 {
            let key = number.to_string();
            ann.points_call("charges", &json!({ "amount": 1 })).key(&key).await.ok(201);
        }
        assert_eq!(ann.balance().await, 50);
    });
}

/// What was revoked while the booking service was away is refused when it is back
#[test]
fn a_revocation_is_not_missed_by_a_booking_service_that_was_down() {
    World::s1().programs().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        world.kill(Side::Booking).await;
        ann.leave().await.ok(204);
        world.start_again(Side::Booking).await;
        within(Duration::from_secs(2), "booking has heard", async || {
            let seats = ann.seats(world.date()).await;
            if seats.outcome() == "401 entry_token_revoked" { Ok(()) } else { Err(format!("{seats:?}")) }
        })
        .await;
    });
}

/// 29, 30: a booking service sweeps when it starts; what lives is left alone
#[test]
fn a_sweep_after_a_restart_leaves_living_holds_and_payments_alone() {
    World::s2().open_door().programs().booking_flags(&["--hold-ttl-seconds", "4"]).run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        for person in [&ann, &bob, &cem] {
            person.enter().await;
            person.charge(PRICE).await.ok(201);
        }
        let lapsing = ann.reserve(world.date(), &[1, 2]).await.ok(201);
        let bought = cem.reserve(world.date(), &[3]).await.ok(201);
        cem.pay(&bought).await.ok(201);
        world.kill(Side::Booking).await;
        acceptance::pause(4000).await;
        world.start_again(Side::Booking).await;
        let living = bob.reserve(world.date(), &[1]).await.ok(201);
        acceptance::pause(1500).await;
        assert_eq!(ann.reservation(&lapsing).await.ok(200)["status"], "expired");
        ann.pay(&lapsing).await.refused(410, "hold_expired");
        let map = world.seat_map(world.date()).await;
        assert_eq!((map.held, map.sold, map.available.len()), (vec![1], vec![3], 48));
        bob.pay(&living).await.ok(201);
        assert_eq!(cem.reservation(&bought).await.ok(200)["status"], "confirmed");
    });
}

/// Connections that nobody uses do not hold a service up
#[test]
fn idle_connections_do_not_delay_the_end() {
    World::s0().programs().run(async |world| {
        for side in [Side::Queue, Side::Booking] {
            let ops = if side == Side::Queue { Side::QueueOps } else { Side::BookingOps };
            let mut idle = Vec::new();
            for listener in [side, ops] {
                let address = world.base(listener, None).replace("http://", "");
                idle.push(TcpStream::connect(&address).await.unwrap());
                let mut used = TcpStream::connect(&address).await.unwrap();
                used.write_all(b"GET /nope HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
                assert!(used.read(&mut [0; 1024]).await.unwrap() > 0);
                idle.push(used);
            }
            world.get(side, "/openapi.json").await.ok(200);
            assert_eq!(world.terminate(side, Duration::from_secs(5)).await, Some(0));
        }
        world.start_again(Side::Queue).await;
        world.start_again(Side::Booking).await;
    });
}

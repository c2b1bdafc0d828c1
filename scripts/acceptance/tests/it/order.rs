//! The line: positions, tokens, endings, streams, many at once. Contract 3.1; requirements 56 to 58, 66, 67.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::{PRICE, Side, User, World, at_once, eventually, pause, within};
use serde_json::json;

#[test]
fn a_position_is_right_within_a_second_on_every_replica() {
    World::s0().paused().replicas(2).run(async |world| {
        let people = world.users("person", 6);
        for person in &people {
            person.join().await.ok(201);
        }
        let last = &people[5];
        for (gone, expected) in [(0, 5), (3, 4), (1, 3)] {
            people[gone].leave().await.ok(204);
            for replica in [0, 1] {
                within(Duration::from_secs(1), "the replica has heard", async || {
                    let poll = world.get(Side::Queue, &last.me("")).bearer(&last.queue_token()).on(replica);
                    let status = poll.await.ok(200);
                    let seen = (status.int("position"), status.int("waiting"));
                    if seen == (expected, expected) { Ok(()) } else { Err(format!("{status:?}")) }
                })
                .await;
            }
        }
    });
}

#[test]
fn older_tokens_of_a_place_go_on_working() {
    World::s0().paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        let first = bob.queue_token();
        let look = async || world.get(Side::Queue, &bob.me("")).bearer(&first).await.ok(200);
        for _ in 0..3 {
            world.advance_seconds(30);
            bob.poll().await.ok(200);
            ann.poll().await.ok(200);
            assert_eq!(look().await["position"], 2);
        }
        ann.leave().await.ok(204);
        eventually("bob moves up", async || {
            let status = look().await;
            if status["position"] == 1 { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
        world.admin().resume("main").await.ok(200);
        bob.until_active().await;
        assert_eq!(look().await["status"], "active");
    });
}

#[test]
fn why_a_place_has_ended_is_known_for_ten_minutes() {
    World::s0().paused().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        ann.leave().await.ok(204);
        world.advance_seconds(595);
        ann.poll().await.refused(410, "token_left");
        world.advance_seconds(24 * 3600);
        ann.poll().await.refused(410, "token_expired");
        ann.leave().await.ok(204);
        for _ in 0..2 {
            ann.call(Side::Queue, "DELETE", &ann.me("")).await.ok(204);
        }
    });
}

#[test]
fn revocations_are_kept_until_the_token_would_have_ended() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.leave().await.ok(204);
        world.advance_seconds(590);
        assert_eq!(world.admin().revocations("").await.ok(200).list("items").len(), 1);
        world.advance_seconds(30);
        assert_eq!(world.admin().revocations("").await.ok(200).list("items").len(), 0);
    });
}

#[test]
fn without_limits_everybody_is_let_in_at_once() {
    World::s0().queue(json!({ "admission": null, "max_active": null })).paused().run(async |world| {
        let people = world.users("person", 300);
        at_once(people.iter().map(User::join)).await;
        world.admin().resume("main").await.ok(200);
        within(Duration::from_secs(2), "all are inside", async || {
            let active = world.admin().number("active").await;
            if active == 300 { Ok(()) } else { Err(active.to_string()) }
        })
        .await;
        assert!(world.admin().queue("main").await.ok(200)["free_slots"].is_null());
    });
}

/// 66: instant admission is inside the rate as well, on every replica.
#[test]
fn joins_at_once_never_exceed_the_rate() {
    let settings = json!({ "admission": { "users": 5, "every_seconds": 3600 }, "max_active": null, "instant_admission": true });
    World::s0().queue(settings).replicas(2).run(async |world| {
        let people = world.users("person", 60);
        at_once(people.iter().map(User::join)).await;
        pause(700).await;
        assert_eq!(world.admin().number("active").await, 5);
    });
}

#[test]
fn nobody_far_back_polls_every_second_and_not_all_at_once() {
    let settings = json!({ "admission": { "users": 1, "every_seconds": 1 }, "waiting_ttl_seconds": 600 });
    World::s0().queue(settings).paused().run(async |world| {
        let people = world.users("person", 300);
        for person in &people {
            person.join().await.ok(201);
        }
        world.admin().resume("main").await.ok(200);
        let mut intervals = HashSet::new();
        for person in &people[250..] {
            let after = person.poll().await.ok(200).int("poll_after_ms");
            assert!((2_000..=40_000).contains(&after), "{after}");
            intervals.insert(after);
        }
        assert!(intervals.len() > 10, "no jitter: {intervals:?}");
    });
}

#[test]
fn the_wait_is_estimated_from_what_is_measured() {
    let settings = json!({ "admission": { "users": 2, "every_seconds": 1 }, "max_active": null });
    World::s0().queue(settings).paused().run(async |world| {
        let people = world.users("person", 40);
        for person in &people {
            assert!(person.join().await.ok(201)["estimated_wait_seconds"].is_null());
        }
        world.admin().resume("main").await.ok(200);
        let last = &people[39];
        let estimate = eventually("there is an estimate", async || {
            world.advance_seconds(1);
            let status = last.poll().await.ok(200);
            let estimate = status["estimated_wait_seconds"].clone();
            if estimate.is_null() { Err(format!("{status:?}")) } else { Ok(estimate) }
        })
        .await;
        let (min, max) = (estimate["min"].as_i64().unwrap(), estimate["max"].as_i64().unwrap());
        assert!(0 <= min && min <= max && max <= 600, "{estimate}");
    });
}

#[test]
fn the_stream_tells_that_the_position_has_changed() {
    World::s0().paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        let mut stream = world.get(Side::Queue, &bob.me("/events")).bearer(&bob.queue_token()).stream().await;
        let mut text = String::new();
        let reading = async {
            while !text.contains("\"position\":1") {
                let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
                text.push_str(&String::from_utf8_lossy(&chunk).replace(' ', ""));
                if text.contains("\"position\":2") && !text.contains("left") {
                    text.push_str("left");
                    ann.leave().await.ok(204);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the change is told");
    });
}

/// A stream is a sign of life: who listens does not lapse.
#[test]
fn who_listens_to_the_stream_keeps_the_place() {
    World::s0().queue(json!({ "waiting_ttl_seconds": 2 })).paused().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        let call = world.get(Side::Queue, &ann.me("/events")).bearer(&ann.queue_token());
        let mut stream = call.stream().await;
        let listening = async { while let Ok(Some(_)) = stream.chunk().await {} };
        drop(tokio::time::timeout(Duration::from_secs(5), listening).await);
        assert_eq!(ann.poll().await.ok(200)["position"], 1);
    });
}

/// 56, 66, shortened: the cap holds at every moment, slots refill, the order is kept
#[test]
fn under_abandoning_pollers_the_cap_holds_and_the_order_is_kept() {
    const CAP: i64 = 10;
    let settings = json!({ "admission": null, "max_active": CAP, "instant_admission": true });
    World::s0().queue(settings).replicas(2).run(async |world| {
        let people = world.users("person", 150);
        for person in &people {
            person.join().await.ok(201);
        }
        let (served, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let lives = at_once(people.iter().enumerate().map(async |(number, person)| {
            if number % 7 == 3 {
                person.leave().await.ok(204);
                return None;
            }
            let status = person.until_active().await;
            pause(20 + u64::try_from(number % 5).unwrap() * 20).await;
            if number % 2 == 0 {
                person.leave().await.ok(204);
            } else {
                world.admin().complete("main", &[person.claims().jti]).await.ok(200);
            }
            served.fetch_add(1, Ordering::Relaxed);
            Some(status.time("admitted_at"))
        }));
        let sampling = async {
            let (mut most, mut samples) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                most = most.max(world.admin().number("active").await);
                samples += 1;
                pause(10).await;
            }
            (most, samples)
        };
        let living = async {
            let lives = lives.await;
            done.store(true, Ordering::Relaxed);
            lives
        };
        let (lives, (most, samples)) = tokio::join!(living, sampling);
        assert!(most <= CAP, "{most} were active");
        assert!(samples > 20, "only {samples} samples");
        let admitted: Vec<_> = lives.into_iter().flatten().collect();
        assert!(admitted.is_sorted(), "not in the order of arrival");
        assert_eq!(served.into_inner(), admitted.len());
    });
}

/// 67, 66: the whole journey
#[test]
fn of_a_thousand_people_fifty_get_a_seat_and_pay_for_it() {
    let settings = json!({ "admission": { "users": 500, "every_seconds": 1 }, "max_active": 200 });
    World::s4().queue(settings).replicas(2).run(async |world| {
        let people = world.users("person", 1000);
        let outcomes = at_once(people.iter().enumerate().map(async |(number, person)| {
            person.join().await.ok(201);
            within(Duration::from_secs(60), "let in", async || {
                let status = person.poll().await.ok(200);
                if status["status"] == "active" {
                    return Ok(());
                }
                pause(200).await;
                Err(format!("{status:?}"))
            })
            .await;
            let seat = i64::try_from(number % 50).unwrap() + 1;
            let hold = person.reserve(world.date(), &[seat]).await;
            if hold.status != 201 {
                hold.refused(409, "seat_taken");
                person.leave().await.ok(204);
                return 0;
            }
            person.charge(PRICE).await.ok(201);
            person.pay(&hold).await.ok(201).int("amount")
        }))
        .await;
        assert_eq!(outcomes.iter().filter(|amount| **amount == PRICE).count(), 50);
        assert_eq!(outcomes.iter().sum::<i64>(), 50 * PRICE);
        let report = world.admin().report(world.date()).await.ok(200);
        assert_eq!((report.int("sold"), report.int("revenue")), (50, 50 * PRICE));
    });
}

//! A dependency is cut or stalled: 503 `unavailable`, nobody loses anything, and it mends by itself.

use std::time::Duration;

use acceptance::{Answer, PRICE, Proxy, Side, User, World, at_once, eventually, within};
use serde_json::json;

fn cuttable(proxy: Option<&Proxy>) -> &Proxy {
    proxy.expect("this world has proxies")
}

#[test]
fn without_redis_nobody_joins_nobody_is_let_in_and_no_place_is_lost() {
    World::s0().paused().with_outages().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        let redis = cuttable(world.redis.as_ref());
        redis.cut();
        let ready = eventually("readiness fails", async || {
            let ready = world.get(Side::QueueOps, "/readyz").await;
            if ready.status == 503 { Ok(ready) } else { Err(format!("{ready:?}")) }
        })
        .await;
        assert!(ready.text.contains("redis"), "{ready:?}");
        world.get(Side::QueueOps, "/livez").await.ok(200);
        world.get(Side::BookingOps, "/readyz").await.ok(200);
        world.user("cem").join().await.refused(503, "unavailable");
        for _ in 0..3 {
            let poll = ann.poll().await;
            assert!(poll.status == 200 || poll.outcome() == "503 unavailable", "{poll:?}");
        }
        world.admin().resume("main").await.refused(503, "unavailable");
        world.admin().queue("main").await.refused(503, "unavailable");
        redis.mend();
        eventually("the queue is back", async || {
            let joined = world.user("cem").join().await;
            if joined.status == 201 { Ok(()) } else { Err(format!("{joined:?}")) }
        })
        .await;
        for (person, position) in [(&ann, 1), (&bob, 2)] {
            eventually("the places are as before", async || {
                let poll = person.poll().await;
                if poll["position"] == position { Ok(()) } else { Err(format!("{poll:?}")) }
            })
            .await;
        }
        eventually("readiness is back", async || ready_again(world, Side::QueueOps).await).await;
    });
}

async fn ready_again(world: &World, side: Side) -> Result<(), String> {
    let ready = world.get(side, "/readyz").await;
    if ready.status == 200 { Ok(()) } else { Err(format!("{ready:?}")) }
}

#[test]
fn without_redis_those_let_in_go_on_shopping() {
    World::s1().with_outages().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        ann.seats(world.date()).await.ok(200);
        cuttable(world.redis.as_ref()).cut();
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        cuttable(world.redis.as_ref()).mend();
        eventually("the completion has arrived", async || {
            let queue = world.admin().queue("main").await;
            if queue["completed_total"] == 1 { Ok(()) } else { Err(format!("{queue:?}")) }
        })
        .await;
    });
}

#[test]
fn without_postgres_nothing_is_booked_and_everything_is_there_afterwards() {
    World::s1().with_outages().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(2 * PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let postgres = cuttable(world.postgres.as_ref());
        postgres.cut();
        let ready = eventually("readiness fails", async || {
            let ready = world.get(Side::BookingOps, "/readyz").await;
            if ready.status == 503 { Ok(ready) } else { Err(format!("{ready:?}")) }
        })
        .await;
        assert!(ready.text.contains("postgres") || ready.text.contains("database"), "{ready:?}");
        world.get(Side::BookingOps, "/livez").await.ok(200);
        world.get(Side::QueueOps, "/readyz").await.ok(200);
        for answer in booking_calls(world, &ann, &hold).await {
            let answer = answer.refused(503, "unavailable");
            assert!(!answer.text.contains("sqlx") && !answer.text.contains("127.0.0.1"), "{answer:?}");
        }
        postgres.mend();
        eventually("booking is back", async || ready_again(world, Side::BookingOps).await).await;
        let paid = eventually("the payment goes through", async || {
            let paid = ann.pay(&hold).await;
            if paid.status == 503 { Err(format!("{paid:?}")) } else { Ok(paid) }
        })
        .await;
        assert_eq!(paid.ok(201)["balance_after"], PRICE);
        assert_eq!(ann.history().await.len(), 2);
    });
}

async fn booking_calls(world: &World, ann: &User<'_>, hold: &Answer) -> Vec<Answer> {
    vec![
        ann.reserve(world.date(), &[2]).await,
        ann.pay(hold).await,
        ann.charge(5).await,
        ann.use_points(5).await,
        ann.booking("GET", "/v1/points").await,
        ann.booking("GET", "/v1/points/history").await,
        ann.reservation(hold).await,
        ann.cancel(hold).await,
        world.admin().audit().await,
        world.admin().concert(&json!({ "title": "x", "queue": "main" })).await,
    ]
}

/// A dependency that neither answers nor hangs up is worse: the answer must still come in time.
#[test]
fn a_stalled_store_is_answered_for_in_time_and_mends() {
    World::s0().with_outages().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        cuttable(world.redis.as_ref()).stall();
        cuttable(world.postgres.as_ref()).stall();
        let limit = Duration::from_secs(11);
        let joining = async { world.user("bob").join().await };
        let calls = async { tokio::join!(joining, ann.charge(5), ann.reserve(world.date(), &[1])) };
        let (joined, charged, held) = tokio::time::timeout(limit, calls).await.expect("answers in time");
        for answer in [joined, charged, held] {
            assert!(matches!(answer.outcome().as_str(), "503 unavailable" | "503 timeout"), "{answer:?}");
        }
        cuttable(world.redis.as_ref()).mend();
        cuttable(world.postgres.as_ref()).mend();
        within(Duration::from_secs(20), "the queue is back", async || {
            let joined = world.user("bob").join().await;
            if joined.status < 300 { Ok(()) } else { Err(format!("{joined:?}")) }
        })
        .await;
        within(Duration::from_secs(20), "booking is back", async || {
            let held = ann.reserve(world.date(), &[2]).await;
            if held.status == 201 { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
        let balance = ann.balance().await;
        assert!(matches!(balance, 0 | 5), "the charge was carried out once or not at all: {balance}");
    });
}

/// Contract 4.1: the queue service is told until it has heard
#[test]
fn a_completion_waits_for_the_queue_service_and_never_delays_a_payment() {
    World::s1().queue(json!({ "max_active": 1 })).with_outages().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.join().await.ok(201);
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        cuttable(world.queue_ops.as_ref()).cut();
        let started = tokio::time::Instant::now();
        ann.pay(&hold).await.ok(201);
        assert!(started.elapsed() < Duration::from_secs(2), "the payment waited for the queue service");
        acceptance::pause(500).await;
        assert_eq!(bob.poll().await.ok(200)["status"], "waiting");
        cuttable(world.queue_ops.as_ref()).mend();
        within(Duration::from_secs(20), "bob is let in", async || {
            let status = bob.poll().await.ok(200);
            if status["status"] == "active" { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    });
}

#[test]
fn one_request_too_many_is_told_so() {
    let world = World::s0().with_outages().booking_flags(&["--max-requests", "1"]);
    world.queue_flags(&["--max-requests", "1"]).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let calls = (0..60).map(|_| ann.booking("GET", "/v1/points").into_future());
        let joins = (0..60).map(|_| bob.call(Side::Queue, "POST", "/v1/queues/main/tokens").into_future());
        for answers in [at_once(calls).await, at_once(joins).await] {
            assert!(answers.iter().any(|answer| answer.status < 300), "{answers:?}");
            assert!(answers.iter().any(|answer| answer.status == 503), "all were served: {answers:?}");
            for answer in answers.into_iter().filter(|answer| answer.status >= 300) {
                answer.refused(503, "overloaded");
            }
        }
    });
}

/// What is on connections that have died without a word does not hang for ever, and nothing hangs on it.
#[test]
fn connections_to_postgres_that_go_silent_are_given_up() {
    World::s1().with_outages().run(async |world| {
        let buyers = world.users("buyer", 12);
        for buyer in &buyers {
            buyer.enter().await;
        }
        at_once(buyers.iter().map(|buyer| buyer.charge(10 * PRICE))).await;
        buyers[0].seats(world.date()).await.ok(200);
        cuttable(world.postgres.as_ref()).silence();
        for (seat, buyer) in (1..).zip(&buyers) {
            let held = within(Duration::from_secs(60), "seats are held again", async || {
                let answer = buyer.reserve(world.date(), &[seat]).await;
                if answer.status == 201 { Ok(answer) } else { Err(format!("{answer:?}")) }
            })
            .await;
            buyer.pay(&held).await.ok(201);
        }
        within(Duration::from_secs(60), "the queue is told of all", async || {
            let completed = world.admin().number("completed_total").await;
            if completed == 12 { Ok(()) } else { Err(completed.to_string()) }
        })
        .await;
        within(Duration::from_secs(20), "the map is shown again", async || {
            let map = world.get(Side::Booking, &format!("/v1/schedules/{}/seats", world.date().id));
            let answer = map.bearer(&world.entry_token("inspector", "main").await).await;
            if answer.status == 200 && answer["remaining"] == 38 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
    });
}

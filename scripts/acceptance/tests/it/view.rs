//! What replicas answer polls from: of one mind, exact when it is quiet, up to date at once where somebody
//! has just done something, and honest when the store is away. Contract 3.1; requirements 57, 58, 66.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::{Answer, Side, User, World, at_once, eventually, pause, within};
use serde_json::{Value, json};
use tokio::time::Instant;

fn settings() -> Value {
    json!({ "instant_admission": false, "waiting_ttl_seconds": 0, "claim_window_seconds": 3000 })
}

/// Polls with this token through this replica.
async fn poll(world: &World, person: &User<'_>, token: &str, replica: usize) -> Answer {
    world.get(Side::Queue, &person.me("")).bearer(token).on(replica).await
}

/// One person who polls through one replica after the other with the first token until let in, ended or told
/// to stop; how many polls that were.
async fn watch(world: &World, person: &User<'_>, replicas: usize, over: &AtomicBool) -> usize {
    let token = person.queue_token();
    let (mut last, mut polls) = (i64::MAX, 0);
    while !over.load(Ordering::Relaxed) {
        let status = poll(world, person, &token, polls % replicas).await;
        polls += 1;
        if status.status == 410 || status.body["status"] == "active" {
            break;
        }
        let position = status.clone().ok(200).int("position");
        assert!(position >= 1 && position <= last, "position {position} after {last}: {status:?}");
        assert!(position <= status.int("waiting"), "{status:?}");
        last = position;
        pause(15).await;
    }
    polls
}

/// People leave, lapse and are let in, while everybody else polls.
fn positions_never_rise(replicas: usize) {
    let mut settings = settings();
    settings["waiting_ttl_seconds"] = json!(3);
    settings["admission"] = json!({ "users": 5, "every_seconds": 1 });
    World::s2().queue(settings).paused().replicas(replicas).run(async move |world| {
        let people = world.users("person", 120);
        for person in &people {
            person.join().await.ok(201);
        }
        world.admin().resume("main").await.ok(200);
        let (over, polls) = (AtomicBool::new(false), AtomicUsize::new(0));
        let lives = at_once(people.iter().enumerate().map(async |(number, person)| match number % 4 {
            // Leaves some time.
            1 => {
                pause(u64::try_from(number).unwrap() * 40).await;
                person.leave().await.ok(204);
            }
            // Joins and says nothing more.
            3 => {}
            _ => {
                polls.fetch_add(watch(world, person, replicas, &over).await, Ordering::Relaxed);
            }
        }));
        let ending = async {
            pause(6000).await;
            over.store(true, Ordering::Relaxed);
        };
        tokio::join!(lives, ending);
        assert!(polls.load(Ordering::Relaxed) > 1000, "{polls:?} polls");
        let report = world.admin().queue("main").await.ok(200);
        let moved = ["left_total", "expired_total", "admitted_total"].map(|name| report.int(name));
        assert!(moved.iter().all(|count| *count >= 10), "{report:?}");
        world.admin().pause("main").await.ok(200);
        exact_when_quiet(world, &people, replicas).await;
    });
}

/// Who is still in line has the places 1, 2, 3, … in the order of joining, on every replica.
async fn exact_when_quiet(world: &World, people: &[User<'_>], replicas: usize) {
    for replica in 0..replicas {
        within(Duration::from_secs(3), "positions are exact", async || {
            let polls =
                people.iter().map(async |person| poll(world, person, &person.queue_token(), replica).await);
            let polls = at_once(polls).await;
            let found: Vec<_> = polls.iter().filter_map(|status| status.body["position"].as_i64()).collect();
            let waiting = world.admin().number("waiting").await;
            let exact = found.iter().copied().eq(1..=waiting);
            if exact { Ok(()) } else { Err(format!("{waiting}: {found:?}")) }
        })
        .await;
    }
}

#[test]
fn no_position_rises_through_two_replicas() {
    positions_never_rise(2);
}

#[test]
fn no_position_rises_through_four_replicas() {
    positions_never_rise(4);
}

/// What a join tells is as old as what polls tell: people in front go while newcomers join.
#[test]
fn the_position_of_a_join_does_not_rise_at_the_next_poll() {
    World::s2().queue(settings()).paused().replicas(2).run(async |world| {
        let front = world.users("front", 150);
        for answer in at_once(front.iter().map(User::join)).await {
            answer.ok(201);
        }
        let over = AtomicBool::new(false);
        let leaving = async {
            for person in &front {
                person.leave().await.ok(204);
            }
            over.store(true, Ordering::Relaxed);
        };
        let joining = at_once((0..4).map(async |line| {
            let mut joined = 0;
            while !over.load(Ordering::Relaxed) {
                let person = world.user(&format!("late-{line}-{joined}"));
                person.join().await.ok(201);
                // Each looks at the position that the one before told.
                person.poll().await.ok(200);
                person.poll_as_user().await.ok(200);
                person.call(Side::Queue, "POST", "/v1/queues/main/tokens").await.ok(200);
                person.join().await.ok(200);
                person.poll().await.ok(200);
                person.leave().await.ok(204);
                joined += 1;
            }
            joined
        }));
        let (joined, ()) = tokio::join!(joining, leaving);
        assert!(joined.iter().sum::<i32>() > 20, "{joined:?}");
    });
}

/// A replica that nobody asked for a while agrees with the others from its first answer on.
#[test]
fn a_replica_that_was_idle_is_of_one_mind_with_the_others() {
    World::s2().queue(settings()).paused().replicas(2).run(async |world| {
        let front = world.users("front", 400);
        for answer in at_once(front.iter().map(User::join)).await {
            answer.ok(201);
        }
        let last = world.user("last");
        last.join().await.ok(201);
        let token = last.queue_token();
        let over = AtomicBool::new(false);
        let leaving = async {
            for some in front.chunks(4) {
                let leave = async |person: &User<'_>| {
                    let call =
                        world.call(Side::Queue, "DELETE", &person.me("")).bearer(&person.queue_token());
                    call.on(0).await.ok(204);
                };
                at_once(some.iter().map(leave)).await;
                pause(100).await;
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let looking = async {
            let mut before = i64::MAX;
            let started = Instant::now();
            let mut turn = 0;
            while turn < 60 {
                // The other one for long enough to be idle, then one after the other.
                let idle = started.elapsed() < Duration::from_millis(6500);
                turn += usize::from(!idle);
                let position = poll(world, &last, &token, turn % 2).await.ok(200).int("position");
                assert!(position <= before, "{position} after {before} at turn {turn}");
                before = position;
                pause(if idle { 10 } else { 1 }).await;
            }
            over.store(true, Ordering::Relaxed);
        };
        tokio::join!(leaving, looking);
    });
}

/// A replica that has just started knows the line before it tells anybody a position.
#[test]
fn a_replica_that_starts_is_of_one_mind_with_the_others() {
    World::s2().queue(settings()).paused().replicas(2).with_outages().programs().run(async |world| {
        let front = world.users("front", 300);
        for answer in at_once(front.iter().map(User::join)).await {
            answer.ok(201);
        }
        let last = world.user("last");
        last.join().await.ok(201);
        let (token, over) = (last.queue_token(), AtomicBool::new(false));
        let leaving = async {
            for some in front.chunks(3) {
                let leave = async |person: &User<'_>| {
                    let call =
                        world.call(Side::Queue, "DELETE", &person.me("")).bearer(&person.queue_token());
                    call.on(1).await.ok(204);
                };
                at_once(some.iter().map(leave)).await;
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let restarting = async {
            pause(500).await;
            world.kill(Side::Queue).await;
            pause(1500).await;
            world.start_again_unready(Side::Queue).await;
            pause(1500).await;
            over.store(true, Ordering::Relaxed);
        };
        let looking = async {
            let (mut before, mut told, mut turn) = (i64::MAX, [0, 0], 0);
            while !over.load(Ordering::Relaxed) {
                let call = world.get(Side::Queue, &last.me("")).bearer(&token).on(turn % 2);
                turn += 1;
                // While it is dead, or not ready, it says nothing.
                let Ok(status) = call.attempt().await else { continue };
                if status.status == 503 {
                    continue;
                }
                let position = status.ok(200).int("position");
                assert!(position <= before, "{position} after {before} at turn {turn}");
                before = position;
                told[(turn - 1) % 2] += 1;
            }
            told
        };
        let (told, (), ()) = tokio::join!(looking, leaving, restarting);
        assert!(told.iter().all(|polls| *polls > 20), "{told:?}");
    });
}

/// At the opening the lots are known at once: nobody is told a place by the order of joining first.
#[test]
fn no_position_rises_at_the_opening_of_a_lottery() {
    let mut settings = settings();
    settings["order"] = json!("lottery");
    settings["max_active"] = json!(0);
    World::s2().replicas(2).run(async move |world| {
        settings["opens_at"] = json!(world.in_hours(1));
        world.admin().put_queue("draw", &settings).await.ok(201);
        let people: Vec<_> = world.users("person", 1500).iter().map(|person| person.at("draw")).collect();
        for answer in at_once(people.iter().map(User::join)).await {
            assert_eq!(answer.ok(201)["status"], "scheduled");
        }
        let over = AtomicBool::new(false);
        let opening = async {
            pause(300).await;
            world.advance_seconds(3601);
            pause(2000).await;
            over.store(true, Ordering::Relaxed);
        };
        let polling = at_once(people[..60].iter().map(async |person| {
            let (mut status, mut polls) = (json!(null), 0);
            while !over.load(Ordering::Relaxed) {
                // Fails when the position rises.
                status = person.poll().await.ok(200)["status"].clone();
                polls += 1;
            }
            assert_eq!(status, "waiting");
            polls
        }));
        let (polls, ()) = tokio::join!(polling, opening);
        assert!(polls.iter().sum::<i32>() > 500, "{polls:?}");
    });
}

/// Whoever was answered may ask another replica at once.
#[test]
fn the_end_of_a_place_is_known_on_every_replica_when_it_is_answered() {
    let mut settings = settings();
    settings["rejoin"] = json!("requeue");
    World::s1().queue(settings).paused().replicas(2).run(async |world| {
        let people = world.users("person", 24);
        for person in &people {
            person.join().await.ok(201);
        }
        for (number, person) in people.iter().enumerate() {
            let (here, there) = (number % 2, (number + 1) % 2);
            let token = person.queue_token();
            // Both have just answered, and know the place well.
            poll(world, person, &token, there).await.ok(200);
            let ended = match number % 3 {
                0 => {
                    let leaving = world.call(Side::Queue, "DELETE", &person.me("")).bearer(&token).on(here);
                    leaving.await.ok(204);
                    "token_left"
                }
                1 => {
                    let joining = person.call(Side::Queue, "POST", "/v1/queues/main/tokens").on(here);
                    let joined = joining.await.ok(201);
                    let fresh = poll(world, person, &joined.text("queue_token"), there).await.ok(200);
                    assert_eq!(fresh["status"], "waiting");
                    "token_replaced"
                }
                _ => {
                    let path = format!("/admin/v1/queues/main/tokens/{}", person.id());
                    world.admin().call(Side::QueueOps, "DELETE", &path).on(here).await.ok(204);
                    "token_left"
                }
            };
            for replica in [there, here] {
                poll(world, person, &token, replica).await.refused(410, ended);
            }
        }
    });
}

#[test]
fn what_an_operator_does_is_seen_at_once_through_every_replica() {
    World::s1().queue(settings()).paused().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        let token = ann.queue_token();
        for round in 0..6 {
            let (here, there) = (round % 2, (round + 1) % 2);
            let act = async |name: &str| {
                let path = format!("/admin/v1/queues/main/{name}");
                world.admin().call(Side::QueueOps, "POST", &path).on(here).await.ok(200)
            };
            let seen = async |state: &str| {
                let status = poll(world, &ann, &token, there).await.ok(200);
                assert_eq!(status["queue_state"], state, "{status:?}");
                let page = world.get(Side::Queue, "/v1/queues/main").on(there).await.ok(200);
                assert_eq!(page["state"], state, "{page:?}");
            };
            // Nobody is let in: what is seen is the state.
            let mut changed = settings();
            changed["max_active"] = json!(0);
            changed["waiting_ttl_seconds"] = json!(1000 + round * 1000);
            let put = world.admin().call(Side::QueueOps, "PUT", "/admin/v1/queues/main").on(here);
            put.json(&changed).await.ok(200);
            let status = poll(world, &ann, &token, there).await.ok(200);
            let lives = (status.time("token_expires_at") - world.clock().now()).num_seconds();
            let expected = i64::try_from(1000 + round * 1000).unwrap();
            assert!((lives - expected).abs() < 60, "{expected}: {status:?}");
            act("resume").await;
            seen("open").await;
            act("drain").await;
            seen("draining").await;
            let late = world.user("late").call(Side::Queue, "POST", "/v1/queues/main/tokens").on(there);
            late.await.refused(503, "queue_draining");
            act("pause").await;
            seen("paused").await;
        }
        for round in 0..4 {
            let (here, there) = (round % 2, (round + 1) % 2);
            let queue = format!("q-{round}");
            let path = format!("/admin/v1/queues/{queue}");
            let mut closing = settings();
            closing["max_active"] = json!(0);
            world.admin().call(Side::QueueOps, "PUT", &path).on(here).json(&closing).await.ok(201);
            let person = world.user("bob").at(&queue);
            let join = async || {
                let path = format!("/v1/queues/{queue}/tokens");
                person.call(Side::Queue, "POST", &path).on(there).await
            };
            let joined = join().await.ok(201);
            let token = joined.text("queue_token");
            assert_eq!(poll(world, &person, &token, here).await.ok(200)["position"], 1);
            poll(world, &person, &token, there).await.ok(200);
            world.admin().call(Side::QueueOps, "POST", &format!("{path}/close")).on(here).await.ok(200);
            poll(world, &person, &token, there).await.refused(410, "queue_closed");
            join().await.refused(503, "queue_closed");
            world.admin().call(Side::QueueOps, "POST", &format!("{path}/resume")).on(here).await.ok(200);
            join().await.ok(201);
        }
    });
}

/// Up to two seconds from the view, then the truth: nothing is known.
fn away(cut: bool) {
    World::s1().queue(settings()).paused().with_outages().replicas(2).run(async move |world| {
        let people = world.users("person", 10);
        for person in &people {
            person.join().await.ok(201);
        }
        let redis = world.redis.as_ref().unwrap();
        let everybody = async || {
            let polls = people
                .iter()
                .enumerate()
                .map(async |(number, person)| poll(world, person, &person.queue_token(), number % 2).await);
            at_once(polls).await
        };
        for _ in 0..2 {
            everybody().await;
        }
        let gone = Instant::now();
        if cut {
            redis.cut();
        } else {
            redis.stall();
        }
        let mut rounds = 0;
        loop {
            let polls = everybody().await;
            if gone.elapsed() > Duration::from_millis(1500) {
                break;
            }
            for (position, status) in (1..).zip(polls) {
                assert_eq!(status.ok(200)["position"], position, "after {:?}", gone.elapsed());
            }
            rounds += 1;
        }
        assert!(rounds >= 2, "{rounds} rounds");
        within(Duration::from_secs(5), "nothing is told any more", async || {
            let polls = everybody().await;
            let all = polls.iter().all(|status| status.status == 503);
            if all { Ok(()) } else { Err(format!("{:?}", polls[0])) }
        })
        .await;
        // `Retry-After` is demanded of every 503.
        let late = world.user("late").join().await;
        assert!(late.status == 503, "{late:?}");
        redis.mend();
        for (position, person) in (1..).zip(&people) {
            let status = eventually("the place is told again", async || {
                let status = person.poll().await;
                if status.status == 200 { Ok(status) } else { Err(format!("{status:?}")) }
            })
            .await;
            assert_eq!(status["position"], position);
        }
        exact_when_quiet(world, &people, 2).await;
    });
}

#[test]
fn without_the_store_the_view_answers_for_two_seconds_and_nobody_loses_the_place() {
    away(true);
}

#[test]
fn a_stalled_store_is_no_different() {
    away(false);
}

/// Silence is the person's: while nobody could be heard, nobody was silent.
#[test]
fn an_outage_longer_than_the_patience_with_silence_costs_nobody_the_place() {
    let mut settings = settings();
    settings["waiting_ttl_seconds"] = json!(3);
    World::s1().queue(settings).paused().with_outages().replicas(2).run(async |world| {
        let people = world.users("person", 5);
        for person in &people {
            person.join().await.ok(201);
        }
        let redis = world.redis.as_ref().unwrap();
        redis.cut();
        let gone = Instant::now();
        while gone.elapsed() < Duration::from_secs(5) {
            for person in &people {
                drop(person.poll().await);
            }
            pause(300).await;
        }
        redis.mend();
        for (position, person) in (1..).zip(&people) {
            let status = eventually("the store is back", async || {
                let status = person.poll().await;
                if status.status == 503 { Err(format!("{status:?}")) } else { Ok(status) }
            })
            .await;
            assert_eq!(status.ok(200)["position"], position);
        }
    });
}

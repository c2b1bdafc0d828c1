//! Event streams: what is told and when, what it costs the store, how it ends.

use std::collections::HashSet;
use std::time::Duration;

use acceptance::{Events, RedisServer, Side, User, World, at_once, eventually, pause};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(5);

fn settings(max_active: u32) -> Value {
    json!({ "admission": null, "max_active": max_active, "instant_admission": false, "waiting_ttl_seconds": 0 })
}

/// The next status that satisfies `is_it`, soon.
async fn told(events: &mut Events, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let reading = async {
        loop {
            last = events.status().await;
            if is_it(&last) {
                return;
            }
        }
    };
    let found = timeout(SOON, reading).await;
    assert!(found.is_ok(), "not told: {what}; last: {last}");
    last
}

#[test]
fn a_listener_is_told_at_once_and_at_each_change_until_the_end() {
    World::s1().queue(settings(1)).replicas(2).run(async |world| {
        let people = world.users("person", 4);
        people[0].enter().await;
        for person in &people[1..] {
            person.join().await.ok(201);
        }
        let carl = &people[3];
        let mut stream = carl.listen().await;
        let first = timeout(SOON, stream.status()).await.expect("told at once");
        assert_eq!((&first["status"], &first["position"]), (&json!("waiting"), &json!(3)), "{first}");
        let poll = carl.poll().await.ok(200);
        for member in
            ["queue", "queue_state", "status", "position", "waiting", "lane", "remaining", "entry_token"]
        {
            assert_eq!(first[member], poll[member], "{member}");
        }
        people[1].leave().await.ok(204);
        told(&mut stream, "moved up", |status| status["position"] == 2).await;
        world.admin().pause("main").await.ok(200);
        told(&mut stream, "paused", |status| status["queue_state"] == "paused").await;
        world.admin().resume("main").await.ok(200);
        told(&mut stream, "open", |status| status["queue_state"] == "open").await;
        world.admin().complete("main", &[people[0].claims().jti]).await.ok(200);
        told(&mut stream, "next", |status| status["position"] == 1).await;
        people[2].until_active().await;
        world.admin().complete("main", &[people[2].claims().jti]).await.ok(200);
        let active = told(&mut stream, "let in", |status| status["status"] == "active").await;
        assert!(active["position"].is_null() && active["admitted_at"].is_string(), "{active}");
        carl.poll().await.ok(200);
        let claims = carl.claims();
        carl.take(active["entry_token"].as_str().expect("an entry token").to_owned());
        assert_eq!(carl.claims(), claims, "the token of the event is that of the poll");
        carl.seats(world.date()).await.ok(200);
        carl.leave().await.ok(204);
        let end = timeout(SOON, stream.next()).await.expect("told of the end").expect("an event");
        assert_eq!((end.name.as_str(), &end.data["code"]), ("ended", &json!("token_left")), "{end:?}");
        assert_eq!(timeout(SOON, stream.next()).await.expect("the stream ends"), None);
    });
}

/// 300 ms from the free slot to `active`, on an idle machine; here with room for a busy one.
#[test]
fn who_is_let_in_hears_of_it_at_once() {
    World::s1().queue(settings(1)).replicas(2).run(async |world| {
        let people = world.users("person", 12);
        for person in &people {
            person.join().await.ok(201);
        }
        people[0].until_active().await;
        let mut streams = Vec::new();
        for person in &people[1..] {
            streams.push(person.listen().await);
        }
        let (mut jti, mut took) = (people[0].claims().jti, Vec::new());
        for (person, stream) in people[1..].iter().zip(&mut streams) {
            let freed = Instant::now();
            world.admin().complete("main", &[jti]).await.ok(200);
            let status = told(stream, "let in", |status| status["status"] == "active").await;
            took.push(freed.elapsed());
            person.take(status["entry_token"].as_str().expect("an entry token").to_owned());
            jti = person.claims().jti;
        }
        took.sort_unstable();
        assert!(took[took.len() / 2] < Duration::from_millis(600), "{took:?}");
        assert!(took[took.len() - 1] < Duration::from_secs(2), "{took:?}");
    });
}

/// A world whose Redis nobody else uses, so that what it does can be counted.
fn counted(test: impl AsyncFnOnce(&World, &RedisServer)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let server = runtime.unwrap().block_on(RedisServer::start(&[("save", ""), ("appendonly", "no")]));
    let url = format!("redis://{}/", server.address());
    World::s1().queue(settings(0)).redis(url).run(async |world| test(world, &server).await);
}

/// What Redis has done so far: scripts called, and commands, those in scripts included.
#[derive(Clone, Copy, Debug)]
struct Work {
    at: Instant,
    scripts: f64,
    commands: f64,
}

async fn work(server: &RedisServer) -> Work {
    let commands = server.info("stats", "total_commands_processed").await;
    let scripts = server.info("commandstats", "cmdstat_evalsha").await;
    let calls = scripts.split([',', '=']).nth(1).unwrap_or("0").to_owned();
    Work {
        at: Instant::now(),
        scripts: calls.parse().expect("a number"),
        commands: commands.parse().expect("a number"),
    }
}

impl Work {
    /// Scripts and commands a second since `earlier`.
    fn rate_since(self, earlier: Self) -> (f64, f64) {
        let seconds = (self.at - earlier.at).as_secs_f64();
        ((self.scripts - earlier.scripts) / seconds, (self.commands - earlier.commands) / seconds)
    }
}

/// Reads them all for so long; they must not end.
async fn read(streams: &mut [Events], span: Duration) {
    let reading = at_once(streams.iter_mut().map(async |stream| while stream.next().await.is_some() {}));
    assert!(timeout(span, reading).await.is_err(), "a stream ended");
}

/// A script runs a dozen commands: one look a listener would be thousands of commands a second.
#[test]
fn two_hundred_listeners_cost_the_store_what_a_few_do() {
    const SPAN: Duration = Duration::from_secs(3);
    counted(async |world, redis| {
        let people = world.users("person", 200);
        for answer in at_once(people.iter().map(User::join)).await {
            answer.ok(201);
        }
        let mut streams = Vec::new();
        for person in &people[..10] {
            streams.push(person.listen().await);
        }
        read(&mut streams, Duration::from_millis(500)).await;
        let before = work(redis).await;
        read(&mut streams, SPAN).await;
        let few = work(redis).await.rate_since(before);
        for person in &people[10..] {
            streams.push(person.listen().await);
        }
        read(&mut streams, Duration::from_millis(500)).await;
        let before = work(redis).await;
        read(&mut streams, SPAN).await;
        let many = work(redis).await.rate_since(before);
        let (scripts, commands) = (many.0 - few.0, many.1 - few.1);
        // Of 190 listeners more.
        assert!(scripts < 10.0 && commands < 190.0, "a second: {few:?} with ten, {many:?} with 200");
    });
}

#[test]
fn polls_in_line_cost_the_store_nothing() {
    counted(async |world, redis| {
        let people = world.users("person", 50);
        for answer in at_once(people.iter().map(User::join)).await {
            answer.ok(201);
        }
        // Somebody polls, so that the replica follows the line; from then on the rest is idle.
        let gently = async |seconds: u64| {
            for person in people.iter().cycle().take(usize::try_from(seconds).unwrap() * 10) {
                person.poll().await.ok(200);
                pause(100).await;
            }
        };
        gently(1).await;
        let before = work(redis).await;
        gently(2).await;
        let idle = work(redis).await.rate_since(before);
        let before = work(redis).await;
        for _ in 0..40 {
            for answer in at_once(people.iter().map(User::poll)).await {
                assert_eq!(answer.ok(200)["status"], "waiting");
            }
        }
        let after = work(redis).await;
        let seconds = (after.at - before.at).as_secs_f64();
        let beyond = |busy: f64, idle: f64| (busy - idle * 1.2) * seconds;
        let busy = after.rate_since(before);
        let (scripts, commands) = (beyond(busy.0, idle.0), beyond(busy.1, idle.1));
        assert!(
            scripts < 40.0 && commands < 200.0,
            "2000 polls in {seconds} s: {scripts} scripts, {commands} commands; {idle:?}, {busy:?}"
        );
    });
}

#[test]
fn at_the_stop_listeners_are_told_when_to_come_back_and_not_all_at_once() {
    World::s1().queue(settings(0)).programs().run(async |world| {
        let people = world.users("person", 30);
        let mut streams = Vec::new();
        for person in &people {
            person.join().await.ok(201);
            let mut stream = person.listen().await;
            stream.status().await;
            streams.push(stream);
        }
        let reading = at_once(streams.iter_mut().map(async |stream| {
            let mut retry = None;
            // Ends cleanly: a connection that breaks fails the test.
            while let Some(event) = stream.next().await {
                retry = retry.or(event.retry);
            }
            retry.expect("told when to come back")
        }));
        let stopping = world.terminate(Side::Queue, Duration::from_secs(10));
        let (code, retries) = tokio::join!(stopping, timeout(Duration::from_secs(10), reading));
        assert_eq!(code, Some(0));
        let retries = retries.expect("all streams have ended");
        assert!(retries.iter().all(|retry| (500..=30_000).contains(retry)), "{retries:?}");
        let (least, most) = (retries.iter().min().unwrap(), retries.iter().max().unwrap());
        let different = retries.iter().collect::<HashSet<_>>().len();
        assert!(different > 15 && most - least > 1000, "all come back at once: {retries:?}");
        world.start_again(Side::Queue).await;
        let kept = eventually("the place is kept", async || {
            let poll = people[29].poll().await;
            if poll.status == 200 { Ok(poll) } else { Err(format!("{poll:?}")) }
        });
        assert_eq!(kept.await["position"], 30);
    });
}

#[test]
fn listeners_outlive_a_moment_without_the_store() {
    World::s1().queue(settings(1)).with_outages().replicas(2).run(async |world| {
        let people = world.users("person", 6);
        people[0].enter().await;
        for person in &people[1..] {
            person.join().await.ok(201);
        }
        let mut streams = Vec::new();
        for person in &people[1..] {
            let mut stream = person.listen().await;
            stream.status().await;
            streams.push(stream);
        }
        let redis = world.redis.as_ref().unwrap();
        for away in [Duration::from_millis(700), Duration::from_millis(3500)] {
            redis.cut();
            read(&mut streams, away).await;
            redis.mend();
        }
        eventually("the store is back", async || {
            let left = people[1].leave().await;
            if left.status == 204 { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        let end = timeout(SOON, streams[0].next()).await.expect("told of the end").expect("an event");
        assert_eq!(end.data["code"], "token_left", "{end:?}");
        for (stream, position) in streams[1..].iter_mut().zip(1..) {
            told(stream, "moved up", |status| status["position"] == position).await;
        }
        world.admin().complete("main", &[people[0].claims().jti]).await.ok(200);
        told(&mut streams[1], "let in", |status| status["status"] == "active").await;
    });
}

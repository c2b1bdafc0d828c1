//! How the rate heeds the pressure on the service behind the line.

use std::time::Duration;

use acceptance::{Answer, Side, User, World, at_once, eventually, within};
use serde_json::{Value, json};

const USERS: usize = 20;
const LEAST: usize = 6;

fn settings() -> Value {
    json!({
        "admission": { "users": USERS, "every_seconds": 1 }, "max_active": null, "instant_admission": false,
        "waiting_ttl_seconds": 0, "claim_window_seconds": 3000,
        "adaptive": { "p99_ms": 100, "error_rate": 0.1, "pool_wait_ms": 50, "min_users": LEAST },
    })
}

/// The queue `pressed`, which hears nothing but what the test says: the booking service is cut off.
struct Pressed<'w> {
    world: &'w World,
}

impl<'w> Pressed<'w> {
    async fn open(world: &'w World, settings: &Value) -> Self {
        world.queue_ops.as_ref().unwrap().cut();
        world.admin().put_queue("pressed", settings).await.ok(201);
        Self { world }
    }

    /// A report, after which time passes for a step.
    async fn report(&self, reporter: &str, measure: &str, value: f64) -> Answer {
        let mut body = json!({ "reporter": reporter, "p99_ms": 5, "error_rate": null, "pool_wait_ms": 0 });
        body[measure] = json!(value);
        self.world.advance(Duration::from_millis(1001));
        self.world.admin().pressure(&body).await.ok(200)
    }

    async fn hard(&self, reporter: &str) -> (f64, Value) {
        self.report(reporter, "p99_ms", 101.0).await;
        self.outflow().await
    }

    async fn calm(&self, reporter: &str) -> (f64, Value) {
        self.report(reporter, "p99_ms", 99.0).await;
        self.outflow().await
    }

    async fn outflow(&self) -> (f64, Value) {
        let report = self.world.admin().queue("pressed").await.ok(200);
        (report["outflow"]["share"].as_f64().unwrap(), report["outflow"]["reason"].clone())
    }
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 0.01
}

#[test]
fn hard_times_slow_the_rate_by_steps_and_calm_brings_it_back() {
    World::s1().with_outages().run(async |world| {
        let pressed = Pressed::open(world, &settings()).await;
        assert_eq!(pressed.outflow().await, (1.0, json!(null)));
        assert_eq!(pressed.report("a", "p99_ms", 100.0).await["heeded"], 1);
        assert_eq!(pressed.outflow().await, (1.0, json!(null)), "a bound that is met is not exceeded");
        let mut expected = 1.0;
        for (measure, value) in
            [("p99_ms", 100.5), ("error_rate", 0.11), ("pool_wait_ms", 51.0), ("error_rate", 1.0)]
        {
            pressed.report("a", measure, value).await;
            expected *= 0.7;
            let (share, reason) = pressed.outflow().await;
            assert!(near(share, expected), "{share} instead of {expected}");
            assert_eq!(reason, measure);
        }
        let metrics = world.get(Side::QueueOps, "/metrics").await.ok(200).text;
        let line = metrics.lines().find(|line| line.starts_with("queue_outflow_ratio{queue=\"pressed\"}"));
        let shown: f64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a metric");
        assert!(near(shown, expected), "{line:?}");
        let mut before = pressed.outflow().await.0;
        for _ in 0..10 {
            let (share, _) = pressed.hard("a").await;
            assert!(share <= before && share > 0.0, "{share} after {before}");
            before = share;
        }
        let mut calm = 0;
        while before < 1.0 {
            let (share, reason) = pressed.calm("a").await;
            assert!(share > before && share <= 1.0 && share <= before + 0.11, "{share} after {before}");
            assert_eq!(reason, if share < 1.0 { json!("recovering") } else { json!(null) });
            (before, calm) = (share, calm + 1);
        }
        assert!(calm >= 9, "back within {calm} s");
    });
}

#[test]
fn a_step_is_taken_once_a_second_however_many_report() {
    World::s1().with_outages().replicas(2).run(async |world| {
        let pressed = Pressed::open(world, &settings()).await;
        pressed.calm("z").await;
        world.advance_seconds(2);
        #[expect(clippy::disallowed_methods, reason = "the steps are taken on the real clock")]
        let started = std::time::Instant::now();
        for _ in 0..5 {
            let reports = (0..8).map(|number| json!({ "reporter": format!("r-{number}"), "p99_ms": 900 }));
            let reports: Vec<_> = reports.collect();
            for answer in at_once(reports.iter().map(|report| world.admin().pressure(report))).await {
                answer.ok(200);
            }
        }
        let steps = 1 + i32::try_from(started.elapsed().as_secs()).unwrap();
        let (share, _) = pressed.outflow().await;
        assert!(
            share < 0.71 && share > 0.7_f64.powi(steps) - 0.01,
            "{share} after {steps} steps at the most"
        );
    });
}

#[test]
fn of_several_reporters_the_worst_counts_until_it_is_silent() {
    World::s1().with_outages().run(async |world| {
        let pressed = Pressed::open(world, &settings()).await;
        assert!(near(pressed.hard("bad").await.0, 0.7));
        // Calm reports of another do not make it better while the hard one is fresh.
        let (share, reason) = pressed.calm("good").await;
        assert!(near(share, 0.49), "{share}");
        assert_eq!(reason, "p99_ms");
        // Nobody says anything: it stays as it is.
        world.advance_seconds(120);
        let (still, _) = pressed.outflow().await;
        assert!(near(still, share), "{still} after {share}");
        // The one that was bad is silent, and forgotten.
        let (share, reason) = pressed.calm("good").await;
        assert!(share > still, "{share} after {still}");
        assert_eq!(reason, "recovering");
        // It says itself that it is better.
        let (low, _) = pressed.hard("bad").await;
        assert!(low < share);
        assert!(pressed.calm("bad").await.0 > low);
    });
}

/// m per n holds at every moment, the least is let in at the worst, and all of it once it is calm.
#[test]
fn the_slowed_rate_lets_in_the_least_and_never_more_than_the_limit() {
    World::s1().with_outages().replicas(2).run(async |world| {
        let pressed = Pressed::open(world, &settings()).await;
        world.admin().pause("pressed").await.ok(200);
        let people: Vec<_> = world.users("person", 150).iter().map(|person| person.at("pressed")).collect();
        for answer in at_once(people.iter().map(User::join)).await {
            answer.ok(201);
        }
        for _ in 0..12 {
            pressed.hard("a").await;
        }
        world.admin().resume("pressed").await.ok(200);
        let admitted = async || world.admin().queue("pressed").await.ok(200).int("admitted_total");
        let least = i64::try_from(LEAST).unwrap();
        for second in 1..=4 {
            within(Duration::from_secs(10), "the least are let in", async || match admitted().await {
                all if all == least * second => Ok(()),
                all => Err(all.to_string()),
            })
            .await;
            assert_eq!(world.admin().queue("pressed").await["outflow"]["reason"], "p99_ms");
            pressed.hard("a").await;
        }
        while pressed.calm("a").await.0 < 1.0 || admitted().await < 150 {}
        let polls = at_once(people.iter().map(User::until_active)).await;
        let mut moments: Vec<_> =
            polls.iter().map(|poll| poll.time("admitted_at").timestamp_millis()).collect();
        moments.sort_unstable();
        for (first, moment) in moments.iter().enumerate() {
            let within =
                |span: i64| moments[first..].iter().take_while(|other| **other - moment < span).count();
            assert!(within(1000) <= USERS, "{} in a second: {moments:?}", within(1000));
            assert!(
                first >= 4 * LEAST
                    || moments[first..4 * LEAST].iter().filter(|at| **at - moment < 1000).count() <= LEAST,
                "{moments:?}"
            );
        }
    });
}

#[test]
fn a_queue_that_does_not_ask_for_it_is_never_slowed() {
    World::s1().with_outages().run(async |world| {
        let mut plain = settings();
        plain.as_object_mut().unwrap().remove("adaptive");
        let pressed = Pressed::open(world, &plain).await;
        assert_eq!(pressed.report("a", "p99_ms", 1e6).await["heeded"], 0);
        assert_eq!(pressed.hard("a").await, (1.0, json!(null)));
        // Asked for, slowed, and not asked for any more: the whole rate at once.
        world.admin().put_queue("pressed", &settings()).await.ok(200);
        assert!(pressed.hard("a").await.0 < 0.71);
        world.admin().put_queue("pressed", &plain).await.ok(200);
        assert_eq!(pressed.outflow().await, (1.0, json!(null)));
        // Bounds that are null are not heeded.
        let mut only_errors = settings();
        only_errors["adaptive"] =
            json!({ "p99_ms": null, "pool_wait_ms": null, "error_rate": 0.5, "min_users": 1 });
        world.admin().put_queue("errors", &only_errors).await.ok(201);
        let body = json!({ "reporter": "a", "p99_ms": 1e6, "error_rate": 0.5, "pool_wait_ms": 1e6 });
        world.admin().pressure(&body).await.ok(200);
        assert_eq!(world.admin().queue("errors").await["outflow"]["share"], 1.0);
        let body = json!({ "reporter": "a", "error_rate": 0.51 });
        world.advance_seconds(2);
        world.admin().pressure(&body).await.ok(200);
        assert_eq!(world.admin().queue("errors").await["outflow"]["reason"], "error_rate");
    });
}

#[test]
fn bad_reports_and_bad_bounds_are_refused() {
    World::s1().run(async |world| {
        let long = "x".repeat(65);
        for body in [
            json!({}),
            json!({ "reporter": "" }),
            json!({ "reporter": long }),
            json!({ "reporter": 5 }),
            json!({ "reporter": "a", "p99_ms": "5" }),
            json!({ "reporter": "a", "p99_ms": [] }),
            json!([]),
        ] {
            let answer = world.admin().pressure(&body).await;
            assert_eq!(answer.outcome(), "422 invalid_request", "{body}: {answer:?}");
        }
        let path = "/internal/v1/pressure";
        world.call(Side::QueueOps, "POST", path).json(&json!({})).await.refused(401, "unauthorized");
        world.admin().call(Side::QueueOps, "POST", path).json(&json!({})).await.refused(403, "forbidden");
        for adaptive in [
            json!({ "min_users": 0 }),
            json!({ "min_users": USERS + 1 }),
            json!({ "p99_ms": -1 }),
            json!({ "error_rate": 1.1 }),
            json!({ "color": 1 }),
            json!([]),
            json!(true),
        ] {
            let mut bad = settings();
            bad["adaptive"] = adaptive;
            world.admin().put_queue("bad", &bad).await.refused(422, "invalid_settings");
        }
        let mut unlimited = settings();
        unlimited["admission"] = json!(null);
        world.admin().put_queue("bad", &unlimited).await.refused(422, "invalid_settings");
    });
}

/// The booking service's own reports: calm leaves the rate whole, a bound that it cannot keep slows it.
#[test]
fn the_booking_service_reports_by_itself() {
    World::s1().run(async |world| {
        let mut patient = settings();
        patient["adaptive"] =
            json!({ "p99_ms": 60000, "pool_wait_ms": 60000, "error_rate": 0.5, "min_users": 1 });
        let mut strict = settings();
        strict["adaptive"] = json!({ "p99_ms": 0, "pool_wait_ms": null, "error_rate": null, "min_users": 1 });
        world.admin().put_queue("patient", &patient).await.ok(201);
        world.admin().put_queue("strict", &strict).await.ok(201);
        let ann = world.user("ann");
        let slowed = within(Duration::from_secs(15), "the strict queue is slowed", async || {
            // Requests that take more than nothing.
            for _ in 0..10 {
                ann.charge(1).await.ok(201);
            }
            let report = world.admin().queue("strict").await.ok(200);
            let share = report["outflow"]["share"].as_f64().unwrap();
            if share < 1.0 { Ok(report) } else { Err(format!("{report:?}")) }
        })
        .await;
        assert_eq!(slowed["outflow"]["reason"], "p99_ms");
        eventually("the metric is there", async || {
            let metrics = world.get(Side::QueueOps, "/metrics").await.ok(200).text;
            let line = metrics.lines().find(|line| line.contains("queue_outflow_ratio{queue=\"patient\"}"));
            if line.is_some_and(|line| line.ends_with(" 1")) { Ok(()) } else { Err(format!("{line:?}")) }
        })
        .await;
        let calm = world.admin().queue("patient").await.ok(200);
        assert_eq!(calm["outflow"], json!({ "share": 1.0, "reason": null }));
    });
}

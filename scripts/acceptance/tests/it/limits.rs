//! The cap and the rate under a crowd, at every moment: by the operator's report, by every entry token that was
//! handed out, and by the admission log. Requirements 56 and 66; issue 3.
//!
//! `LIMITS_SECONDS=60` runs the crowd of requirement 56: 500 people, a cap of 50, about a minute.

use acceptance::{Admissions, World};
use serde_json::json;

use crate::crowd::{Crowd, Limits};

const EVERY_SECONDS: i64 = 1;

#[test]
fn the_limits_hold_under_abandoning_pollers_on_four_replicas() {
    let is_full = std::env::var("LIMITS_SECONDS").is_ok_and(|seconds| seconds == "60");
    let (people, cap, entry_ttl) = if is_full { (500, 50, 7) } else { (100, 20, 2) };
    let limits = Limits { users: 10, every_seconds: EVERY_SECONDS, cap };
    let settings = limits.settings(json!({
        "entry_ttl_seconds": entry_ttl, "claim_window_seconds": 2, "waiting_ttl_seconds": 4,
        "instant_admission": true,
    }));
    World::s4().queue(settings).queue(json!({ "entry_max_lifetime_seconds": null })).replicas(4).run(
        async |world| {
            let crowd = Crowd::new(world, limits, people, 4).abandoning(800);
            let started_ms = crowd.now_ms();
            crowd.live(crowd.join(people)).await;
            let seconds = (crowd.now_ms() - started_ms) / 1000;
            let log = world.admission_log("main").await;
            in_the_log(&log, limits);
            let let_in: usize = log.iter().map(|step| step.places.len()).sum();
            assert!(let_in >= crowd.entries().len(), "the log has {let_in}");
            let most = log.iter().map(|step| step.active).max().unwrap();
            assert_eq!(most, cap, "the cap was never reached");
            let samples = crowd.samples();
            assert!(samples > 200, "only {samples} samples");
            report(&format!("{samples} samples in {seconds} s, {let_in} let in, at most {most} active"));
        },
    );
}

#[expect(clippy::print_stdout, reason = "figures, for whoever runs it by hand")]
fn report(figures: &str) {
    println!("{figures}");
}

/// Never more than m in any n seconds, never more than N at once, in the order of places.
fn in_the_log(log: &[Admissions], limits: Limits) {
    let moments: Vec<i64> = log.iter().flat_map(|step| step.places.iter().map(|_| step.at_ms)).collect();
    for these in moments.windows(limits.users + 1) {
        let within_ms = these[limits.users] - these[0];
        assert!(within_ms >= limits.every_seconds * 1000, "{} within {within_ms} ms", these.len());
    }
    let ends: Vec<i64> = log.iter().flat_map(|step| step.ended_ms.clone()).collect();
    for step in log {
        let begun = moments.iter().filter(|moment| **moment <= step.at_ms).count();
        let ended = ends.iter().filter(|moment| **moment <= step.at_ms).count();
        assert!(begun - ended <= limits.cap, "{} at once: {step:?}", begun - ended);
        assert!(step.active <= limits.cap, "{step:?}");
    }
    let of_the_line = log.iter().filter(|step| step.how == "rate").flat_map(|step| step.places.clone());
    assert!(of_the_line.collect::<Vec<_>>().is_sorted(), "not in the order of places");
    assert!(log.iter().all(|step| step.how != "hand"), "nobody was let in by hand");
}

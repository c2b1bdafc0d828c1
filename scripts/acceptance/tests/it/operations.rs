//! The ops listeners: health, metrics, what is there and not elsewhere; programs that refuse to start.

use acceptance::{PRICE, Side, World, run_to_end};

#[test]
fn health_and_metrics_are_on_the_ops_listener_alone() {
    World::s0().run(async |world| {
        world.user("ann").enter().await;
        for side in [Side::QueueOps, Side::BookingOps] {
            world.get(side, "/livez").await.ok(200);
            world.get(side, "/readyz").await.ok(200);
            let metrics = world.get(side, "/metrics").await.ok(200);
            assert!(metrics.text.contains("http_requests_total"), "{metrics:?}");
            assert!(metrics.text.lines().any(|line| line.starts_with("# TYPE")), "{metrics:?}");
        }
        for side in [Side::Queue, Side::Booking] {
            for path in [
                "/livez",
                "/readyz",
                "/metrics",
                "/admin/v1/queues",
                "/admin/v1/queues/main",
                "/admin/v1/audit",
                "/internal/v1/revocations",
            ] {
                world.admin().call(side, "GET", path).await.refused(404, "not_found");
            }
            world.admin().call(side, "POST", "/admin/v1/concerts").await.refused(404, "not_found");
        }
        for (side, path) in [(Side::QueueOps, "/v1/queues/main"), (Side::BookingOps, "/v1/concerts")] {
            world.get(side, path).await.refused(404, "not_found");
        }
    });
}

#[test]
fn no_token_and_no_name_of_a_person_is_in_the_metrics() {
    World::s1().run(async |world| {
        let ann = world.user("ann-whose-name-is-private");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        for side in [Side::QueueOps, Side::BookingOps] {
            let metrics = world.get(side, "/metrics").await.ok(200);
            for secret in [ann.id(), &hold.text("reservation_id"), &ann.claims().jti, acceptance::ADMIN_TOKEN]
            {
                assert!(!metrics.text.contains(secret), "{secret} is in the metrics");
            }
        }
    });
}

#[test]
fn the_report_and_the_audit_tell_the_books() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(5 * PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1, 2]).await.ok(201);
        ann.reserve(world.date(), &[3]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        let report = world.admin().report(world.date()).await.ok(200);
        let numbers = ["sold", "held", "free", "revenue"].map(|name| report.int(name));
        assert_eq!(numbers, [2, 1, 47, 2 * PRICE]);
        let audit = world.admin().audit().await.ok(200);
        assert_eq!(audit["ok"], true);
        assert!(audit.list("violations").is_empty());
    });
}

/// Flags that would start a program, up to its stores.
fn flags_of(program: &str, world: &World, without: &str, instead: &[&str]) -> Vec<String> {
    let text = |path: std::path::PathBuf| path.display().to_string();
    let identity = text(world.keys.identity());
    let (entry, tokens) = (text(world.keys.entry()), text(world.keys.queue_tokens()));
    let all: Vec<[&str; 2]> = if program == "queue-service" {
        vec![
            ["--queue-addr", "127.0.0.1:0"],
            ["--queue-ops-addr", "127.0.0.1:0"],
            ["--redis-url", "redis://127.0.0.1:1/"],
            ["--entry-signing-keys", &entry],
            ["--queue-token-keys", &tokens],
        ]
    } else {
        vec![
            ["--booking-addr", "127.0.0.1:0"],
            ["--booking-ops-addr", "127.0.0.1:0"],
            ["--database-url", "postgres://127.0.0.1:1/none"],
            ["--entry-jwks-url", "http://127.0.0.1:1/jwks.json"],
            ["--queue-ops-url", "http://127.0.0.1:1"],
            ["--queue-public-url", "http://127.0.0.1:1"],
        ]
    };
    let secrets = [
        ["--dev-identity-key", &identity],
        ["--admin-token", "dev-admin"],
        ["--service-token", "dev-service"],
    ];
    let mut flags: Vec<String> = instead.iter().map(|&flag| flag.to_owned()).collect();
    for [flag, value] in all.into_iter().chain(secrets) {
        if flag != without && !instead.contains(&flag) {
            flags.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    flags
}

#[test]
fn programs_refuse_to_start_with_settings_that_are_missing_or_at_odds() {
    World::s0().run(async |world| {
        let cases: [(&str, &str, &[&str], &str); 14] = [
            ("queue-service", "", &["--admin-token", ""], "ADMIN_TOKEN"),
            ("queue-service", "--dev-identity-key", &["--user-jwks", "/none"], "ADMIN_TOKEN"),
            ("queue-service", "", &["--service-token", ""], "SERVICE_TOKEN"),
            ("queue-service", "", &["--entry-signing-keys", "/nowhere"], "/nowhere"),
            ("queue-service", "", &["--queue-token-keys", "/nowhere"], "/nowhere"),
            ("queue-service", "", &["--dev-identity-key", "/nowhere"], "/nowhere"),
            ("queue-service", "", &["--queue-addr", "nonsense"], "nonsense"),
            ("booking-service", "", &["--admin-token", ""], "ADMIN_TOKEN"),
            ("booking-service", "--dev-identity-key", &["--user-jwks", "/none"], "ADMIN_TOKEN"),
            ("booking-service", "", &["--release-on", "hold", "--gated", "reserve,pay"], "RELEASE_ON"),
            ("booking-service", "", &["--release-on", "never"], "release-on"),
            ("booking-service", "", &["--gated", "dates,chairs"], "chairs"),
            ("booking-service", "", &["--hold-ttl-seconds", "0"], "hold-ttl"),
            ("booking-service", "", &["--max-seats-per-reservation=-1"], "max-seats"),
        ];
        for (program, without, instead, named) in cases {
            let flags = flags_of(program, world, without, instead);
            let output = run_to_end(program, &flags, world.keys.folder()).await;
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_ne!(output.status.code(), Some(0), "{program} {instead:?}: {said}");
            let said = said.to_lowercase().replace('_', "-");
            let named = named.to_lowercase().replace('_', "-");
            assert!(said.contains(&named), "{program} {instead:?} does not name {named}: {said}");
            assert!(!said.contains("panicked"), "{program} {instead:?}: {said}");
        }
    });
}

#[test]
fn a_taken_port_is_said_and_nothing_is_left_running() {
    World::s0().run(async |world| {
        let taken = world.base(Side::Queue, None).replace("http://", "");
        let flags = flags_of("queue-service", world, "", &["--queue-addr", &taken]);
        let redis = std::env::var("TEST_REDIS_URL").unwrap();
        let flags = flags.iter().map(|flag| flag.replace("redis://127.0.0.1:1/", &redis)).collect::<Vec<_>>();
        let output = run_to_end("queue-service", &flags, world.keys.folder()).await;
        assert_ne!(output.status.code(), Some(0));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.contains(&taken), "{said}");
    });
}

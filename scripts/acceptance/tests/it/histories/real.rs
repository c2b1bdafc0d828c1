//! Histories of the service: on two replicas, with answers lost, through the death of a replica, with gates, and
//! with a database that somebody has spoiled.
//!
//! `HISTORY_OPERATIONS` and `HISTORY_SEED` choose how long the first is, and which wishes are made. The
//! wishes follow from the seed and from the answers; when requests meet, the machine decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::histories::{History, Outcome, Plan, Shape, Terms, check, name, record};
use acceptance::{Proxy, Side, World, pause, within};
use serde_json::json;
use sqlx::Connection as _;

const USERS: usize = 12;
const DEVICES: usize = 4;
const SEATS: i32 = 120;
const PRICE: i64 = 100;
const TTL_SECONDS: i64 = 1;
/// What the contract allows; `HISTORY_MAP_LAG_MS` asks for less.
const MAP_LAG_MS: i64 = 1000;
/// How many stories of violations are told.
const TOLD: usize = 3;

fn world() -> acceptance::Builder {
    let ttl = TTL_SECONDS.to_string();
    World::s4().gated("").replicas(2).booking_flags(&["--hold-ttl-seconds", &ttl])
}

async fn plan(world: &World, operations: usize) -> Plan {
    let seats = json!({ "seats": { "count": SEATS, "price": PRICE } });
    let date = world.add_date_with(world.concert(), seats).await;
    let map_lag_ms = from_environment("HISTORY_MAP_LAG_MS").map_or(MAP_LAG_MS, u64::cast_signed);
    Plan {
        operations,
        tokens: (0..USERS).map(|user| world.user_token(&name(user))).collect(),
        devices: DEVICES,
        seed: from_environment("HISTORY_SEED").unwrap_or(1),
        hang_up_percent: 0.5,
        terms: Terms {
            hold_ttl: TTL_SECONDS * 1_000_000,
            price: PRICE,
            slack: 2000,
            map_lag: 1000 * map_lag_ms,
        },
        shape: Shape { seats: SEATS, hot: 6, most_seats: 4, most_points: 800 },
        replicas: (0..2).map(|replica| address(world, replica)).collect(),
        schedule: date.id,
        gate: None,
        progress: Arc::new(AtomicUsize::new(0)),
        clock: world.booking_clock().clone(),
    }
}

fn address(world: &World, replica: usize) -> String {
    world.base(Side::Booking, Some(replica)).replace("http://", "")
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Fails with the first violations, told, and with how to run it again.
fn judge(history: &History, least: usize) {
    let violations = check(history);
    tell(&summary(history));
    let told: Vec<_> = violations.iter().take(TOLD).map(|violation| violation.story(history)).collect();
    let seed = from_environment("HISTORY_SEED").unwrap_or(1);
    assert!(
        violations.is_empty(),
        "{} violations (again with HISTORY_SEED={seed} HISTORY_OPERATIONS={least}):\n{}\n{}",
        violations.len(),
        told.join("\n\n"),
        summary(history)
    );
    assert!(history.answered() >= least, "{}", summary(history));
}

#[expect(clippy::print_stderr, reason = "what was done, for whoever runs it by hand")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// How many of what.
fn summary(history: &History) -> String {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for attempt in &history.attempts {
        let wish = format!("{:?}", attempt.wish);
        let wish = wish.split([' ', '{']).next().unwrap_or_default().to_owned();
        let outcome = match &attempt.outcome {
            Outcome::Ok(_) => "ok",
            Outcome::Refused { code, .. } => code,
            Outcome::Lost => "no answer",
        };
        *counts.entry(format!("{wish} {outcome}")).or_default() += 1;
    }
    let seconds = history.ended.tick / 1_000_000;
    format!("{} answered, {} writes, {seconds} s: {counts:?}", history.answered(), history.writes())
}

#[test]
fn a_hundred_thousand_operations_on_two_replicas_have_an_order() {
    world().run(async |world| {
        let operations = from_environment("HISTORY_OPERATIONS").unwrap_or(100_000);
        let operations = usize::try_from(operations).unwrap();
        let history = record(plan(world, operations).await).await;
        judge(&history, operations);
        assert!(history.writes() * 2 > history.answered(), "{}", summary(&history));
    });
}

#[test]
fn operations_whose_answers_are_lost_have_an_order() {
    world().run(async |world| {
        let mut plan = plan(world, 6000).await;
        let proxies = [Proxy::to(address(world, 0)).await, Proxy::to(address(world, 1)).await];
        plan.replicas = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
        plan.hang_up_percent = 15.0;
        let history = tokio::select! {
            history = record(plan) => history,
            () = cut_now_and_then(&proxies) => unreachable!("it never ends"),
        };
        let lost = history.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Lost).count();
        assert!(lost > 300, "only {lost} answers were lost");
        judge(&history, 6000);
    });
}

async fn cut_now_and_then(proxies: &[Proxy; 2]) {
    for turn in 0_usize.. {
        pause(150).await;
        proxies[turn % 2].cut();
        pause(5).await;
        proxies[turn % 2].mend();
    }
}

#[test]
fn operations_through_the_death_of_a_replica_have_an_order() {
    const OPERATIONS: usize = 9000;
    world().programs().run(async |world| {
        let plan = plan(world, OPERATIONS).await;
        let progress = plan.progress.clone();
        let deaths = async {
            for (replica, part) in [(1, 1), (0, 3), (1, 5)] {
                within(Duration::from_secs(60), "the clients go on", async || {
                    let answered = progress.load(Ordering::Relaxed);
                    if answered > OPERATIONS * part / 7 { Ok(()) } else { Err(answered.to_string()) }
                })
                .await;
                world.kill_replica(Side::Booking, replica).await;
                world.start_replica_again(Side::Booking, replica).await;
            }
        };
        let (history, ()) = tokio::join!(record(plan), deaths);
        assert!(history.attempts.iter().any(|attempt| attempt.outcome == Outcome::Lost));
        judge(&history, OPERATIONS);
    });
}

#[test]
fn operations_behind_gates_have_an_order() {
    world().gated("seats,reserve,pay").run(async |world| {
        let mut plan = plan(world, 5000).await;
        plan.gate = Some((world.entry_claims("anybody", "main").await, world.keys.entry_key()));
        let history = record(plan).await;
        let spent =
            history.attempts.iter().filter(|attempt| attempt.outcome.code() == Some("entry_token_completed"));
        assert!(spent.count() > 10, "no entry token was spent: {}", summary(&history));
        judge(&history, 5000);
    });
}

/// What somebody could do to the database, now and then. The checker must find each.
const SABOTAGES: [(&str, &str); 5] = [
    (
        "a hold is answered, and its seats stay free",
        "create function spoil() returns trigger language plpgsql as $$ begin
            if new.state = 'held' and old.state = 'free' and random() < 0.1 then return old; end if;
            return new;
        end $$;
        create trigger spoil before update on seats for each row execute function spoil()",
    ),
    (
        "a payment is answered, and its seats are for sale again",
        "create function spoil() returns trigger language plpgsql as $$ begin
            if new.status = 'confirmed' and random() < 0.5 then
                update seats set state = 'free', hold_id = null, held_by = null, held_until = null
                    where hold_id = new.id;
            end if;
            return new;
        end $$;
        create trigger spoil after update on reservations for each row execute function spoil()",
    ),
    (
        "a refund pays a point too much",
        "create function spoil() returns trigger language plpgsql as $$ begin
            if new.kind = 'refund' and random() < 0.5 then
                update accounts set balance = balance + 1 where user_id = new.user_id;
            end if;
            return new;
        end $$;
        create trigger spoil after insert on ledger for each row execute function spoil()",
    ),
    (
        "a charge is answered and written down, and not in the balance",
        "create function spoil() returns trigger language plpgsql as $$ begin
            if random() < 0.2 then
                update accounts set balance = balance - new.amount where user_id = new.user_id;
            end if;
            return new;
        end $$;
        create trigger spoil after insert on ledger for each row when (new.kind = 'charge')
            execute function spoil()",
    ),
    (
        "a key is forgotten",
        "create function spoil() returns trigger language plpgsql as $$ begin
            delete from idempotency where key = new.key;
            return new;
        end $$;
        create trigger spoil after insert on idempotency for each row execute function spoil()",
    ),
];

#[test]
fn a_spoiled_database_is_found_out() {
    for (what, sql) in SABOTAGES {
        world().sabotaged().run(async |world| {
            let mut plan = plan(world, 1500).await;
            plan.hang_up_percent = 20.0;
            // Fewer clients are answered sooner, and so pay before their deadlines on the busiest machine.
            plan.devices = 1;
            let mut database = sqlx::PgConnection::connect(world.database_url()).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut database).await.unwrap();
            let history = record(plan).await;
            let mut violations = check(&history);
            // That the service notices is well, but no find of the checker.
            violations.retain(|violation| !violation.what.starts_with("internal"));
            assert!(!violations.is_empty(), "not found: {what}; {}", summary(&history));
            tell(&format!("{what}: {} violations; {}", violations.len(), violations[0].story(&history)));
        });
    }
}

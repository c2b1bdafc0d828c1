//! A failure, or the end of the process, between any two statements: nothing is half done, and the same
//! request with the same key then has one effect. The points are the table `booking_service::crash`.
//!
//! ```text
//!   before ─ arm the point ─ ask ─ it fails or dies ─ is all as before? (after the commit: as in the end?)
//!          ─ ask again, the same key ─ 201 ─ again ─ the same answer ─ books in order, queue told
//! ```

use std::time::Duration;

use acceptance::{Answer, Builder, Call, Date, PRICE, Row, Side, User, World, within};
use booking_service::crash::{PLAN, POINTS};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// The verbs of the table; each has a test below.
const VERBS: [&str; 7] = ["hold", "release", "sweep", "pay", "refund", "points", "relay"];
const MODES: [&str; 2] = ["fail", "kill"];

/// One point, and how it ends.
#[derive(Clone, Copy, Debug)]
struct Case {
    point: &'static str,
    mode: &'static str,
    number: i64,
}

impl Case {
    /// All of one verb.
    fn of(verb: &str) -> Vec<Self> {
        let points = POINTS.into_iter().filter(|point| point.split('.').next() == Some(verb));
        let cases = points.flat_map(|point| MODES.map(|mode| (point, mode)));
        let cases: Vec<_> =
            cases.zip(1..).map(|((point, mode), number)| Self { point, mode, number }).collect();
        assert!(!cases.is_empty(), "{verb} has no points");
        cases
    }

    /// A person of its own.
    fn name(self) -> String {
        format!("{}-{}", self.point, self.mode)
    }

    fn is_committed(self) -> bool {
        self.point.ends_with(".committed")
    }

    /// The plan, at once: nobody sees half of it.
    fn arm(self, world: &World) {
        let plan = world.keys.folder().join(PLAN);
        let draft = plan.with_extension("draft");
        std::fs::write(&draft, format!("{} {}", self.point, self.mode)).unwrap();
        std::fs::rename(draft, plan).unwrap();
    }

    /// Until the point was reached; the process lives again when this returns.
    async fn reached(self, world: &World) {
        let plan = world.keys.folder().join(PLAN);
        within(SOON, &format!("{} is reached", self.point), async || {
            if plan.exists() { Err("the plan is still there".to_owned()) } else { Ok(()) }
        })
        .await;
        if self.mode == "kill" {
            world.until_ended(Side::Booking).await;
            world.start_again(Side::Booking).await;
        }
    }
}

#[test]
fn every_point_of_the_table_is_walked() {
    for point in POINTS {
        assert!(VERBS.contains(&point.split('.').next().unwrap()), "{point} belongs to no test");
    }
}

/// What is whole or absent: money, reservations, seats.
async fn snap(world: &World, user: &User<'_>, date: &Date) -> Value {
    let mut reservations = user.reservations("").await;
    for reservation in &mut reservations {
        reservation.as_object_mut().unwrap().remove("remaining_seconds");
    }
    let report = world.admin().report(date).await.ok(200);
    assert_eq!(world.admin().audit().await.ok(200)["ok"], true);
    json!({
        "balance": user.balance().await, "ledger": user.history().await, "reservations": reservations,
        "seats": [report["sold"], report["held"], report["free"], report["revenue"]],
    })
}

/// The same request until it is answered so: what died with its connection is noticed a moment later.
async fn again<'w>(status: u16, ask: impl Fn() -> Call<'w>) -> Answer {
    within(SOON, &format!("it is answered {status}"), async || match ask().attempt().await {
        Ok(answer) if answer.status == status => Ok(answer),
        other => Err(format!("{other:?}")),
    })
    .await
}

/// Asks, and meets the end that the plan has in store.
async fn meet<'w>(world: &World, case: Case, ask: impl Fn() -> Call<'w>) {
    case.arm(world);
    match (case.mode, ask().attempt().await) {
        ("fail", Ok(answer)) => drop(answer.refused(503, "unavailable")),
        ("kill", Err(_)) => {}
        (_, other) => panic!("{case:?}: {other:?}"),
    }
    case.reached(world).await;
}

/// The whole story of a request with a key.
async fn story<'w>(world: &World, case: Case, user: &User<'_>, date: &Date, ask: impl Fn() -> Call<'w>) {
    let before = snap(world, user, date).await;
    meet(world, case, &ask).await;
    let then = snap(world, user, date).await;
    let answer = again(201, &ask).await;
    let after = snap(world, user, date).await;
    assert_ne!(before, after, "{case:?}: it has no effect");
    assert_eq!(then, if case.is_committed() { after.clone() } else { before }, "{case:?}: half done");
    assert_eq!(ask().await.ok(201).body, answer.body, "{case:?}");
    assert_eq!(snap(world, user, date).await, after, "{case:?}: a second effect");
}

/// Everybody is let in at once; the programs have crash points.
fn crashing(world: Builder) -> Builder {
    world.open_door().crashing_programs()
}

/// Somebody new, let in, with the points for one seat.
async fn newcomer(world: &World, case: Case) -> User<'_> {
    let user = world.user(&case.name());
    user.enter().await;
    user.charge(PRICE).await.ok(201);
    user
}

#[test]
fn a_hold_is_whole_or_absent() {
    crashing(World::s3()).run(async |world| {
        let seats = json!({ "count": 50, "price": PRICE });
        // Limited: the wish lines up at a row first.
        let limited = json!({ "seats": seats, "max_seats_per_user": 2 });
        let date = world.add_date_with(world.concert(), limited).await;
        let cases = Case::of("hold");
        for case in &cases {
            let user = newcomer(world, *case).await;
            let body = json!({ "schedule_id": date.id, "seat_numbers": [case.number] });
            let ask = || user.row(Row::Reserve, "POST", "/v1/reservations").json(&body).key("hold");
            story(world, *case, &user, &date, ask).await;
        }
        // RELEASE_ON=hold: every entry token is spent, and the queue has heard of each.
        world.admin().until_completed(i64::try_from(cases.len()).unwrap()).await;
    });
}

#[test]
fn a_payment_is_whole_or_absent() {
    crashing(World::s1()).run(async |world| {
        let cases = Case::of("pay");
        for case in &cases {
            let user = newcomer(world, *case).await;
            let hold = user.reserve(world.date(), &[case.number]).await.ok(201).text("reservation_id");
            story(world, *case, &user, world.date(), || user.pay_call(&hold).key("pay")).await;
            assert_eq!(user.balance().await, 0);
        }
        world.admin().until_completed(i64::try_from(cases.len()).unwrap()).await;
    });
}

#[test]
fn a_refund_is_whole_or_absent() {
    crashing(World::s1()).run(async |world| {
        for case in Case::of("refund") {
            let user = newcomer(world, case).await;
            let hold = user.reserve(world.date(), &[case.number]).await.ok(201);
            let payment = user.pay(&hold).await.ok(201).text("payment_id");
            let path = format!("/v1/payments/{payment}/refund");
            let ask = || user.booking("POST", &path).key("refund");
            story(world, case, &user, world.date(), ask).await;
            assert_eq!(user.balance().await, PRICE);
        }
    });
}

#[test]
fn a_charge_and_a_use_are_whole_or_absent() {
    crashing(World::s1()).run(async |world| {
        for case in Case::of("points") {
            let user = world.user(&case.name());
            let charge = || user.points_call("charges", &json!({ "amount": 7 })).key("charge");
            story(world, case, &user, world.date(), charge).await;
            let take = || user.points_call("uses", &json!({ "amount": 3, "memo": "tea" })).key("use");
            story(world, case, &user, world.date(), take).await;
            assert_eq!(user.balance().await, 4);
        }
    });
}

#[test]
fn a_release_is_whole_or_absent() {
    crashing(World::s1()).run(async |world| {
        for case in Case::of("release") {
            let user = newcomer(world, case).await;
            let free = snap(world, &user, world.date()).await["seats"].clone();
            let hold = user.reserve(world.date(), &[case.number]).await.ok(201).text("reservation_id");
            let before = snap(world, &user, world.date()).await;
            let path = format!("/v1/reservations/{hold}");
            let ask = || user.booking("DELETE", &path);
            meet(world, case, ask).await;
            let then = snap(world, &user, world.date()).await;
            assert_eq!(then != before, case.is_committed(), "{case:?}: {then}");
            again(if case.is_committed() { 409 } else { 204 }, ask).await;
            assert_eq!(snap(world, &user, world.date()).await["seats"], free);
            user.reserve(world.date(), &[case.number]).await.ok(201);
        }
    });
}

#[test]
fn a_sweep_is_made_again() {
    crashing(World::s1()).booking_flags(&["--hold-ttl-seconds", "1"]).run(async |world| {
        for case in Case::of("sweep") {
            let user = newcomer(world, case).await;
            let hold = user.reserve(world.date(), &[case.number]).await.ok(201);
            case.arm(world);
            case.reached(world).await;
            within(SOON, "the seat is free", async || {
                let report = world.admin().report(world.date()).await.ok(200);
                if report["held"] == 0 { Ok(()) } else { Err(format!("{report:?}")) }
            })
            .await;
            user.pay(&hold).await.refused(410, "hold_expired");
            assert_eq!(world.admin().audit().await.ok(200)["ok"], true);
            user.reserve(world.date(), &[case.number]).await.ok(201);
            assert_eq!(user.balance().await, PRICE);
        }
    });
}

#[test]
fn a_completion_is_told_whatever_happens_to_who_tells_it() {
    crashing(World::s1()).run(async |world| {
        for case in Case::of("relay") {
            let user = newcomer(world, case).await;
            let hold = user.reserve(world.date(), &[case.number]).await.ok(201).text("reservation_id");
            case.arm(world);
            // The relay may end the process before the answer is out.
            drop(user.pay_call(&hold).key("pay").attempt().await);
            case.reached(world).await;
            again(201, || user.pay_call(&hold).key("pay")).await;
            within(SOON, &format!("{case:?}: it is told"), async || {
                let queue = world.admin().queue("main").await.ok(200);
                if queue["completed_total"] == case.number { Ok(()) } else { Err(format!("{queue:?}")) }
            })
            .await;
            assert_eq!(world.admin().audit().await.ok(200)["ok"], true);
        }
        assert_eq!(world.admin().number("active").await, 0);
    });
}

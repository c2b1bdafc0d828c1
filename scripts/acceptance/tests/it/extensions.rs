//! A hold that is extended, once, where the settings allow it. Issue 4; requirements 27, 29, 30 and 71 for
//! the later deadline.

use std::time::Duration;

use acceptance::{Answer, Builder, PRICE, SeatMap, Side, User, World, at_once, eventually};
use chrono::TimeDelta;
use serde_json::json;

fn with_extensions() -> Builder {
    World::s4().open_door().booking_flags(&["--hold-extension-seconds", "120"])
}

async fn inside<'w>(world: &'w World, name: &str) -> User<'w> {
    let person = world.user(name);
    person.take(world.entry_token(name, "main").await);
    person
}

#[test]
fn a_hold_is_extended_once_with_all_of_its_seats() {
    with_extensions().run(async |world| {
        let (ann, bob) = (inside(world, "ann").await, world.user("bob"));
        let hold = ann.reserve(world.date(), &[1, 2]).await.ok(201);
        assert_eq!(hold["extended"], false);
        world.advance_seconds(200);
        let longer = ann.extend(&hold).await.ok(200);
        assert_eq!(longer.time("expires_at") - hold.time("expires_at"), TimeDelta::seconds(120));
        assert!((215..=220).contains(&longer.int("remaining_seconds")), "{longer:?}");
        assert_eq!((&longer["extended"], &longer["status"]), (&json!(true), &json!("held")));
        for member in ["reservation_id", "schedule_id", "seats", "amount", "held_at", "payment_id"] {
            assert_eq!(longer[member], hold[member], "{member}");
        }
        let seen = ann.reservation(&hold).await.ok(200);
        assert_eq!((&seen["expires_at"], &seen["extended"]), (&longer["expires_at"], &json!(true)));
        let books = world.books(&[&ann, &bob]).await;
        ann.extend(&hold).await.refused(409, "already_extended");
        bob.extend(&hold).await.refused(404, "reservation_not_found");
        books.unchanged().await;
        // Past the first deadline it is as good as before it.
        world.advance_seconds(200);
        assert_eq!(world.seat_map(world.date()).await.held, [1, 2]);
        assert_eq!(world.admin().audit().await.ok(200)["ok"], true);
        inside(world, "bob").await.reserve(world.date(), &[2]).await.refused(409, "seat_taken");
        ann.extend(&hold).await.refused(409, "already_extended");
        world.advance_seconds(20);
        ann.extend(&hold).await.refused(410, "hold_expired");
        inside(world, "bob").await.reserve(world.date(), &[1, 2]).await.ok(201);
    });
}

#[test]
fn an_extended_hold_is_paid_or_let_go_like_any_other() {
    with_extensions().run(async |world| {
        let ann = inside(world, "ann").await;
        ann.charge(PRICE).await.ok(201);
        let (paid, left) =
            (ann.reserve(world.date(), &[1]).await.ok(201), ann.reserve(world.date(), &[2]).await.ok(201));
        for hold in [&paid, &left] {
            ann.extend(hold).await.ok(200);
        }
        world.advance_seconds(419);
        ann.pay(&paid).await.ok(201);
        ann.cancel(&left).await.ok(204);
        ann.extend(&paid).await.refused(409, "not_held");
        ann.extend(&left).await.refused(409, "not_held");
        let seen = ann.reservation(&paid).await.ok(200);
        assert_eq!((&seen["status"], &seen["extended"]), (&json!("confirmed"), &json!(true)));
        world.advance_seconds(120);
        let map: SeatMap = world.seat_map(world.date()).await;
        assert_eq!((map.sold, map.available.len()), (vec![1], 49));
    });
}

#[test]
fn an_extended_hold_ends_at_its_new_deadline_to_the_millisecond() {
    with_extensions().run(async |world| {
        let ann = inside(world, "ann").await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let longer = ann.extend(&hold).await.ok(200);
        let left = longer.time("expires_at") - world.booking_clock().now();
        world.advance(left.to_std().unwrap());
        let ann = inside(world, "ann").await;
        ann.pay(&hold).await.refused(410, "hold_expired");
        ann.cancel(&hold).await.refused(410, "hold_expired");
        ann.extend(&hold).await.refused(410, "hold_expired");
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "expired");
        assert_eq!(world.seat_map(world.date()).await.available.len(), 50);
    });
}

/// In the order of the refusals; the rows' own come before what the settings say
#[test]
fn without_the_setting_no_hold_is_extended() {
    World::s4().open_door().run(async |world| {
        let ann = inside(world, "ann").await;
        ann.charge(PRICE).await.ok(201);
        let mut holds = Vec::new();
        for seat in 1..=4 {
            holds.push(ann.reserve(world.date(), &[seat]).await.ok(201));
        }
        let path = |id: &str| format!("/v1/reservations/{id}/extend");
        world.call(Side::Booking, "POST", &path(&world.unknown_id())).await.refused(401, "unauthorized");
        for id in [world.unknown_id(), "x".to_owned()] {
            ann.booking("POST", &path(&id)).await.refused(404, "reservation_not_found");
        }
        ann.pay(&holds[0]).await.ok(201);
        ann.cancel(&holds[1]).await.ok(204);
        ann.extend(&holds[0]).await.refused(409, "not_held");
        ann.extend(&holds[1]).await.refused(409, "not_held");
        let books = world.books(&[&ann]).await;
        ann.extend(&holds[2]).await.refused(409, "extension_not_allowed");
        books.unchanged().await;
        world.advance_seconds(300);
        ann.extend(&holds[3]).await.refused(410, "hold_expired");
    });
}

/// The hold was made in time; nobody else can hold its seats any more
#[test]
fn a_hold_is_extended_also_after_the_sale_has_ended() {
    with_extensions().run(async |world| {
        let ann = inside(world, "ann").await;
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let closes = json!({ "sales_close_at": world.in_hours(-1) });
        world.admin().change_schedule(&world.date().id, &closes).await.ok(200);
        ann.reserve(world.date(), &[2]).await.refused(409, "sales_closed");
        ann.extend(&hold).await.ok(200);
    });
}

#[test]
fn of_twenty_extensions_at_once_one_is_made() {
    with_extensions().replicas(2).run(async |world| {
        let ann = inside(world, "ann").await;
        let hold = ann.reserve(world.date(), &[1, 2, 3]).await.ok(201);
        let answers = at_once((0..20).map(|_| ann.extend(&hold))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        for answer in answers.into_iter().filter(|answer| answer.status != 200) {
            answer.refused(409, "already_extended");
        }
        let seen = ann.reservation(&hold).await.ok(200);
        assert_eq!(seen.time("expires_at") - hold.time("expires_at"), TimeDelta::seconds(120));
    });
}

/// An extension, a payment and a cancellation of one hold at the same moment
#[test]
fn extending_paying_and_cancelling_at_once_leave_one_story() {
    with_extensions().replicas(2).run(async |world| {
        let date = world.add_date(world.concert(), 60).await;
        let ann = inside(world, "ann").await;
        ann.charge(60 * PRICE).await.ok(201);
        let mut holds = Vec::new();
        for seat in (1..=60).step_by(2) {
            holds.push(ann.reserve(&date, &[seat, seat + 1]).await.ok(201));
        }
        at_once(holds.iter().map(async |hold| {
            // Without an entry token of its own a payment would spend the one of the next hold.
            let person = world.user("ann");
            person.take(world.entry_token("ann", "main").await);
            let (extended, paid, cancelled) =
                tokio::join!(person.extend(hold), person.pay(hold), person.cancel(hold));
            one_story(&person, hold, &extended, &paid, &cancelled).await;
        }))
        .await;
        let sold = i64::try_from(ann.reservations("confirmed").await.len()).unwrap() * 2;
        let report = world.admin().report(&date).await.ok(200);
        assert_eq!((report.int("sold"), report.int("held")), (sold, 0));
        assert_eq!(ann.balance().await, (60 - sold) * PRICE);
    });
}

async fn one_story(person: &User<'_>, hold: &Answer, extended: &Answer, paid: &Answer, cancelled: &Answer) {
    let seen = person.reservation(hold).await.ok(200);
    assert_eq!(seen["extended"], extended.status == 200, "{seen:?} {extended:?}");
    if extended.status != 200 {
        assert_eq!(extended.outcome(), "409 not_held");
    }
    let (winner, loser) = if paid.status == 201 { ("confirmed", cancelled) } else { ("cancelled", paid) };
    assert_eq!(loser.outcome(), "409 not_held", "{paid:?} {cancelled:?}");
    assert_eq!(seen["status"], winner);
    assert!(paid.status == 201 || cancelled.status == 204);
}

/// Extensions around the deadline, on the real clock, with people who want the seats and the sweeper at work:
/// either the hold goes on with all its seats, or it has ended.
#[test]
fn an_extension_around_the_deadline_is_whole_or_refused() {
    const PAIRS: i64 = 24;
    const ROUNDS: i64 = 6;
    let flags = ["--hold-ttl-seconds", "1", "--hold-extension-seconds", "600"];
    World::s0().open_door().booking_flags(&flags).replicas(2).run(async |world| {
        let date = world.add_date(world.concert(), u32::try_from(2 * PAIRS * ROUNDS).unwrap()).await;
        let extended = at_once((0..PAIRS).map(async |number| {
            let (person, rival) =
                (inside(world, &format!("p{number}")).await, inside(world, &format!("r{number}")).await);
            let (mut extended, mut lead_ms) = (0, 20 + 2 * number);
            for round in 0..ROUNDS {
                let first = 2 * (number * ROUNDS + round) + 1;
                let hold = person.reserve(&date, &[first, first + 1]).await.ok(201);
                let lead = TimeDelta::milliseconds(lead_ms);
                let left = hold.time("expires_at") - lead - world.booking_clock().now();
                tokio::time::sleep(left.to_std().unwrap_or(Duration::ZERO)).await;
                let rivals = async {
                    eventually("the rival knows", async || {
                        let answer = rival.reserve(&date, &[first + 1]).await;
                        let seen = person.reservation(&hold).await.ok(200);
                        match (answer.status, seen["status"].as_str()) {
                            (201, _) => Ok(true),
                            (_, Some("held")) if seen["extended"] == true => Ok(false),
                            _ => Err(format!("{answer:?} {seen:?}")),
                        }
                    })
                    .await
                };
                let (answer, rival_has_it) = tokio::join!(person.extend(&hold), rivals);
                // Whoever was in time goes later, whoever was late goes earlier: all stay near the deadline.
                lead_ms += if answer.status == 200 { -15 } else { 15 };
                match answer.status {
                    200 => extended += 1,
                    _ => drop(answer.refused(410, "hold_expired")),
                }
                let seen = person.reservation(&hold).await.ok(200);
                let expected = if rival_has_it { "expired" } else { "held" };
                assert_eq!(seen["status"], expected, "{seen:?}");
            }
            extended
        }))
        .await;
        let extended: i64 = extended.iter().sum();
        let trials = PAIRS * ROUNDS;
        assert!((1..trials).contains(&extended), "{extended} of {trials}: the trials miss the deadline");
        eventually("only what was extended is held", async || {
            let held = world.admin().report(&date).await.ok(200).int("held");
            if held == 2 * extended { Ok(()) } else { Err(format!("{held}, not {}", 2 * extended)) }
        })
        .await;
    });
}

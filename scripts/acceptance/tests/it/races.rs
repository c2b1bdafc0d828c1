//! Many at the same moment. Requirements 30, 35, 37, 61, 66; others stand beside their requirement.

use std::time::Duration;

use acceptance::{PRICE, User, World, at_once, eventually, pause};
use serde_json::json;

/// 35, 66
#[test]
fn of_a_thousand_people_on_one_seat_one_gets_it() {
    World::s2().open_door().replicas(2).run(async |world| one_seat(world, 1000).await);
}

/// 61, 66
#[test]
fn of_two_hundred_people_on_one_seat_one_gets_it() {
    World::s4().open_door().replicas(2).run(async |world| one_seat(world, 200).await);
}

async fn one_seat(world: &World, count: usize) {
    let people = world.users("person", count);
    at_once(people.iter().map(User::enter)).await;
    let answers = at_once(people.iter().map(|person| person.reserve(world.date(), &[1]))).await;
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.refused(409, "seat_taken").ints("seat_numbers"), [1]);
    }
    assert_eq!(world.admin().report(world.date()).await.ok(200)["held"], 1);
}

/// 23, 66: people who want overlapping sets of seats
#[test]
fn overlapping_wishes_never_deadlock_and_never_split() {
    World::s4().open_door().replicas(2).run(async |world| {
        let people = world.users("person", 120);
        at_once(people.iter().map(User::enter)).await;
        let answers = at_once(people.iter().enumerate().map(async |(number, person)| {
            let first = i64::try_from(number % 10).unwrap() + 1;
            let mut wish = vec![first, first + 3, first + 1, first + 2];
            if number % 2 == 0 {
                wish.reverse();
            }
            (person.reserve(world.date(), &wish).await, wish)
        }))
        .await;
        let mut held = Vec::new();
        for (answer, mut wish) in answers {
            if answer.status == 201 {
                held.append(&mut wish);
            } else {
                let taken = answer.refused(409, "seat_taken").ints("seat_numbers");
                assert!(!taken.is_empty() && taken.iter().all(|seat| wish.contains(seat)), "{taken:?}");
            }
        }
        held.sort_unstable();
        assert!(held.windows(2).all(|pair| pair[0] != pair[1]), "a seat is held twice: {held:?}");
        eventually("the map agrees", async || {
            let map = world.seat_map(world.date()).await;
            if map.held == held { Ok(()) } else { Err(format!("{map:?}, not {held:?}")) }
        })
        .await;
    });
}

/// 37, 66
#[test]
fn twenty_payments_of_one_reservation_debit_once() {
    World::s2().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(30 * PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let answers = at_once((0..20).map(|_| ann.pay(&hold))).await;
        let paid = answers.iter().find(|answer| answer.status == 201).expect("one was carried out").clone();
        for answer in answers {
            match answer.status {
                201 => assert_eq!(answer.body, paid.body),
                _ => drop(answer.refused(409, "already_paid")),
            }
        }
        assert_eq!(ann.balance().await, 29 * PRICE);
        assert_eq!(ann.history().await.len(), 2);
    });
}

/// Two wallets' worth of wishes and one wallet
#[test]
fn payments_at_once_never_spend_a_point_twice() {
    World::s2().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(3 * PRICE).await.ok(201);
        let mut holds = Vec::new();
        for seat in 1..=8 {
            holds.push(ann.reserve(world.date(), &[seat]).await.ok(201));
        }
        let answers = at_once(holds.iter().map(|hold| ann.pay(hold))).await;
        let paid = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(paid, 3);
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.refused(402, "insufficient_points");
        }
        assert_eq!(ann.balance().await, 0);
        assert_eq!(ann.reservations("confirmed").await.len(), 3);
    });
}

/// A payment against a cancellation and against a refund of the same thing
#[test]
fn paying_and_cancelling_at_once_leave_one_winner() {
    World::s2().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(20 * PRICE).await.ok(201);
        let mut holds = Vec::new();
        for seat in 1..=20 {
            holds.push(ann.reserve(world.date(), &[seat]).await.ok(201));
        }
        let outcomes = at_once(holds.iter().map(async |hold| {
            let (paid, cancelled) = tokio::join!(ann.pay(hold), ann.cancel(hold));
            if paid.status == 201 {
                cancelled.refused(409, "not_held");
                true
            } else {
                paid.refused(409, "not_held");
                cancelled.ok(204);
                false
            }
        }))
        .await;
        let paid = i64::try_from(outcomes.iter().filter(|paid| **paid).count()).unwrap();
        assert_eq!(ann.balance().await, (20 - paid) * PRICE);
        let report = world.admin().report(world.date()).await.ok(200);
        assert_eq!((report.int("sold"), report.int("free")), (paid, 50 - paid));
    });
}

#[test]
fn refunds_at_once_pay_back_once() {
    World::s2().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        let answers = at_once((0..10).map(|_| ann.refund(&payment))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.refused(409, "already_refunded");
        }
        assert_eq!(ann.balance().await, PRICE);
    });
}

#[test]
fn a_spent_entry_token_holds_nothing_more_however_many_try_at_once() {
    World::s3().open_door().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let answers = at_once((1..=20).map(async |seat| ann.reserve(world.date(), &[seat]).await)).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.refused(401, "entry_token_completed");
        }
        assert_eq!(ann.reservations("held").await.len(), 1);
    });
}

/// A limit per person and schedule, against the same person on two devices
#[test]
fn the_limit_of_seats_per_person_holds_against_requests_at_once() {
    World::s4().open_door().replicas(2).run(async |world| {
        let limited = json!({ "seats": { "count": 50, "price": PRICE }, "max_seats_per_user": 3 });
        let date = world.add_date_with(world.concert(), limited).await;
        let ann = world.user("ann");
        ann.enter().await;
        let answers = at_once((1..=20).map(async |seat| ann.reserve(&date, &[seat]).await)).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 3);
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.refused(409, "seat_limit_reached");
        }
    });
}

/// 30, 68: a thousand payments around their deadlines, on the real clock, with holds of one second
#[test]
fn a_payment_around_its_deadline_is_whole_or_refused_and_never_undone() {
    const PEOPLE: usize = 100;
    const ROUNDS: i64 = 10;
    let world = World::s0().open_door().booking_flags(&["--hold-ttl-seconds", "1"]).replicas(2);
    world.run(async |world| {
        let seats = u32::try_from(PEOPLE).unwrap() * u32::try_from(ROUNDS).unwrap();
        let date = world.add_date(world.concert(), seats).await;
        let people = world.users("person", PEOPLE);
        at_once(people.iter().map(async |person| {
            person.take(world.entry_token(person.id(), "main").await);
            person.charge(ROUNDS * PRICE).await.ok(201);
        }))
        .await;
        let paid = at_once(people.iter().zip(0..).map(async |(person, number)| {
            // A fresh admission each round: the payment spends the one that made the hold.
            let (mut paid, mut lead) = (0, number % 80);
            for round in 0..ROUNDS {
                person.take(world.entry_token(person.id(), "main").await);
                let hold = person.reserve(&date, &[number * ROUNDS + round + 1]).await.ok(201);
                until(world, &hold, -lead).await;
                let answer = person.pay(&hold).await;
                // Whoever was in time goes later, whoever was late goes earlier, however busy the machine is.
                lead += if answer.status == 201 { -25 } else { 40 };
                match answer.status {
                    201 => paid += 1,
                    _ => drop(answer.refused(410, "hold_expired")),
                }
            }
            paid
        }))
        .await;
        world.advance_seconds(120); // time enough for every sweep that is due
        pause(1500).await;
        let total: i64 = paid.iter().sum();
        let report = world.admin().report(&date).await.ok(200);
        assert_eq!((report.int("sold"), report.int("held")), (total, 0));
        assert_eq!((report.int("revenue"), report.int("free")), (total * PRICE, 1000 - total));
        assert!((50..950).contains(&total), "{total} of 1000 were in time: the trials miss the deadline");
        for (person, paid) in people.iter().zip(paid) {
            assert_eq!(person.balance().await, (ROUNDS - paid) * PRICE);
            for (status, expected) in [("confirmed", paid), ("expired", ROUNDS - paid)] {
                let listed = person.reservations(status).await.len();
                assert_eq!(i64::try_from(listed).unwrap(), expected, "{status}");
            }
        }
    });
}

/// Until so many milliseconds after the deadline of `hold`; before it when negative.
async fn until(world: &World, hold: &acceptance::Answer, milliseconds: i64) {
    let left = (hold.time("expires_at") - world.booking_clock().now()).num_milliseconds() + milliseconds;
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
}

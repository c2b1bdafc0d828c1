//! Best available: a number of seats instead of their names. Issue 4; requirements 23, 35 and 61 for this form.

use std::collections::HashSet;

use acceptance::{Answer, Date, PRICE, Row, User, World, at_once};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

impl Wish for User<'_> {
    async fn wish(&self, date: &Date, rest: Value) -> Answer {
        self.reserve_json(&body(date, rest)).await
    }
}

trait Wish {
    async fn wish(&self, date: &Date, rest: Value) -> Answer;
}

fn body(date: &Date, rest: Value) -> Value {
    let mut body = json!({ "schedule_id": date.id });
    if let (Some(body), Value::Object(rest)) = (body.as_object_mut(), rest) {
        body.extend(rest);
    }
    body
}

#[track_caller]
fn numbers(hold: &Answer) -> Vec<i64> {
    hold.list("seats").iter().map(|seat| seat["number"].as_i64().unwrap()).collect()
}

/// Rows of ten in sections A and B, and a row of three.
async fn hall(world: &World) -> Date {
    let row = |section: &str, row: &str, from: i64, to: i64, price: i64| json!({ "section": section, "row": row, "from": from, "to": to, "price": price });
    let blocks = [row("A", "1", 1, 10, 700), row("A", "2", 11, 20, 500), row("B", "1", 21, 30, 300)];
    let last = row("C", "1", 101, 103, 100);
    let blocks: Vec<_> = blocks.into_iter().chain([last]).collect();
    world.add_date_with(world.concert(), json!({ "seats": { "blocks": blocks } })).await
}

async fn inside<'w>(world: &'w World, name: &str) -> User<'w> {
    let person = world.user(name);
    person.take(world.entry_token(name, "main").await);
    person
}

#[test]
fn whoever_names_a_number_gets_the_best_seats_side_by_side() {
    World::s4().run(async |world| {
        let (date, ann) = (hall(world).await, inside(world, "ann").await);
        let first = ann.wish(&date, json!({ "count": 3 })).await.ok(201);
        assert_eq!((numbers(&first), first.int("amount")), (vec![1, 2, 3], 2100));
        let again = ann.reservation(&first).await.ok(200);
        assert_eq!(again["seats"], first["seats"]);
        ann.reserve(&date, &[6]).await.ok(201);
        let four = ann.wish(&date, json!({ "count": 4, "together": true })).await.ok(201);
        assert_eq!(numbers(&four), [7, 8, 9, 10], "4 and 5 are too few");
        let four = ann.wish(&date, json!({ "count": 4, "together": false })).await.ok(201);
        assert_eq!((numbers(&four), four.int("amount")), (vec![4, 5, 11, 12], 2400));
        let in_b = ann.wish(&date, json!({ "count": 2, "section": "B" })).await.ok(201);
        assert_eq!(numbers(&in_b), [21, 22]);
        let one = ann.wish(&date, json!({ "count": 1, "seat_numbers": null })).await.ok(201);
        assert_eq!(numbers(&one), [13]);
        ann.cancel(&first).await.ok(204);
        assert_eq!(numbers(&ann.wish(&date, json!({ "count": 2 })).await.ok(201)), [1, 2]);
        world.advance_seconds(300);
        let ann = inside(world, "ann").await;
        let all_lapsed = ann.wish(&date, json!({ "count": 4 })).await.ok(201);
        assert_eq!(numbers(&all_lapsed), [1, 2, 3, 4], "a lapsed hold is free, swept or not");
    });
}

#[test]
fn what_is_not_there_is_refused_with_what_is_left() {
    World::s4().run(async |world| {
        let (date, ann) = (hall(world).await, inside(world, "ann").await);
        ann.reserve(&date, &[102]).await.ok(201);
        let books = world.books(&[&ann]).await;
        let gone = ann.wish(&date, json!({ "count": 2, "section": "C" })).await;
        let gone = gone.refused(409, "seats_unavailable");
        assert_eq!((gone.int("wanted"), gone.int("available"), &gone["together"]), (2, 2, &json!(true)));
        let gone = ann.wish(&date, json!({ "count": 3, "section": "C", "together": false })).await;
        let gone = gone.refused(409, "seats_unavailable");
        assert_eq!((gone.int("wanted"), gone.int("available"), &gone["together"]), (3, 2, &json!(false)));
        books.unchanged().await;
        let apart = ann.wish(&date, json!({ "count": 2, "section": "C", "together": false })).await.ok(201);
        assert_eq!(numbers(&apart), [101, 103]);
    });
}

#[test]
fn a_wish_of_the_wrong_shape_is_refused_by_field() {
    World::s4().run(async |world| {
        let (date, ann) = (hall(world).await, inside(world, "ann").await);
        for (rest, field) in [
            (json!({}), "seat_numbers"),
            (json!({ "together": true }), "seat_numbers"),
            (json!({ "count": 0 }), "count"),
            (json!({ "count": -2 }), "count"),
            (json!({ "count": 1.5 }), "count"),
            (json!({ "count": "2" }), "count"),
            (json!({ "count": true }), "count"),
            (json!({ "count": u64::MAX }), "count"),
            (json!({ "count": 2, "seat_numbers": [1, 2] }), "count"),
            (json!({ "section": "A", "seat_numbers": [1, 2] }), "section"),
            (json!({ "together": false, "seat_numbers": [1, 2] }), "together"),
            (json!({ "count": 2, "together": "yes" }), "together"),
            (json!({ "count": 2, "section": 7 }), "section"),
            (json!({ "count": 2, "section": "" }), "section"),
            (json!({ "count": 2, "section": "D" }), "section"),
            (json!({ "count": 2, "section": "a" }), "section"),
            (json!({ "count": 2, "section": "\u{0}" }), "section"),
            (json!({ "count": 2, "section": "A".repeat(41) }), "section"),
        ] {
            let refusal = ann.wish(&date, rest.clone()).await.refused(422, "invalid_request");
            assert_eq!(refusal["errors"][0]["field"], field, "{rest}: {refusal:?}");
        }
    });
}

/// Everything is wrong at once; each mend uncovers the next refusal of the contract's order.
#[test]
fn the_first_refusal_is_the_contracts_here_too() {
    World::s4().run(async |world| {
        let ann = inside(world, "ann").await;
        let date_with = async |changes: Value| world.add_date_with(world.concert(), changes).await;
        let seats = json!({ "blocks": [{ "section": "A", "row": "1", "from": 1, "to": 1, "price": 5 }] });
        let too_early = world.in_hours(5);
        let nowhere = Date { id: world.unknown_id(), concert: world.concert().clone() };
        let bare = date_with(json!({ "sales_open_at": too_early })).await;
        let closed = date_with(json!({ "sales_open_at": too_early, "seats": seats })).await;
        let limited = date_with(json!({ "seats": seats, "max_seats_per_user": 1 })).await;
        let small = date_with(json!({ "seats": seats })).await;
        let wish = async |date: &Date, count: u64, section: &str| {
            ann.wish(date, json!({ "count": count, "section": section })).await
        };
        wish(&nowhere, 5, "Z").await.refused(404, "schedule_not_found");
        wish(&bare, 5, "Z").await.refused(409, "seats_not_ready");
        wish(&closed, 5, "Z").await.refused(409, "sales_closed");
        wish(&limited, 5, "Z").await.refused(422, "invalid_request");
        let too_many = wish(&limited, 5, "A").await.refused(422, "too_many_seats");
        assert_eq!(too_many["max"], 4);
        wish(&limited, i64::MAX.cast_unsigned(), "A").await.refused(422, "too_many_seats");
        wish(&limited, 2, "A").await.refused(409, "seat_limit_reached");
        wish(&small, 2, "A").await.refused(409, "seats_unavailable");
        wish(&small, 1, "A").await.ok(201);
        wish(&small, 1, "A").await.refused(409, "seats_unavailable");
    });
}

#[test]
fn a_replay_gives_the_same_seats() {
    World::s4().replicas(2).run(async |world| {
        let (date, ann) = (hall(world).await, inside(world, "ann").await);
        let send = async |count: i64| {
            let call = ann.row(Row::Reserve, "POST", "/v1/reservations").key("two");
            call.json(&body(&date, json!({ "count": count }))).await
        };
        let first = send(2).await.ok(201);
        let bob = inside(world, "bob").await;
        bob.wish(&date, json!({ "count": 2 })).await.ok(201);
        for _ in 0..3 {
            assert_eq!(send(2).await.ok(201).text, first.text);
        }
        send(3).await.refused(422, "idempotency_key_reused");
        assert_eq!(ann.reservations("held").await.len(), 1);
    });
}

/// The last two seats, one key, many times at once: the same two seats or `in flight`, never `unavailable`.
#[test]
fn a_replay_at_the_same_moment_is_never_told_that_its_own_seats_are_gone() {
    World::s4().replicas(2).run(async |world| {
        let (date, ann) = (world.add_date(world.concert(), 2).await, inside(world, "ann").await);
        let answers = at_once((0..20).map(async |_| {
            let call = ann.row(Row::Reserve, "POST", "/v1/reservations").key("last");
            call.json(&body(&date, json!({ "count": 2 }))).await
        }))
        .await;
        assert!(answers.iter().any(|answer| answer.status == 201));
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.refused(409, "idempotency_in_flight");
        }
        assert_eq!(ann.reservations("").await.len(), 1);
    });
}

#[test]
fn of_two_hundred_people_who_want_two_together_fifty_get_them() {
    World::s4().open_door().run(pairs_in_a_hall_of_a_hundred);
}

#[test]
fn of_two_hundred_people_who_want_two_together_fifty_get_them_on_two_replicas() {
    World::s4().open_door().replicas(2).run(pairs_in_a_hall_of_a_hundred);
}

async fn pairs_in_a_hall_of_a_hundred(world: &World) {
    let date = world.add_date(world.concert(), 100).await;
    let people = world.users("person", 200);
    at_once(people.iter().map(async |person| person.take(world.entry_token(person.id(), "main").await)))
        .await;
    // The client waits for fifteen seconds at the most.
    let answers = at_once(people.iter().map(|person| person.wish(&date, json!({ "count": 2 })))).await;
    let mut held = HashSet::new();
    for answer in answers {
        if answer.status == 201 {
            let pair = numbers(&answer);
            assert!(pair.len() == 2 && pair[0] + 1 == pair[1], "not side by side: {answer:?}");
            assert!(pair.iter().all(|number| held.insert(*number)), "held twice: {answer:?}");
        } else {
            let refusal = answer.refused(409, "seats_unavailable");
            assert_eq!(refusal["available"], 0, "{refusal:?}");
        }
    }
    assert_eq!(held.len(), 100);
    assert_eq!(world.admin().report(&date).await.ok(200)["held"], 100);
}

/// Those who name seats and those who do not, and people who let go, in each other's way.
#[test]
fn a_mixed_crowd_fills_the_hall_without_holding_a_seat_twice() {
    World::s4().open_door().replicas(2).run(async |world| {
        let date = hall(world).await;
        let people = world.users("person", 60);
        at_once(people.iter().map(async |person| person.take(world.entry_token(person.id(), "main").await)))
            .await;
        at_once(people.iter().zip(0_i64..).map(async |(person, number)| {
            let answer = match number % 4 {
                0 => person.reserve(&date, &[number / 2 % 29 + 1, number / 2 % 29 + 2]).await,
                1 => person.wish(&date, json!({ "count": 3 })).await,
                2 => person.wish(&date, json!({ "count": 4, "together": false })).await,
                _ => person.wish(&date, json!({ "count": 1, "section": "B" })).await,
            };
            match answer.status {
                201 if number % 5 == 0 => drop(person.cancel(&answer).await.ok(204)),
                201 => {}
                _ => assert!(
                    ["409 seat_taken", "409 seats_unavailable"].contains(&answer.outcome().as_str()),
                    "{answer:?}"
                ),
            }
        }))
        .await;
        let last = inside(world, "last").await;
        while last.wish(&date, json!({ "count": 1 })).await.status == 201 {}
        let report = world.admin().report(&date).await.ok(200);
        assert_eq!((report.int("held"), report.int("free")), (33, 0));
        let mut seats: Vec<i64> = Vec::new();
        for person in people.iter().chain([&last]) {
            let held = person.reservations("held").await;
            let of = |item: &Value| item["seats"].as_array().unwrap().clone();
            seats.extend(held.iter().flat_map(of).map(|seat| seat["number"].as_i64().unwrap()));
        }
        seats.sort_unstable();
        let all: Vec<i64> = (1..=30).chain(101..=103).collect();
        assert_eq!(seats, all);
    });
}

/// A limit per person holds for the seats we choose as for those that are named
#[test]
fn the_limit_per_person_holds_for_seats_we_choose() {
    World::s4().open_door().replicas(2).run(async |world| {
        let limited = json!({ "seats": { "count": 50, "price": PRICE }, "max_seats_per_user": 4 });
        let date = world.add_date_with(world.concert(), limited).await;
        let ann = inside(world, "ann").await;
        let answers = at_once((0..20).map(|_| ann.wish(&date, json!({ "count": 2 })))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2);
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.refused(409, "seat_limit_reached");
        }
    });
}

/// All seats of a range but those that are to be left, in holds as large as they may be.
async fn hold_all(user: &User<'_>, date: &Date, numbers: impl Iterator<Item = i64>) {
    for part in numbers.collect::<Vec<_>>().chunks(1000) {
        user.reserve(date, part).await.ok(201);
    }
}

/// A hall is read in pieces: what is free lies behind all of them, or across the border of two.
#[test]
fn the_last_seats_of_a_large_hall_are_found() {
    World::s4().open_door().booking_flags(&["--max-seats-per-reservation", "1000"]).run(async |world| {
        let date = world.add_date(world.concert(), 5000).await;
        let (ann, bob) = (inside(world, "ann").await, inside(world, "bob").await);
        hold_all(&ann, &date, (1..=4000).filter(|number| number % 2 == 0)).await;
        hold_all(&ann, &date, (4000..4996).filter(|number| number % 2 == 1)).await;
        let wish = async |count: u64, together: bool| {
            bob.wish(&date, json!({ "count": count, "together": together })).await
        };
        // Odd numbers up to 3999, then even ones; 4994 is single, 4996 to 5000 are side by side.
        assert_eq!(numbers(&wish(3, true).await.ok(201)), [4996, 4997, 4998]);
        assert_eq!(numbers(&wish(2, true).await.ok(201)), [4999, 5000]);
        let gone = wish(2, true).await.refused(409, "seats_unavailable");
        assert_eq!(gone.int("available"), 2497);
        let apart = wish(1000, false).await.ok(201);
        assert_eq!(numbers(&apart), (0..1000).map(|n| 2 * n + 1).collect::<Vec<_>>());
        hold_all(&ann, &date, (2001..4000).step_by(2).chain((4002..4994).step_by(2))).await;
        assert_eq!(numbers(&wish(1, true).await.ok(201)), [4994]);
        assert_eq!(wish(1, true).await.refused(409, "seats_unavailable").int("available"), 0);
    });
}

#[test]
fn seats_side_by_side_are_found_wherever_a_piece_ends() {
    World::s4().open_door().booking_flags(&["--max-seats-per-reservation", "1000"]).run(async |world| {
        let (ann, bob) = (inside(world, "ann").await, inside(world, "bob").await);
        // So many single seats come first that the pair is the last of a piece, across its end, behind it.
        for before in [126_u32, 127, 128, 638, 639, 640] {
            let date = world.add_date(world.concert(), 2 * before + 2).await;
            let before = i64::from(before);
            hold_all(&ann, &date, (1..=2 * before).filter(|number| number % 2 == 0)).await;
            let pair = bob.wish(&date, json!({ "count": 2 })).await.ok(201);
            assert_eq!(numbers(&pair), [2 * before + 1, 2 * before + 2]);
        }
    });
}

/// Who could write would wait for the table, until the client loses patience.
#[test]
fn whoever_comes_too_late_to_a_limited_date_is_refused_without_a_write() {
    World::s4().open_door().run(async |world| {
        let limited = json!({ "seats": { "count": 3, "price": PRICE }, "max_seats_per_user": 3 });
        let date = world.add_date_with(world.concert(), limited).await;
        let (ann, bob) = (inside(world, "ann").await, inside(world, "bob").await);
        ann.wish(&date, json!({ "count": 2 })).await.ok(201);
        let mut conn = PgConnection::connect(world.database_url()).await.unwrap();
        let mut tx = conn.begin().await.unwrap();
        sqlx::query("lock table buyers in share mode").execute(&mut *tx).await.unwrap();
        let gone = bob.wish(&date, json!({ "count": 2 })).await.refused(409, "seats_unavailable");
        assert_eq!(gone.int("available"), 1);
        ann.wish(&date, json!({ "count": 2 })).await.refused(409, "seat_limit_reached");
        tx.rollback().await.unwrap();
        bob.wish(&date, json!({ "count": 1 })).await.ok(201);
    });
}

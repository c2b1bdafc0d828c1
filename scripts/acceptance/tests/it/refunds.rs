//! Refunds seat by seat, and the races of payments and refunds, 200 trials each on two replicas. The books
//! are audited after each test. What is not here: a payment against its deadline and the sweep (`races`),
//! against the cancellation of its date (`cancellations`).

use std::collections::BTreeSet;
use std::rc::Rc;

use acceptance::{Answer, Date, PRICE, User, World, at_once, is_uuid_v7};
use serde_json::{Value, json};

const TRIALS: i64 = 200;
/// Many, so that they do not all wait for one account.
const PEOPLE: usize = 20;

/// Somebody inside with points, who has paid these seats.
async fn paid<'w>(world: &'w World, name: &str, seats: &[i64]) -> (User<'w>, Answer, Answer) {
    let person = world.user(name);
    person.enter().await;
    person.charge(10 * PRICE).await.ok(201);
    let hold = person.reserve(world.date(), seats).await.ok(201);
    let payment = person.pay(&hold).await.ok(201);
    (person, hold, payment)
}

#[test]
fn seats_are_given_back_one_by_one_until_none_is_left() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (ann, hold, payment) = paid(world, "ann", &[1, 2, 3]).await;
        let first = ann.refund_seats(&payment, &[2]).await.ok(201);
        assert!(is_uuid_v7(&first["refund_id"]), "{first:?}");
        assert_eq!(first["payment_id"], payment["payment_id"]);
        assert_eq!((first.int("amount"), first.int("balance_after")), (PRICE, 8 * PRICE));
        assert_eq!(first.ints("seat_numbers"), [2]);
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "confirmed");
        let receipt = ann.receipt(&payment).await.ok(200);
        assert_eq!(receipt["seats"], payment["seats"], "the receipt tells what was paid");
        assert_eq!((receipt.int("amount"), receipt.int("refunded_amount")), (3 * PRICE, PRICE));
        assert!(receipt["refund_id"].is_null() && receipt["refunded_at"].is_null(), "{receipt:?}");
        let map = world.seat_map(world.date()).await;
        assert_eq!((map.sold, map.available.len()), (vec![1, 3], 48));
        let report = world.admin().report(world.date()).await.ok(200);
        assert_eq!((report.int("sold"), report.int("revenue")), (2, 2 * PRICE));
        ann.enter().await;
        ann.pay(&hold).await.refused(409, "already_paid");

        // Without a body, and with an empty one: all that are left.
        let path = format!("/v1/payments/{}/refund", payment.text("payment_id"));
        let last = ann.booking("POST", &path).json(&json!({})).await.ok(201);
        assert_eq!((last.ints("seat_numbers"), last.int("amount")), (vec![1, 3], 2 * PRICE));
        assert_eq!(last.int("balance_after"), 10 * PRICE);
        assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "refunded");
        let receipt = ann.receipt(&payment).await.ok(200);
        assert_eq!(
            (&receipt["refund_id"], &receipt["refunded_at"]),
            (&last["refund_id"], &last["refunded_at"])
        );
        assert_eq!(receipt.int("refunded_amount"), 3 * PRICE);
        let listed: Vec<_> = receipt.list("refunds").iter().map(line).collect();
        assert_eq!(listed, [line(&first.body), line(&last.body)]);
        let ledger: Vec<_> = ann.history().await.iter().map(entry).collect();
        let id = payment.text("payment_id");
        let expected = [("refund", 2), ("refund", 1), ("payment", -3)]
            .map(|(kind, n)| (kind.into(), n * PRICE, id.clone()));
        assert_eq!(ledger[..3], expected);
    });
}

fn line(refund: &Value) -> (Value, Value, Value, Value) {
    let member = |name: &str| refund[name].clone();
    (member("refund_id"), member("amount"), member("seat_numbers"), member("refunded_at"))
}

fn entry(row: &Value) -> (String, i64, String) {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    (text("kind"), row["amount"].as_i64().unwrap(), text("payment_id"))
}

#[test]
fn the_refusals_of_a_refund_come_in_their_order_and_change_nothing() {
    World::s2().open_door().run(async |world| {
        let (ann, _, payment) = paid(world, "ann", &[1, 2, 3]).await;
        let bob = world.user("bob");
        ann.refund_seats(&payment, &[3]).await.ok(201);
        world.admin().until_completed(1).await;
        let books = world.books(&[&ann, &bob]).await;
        // Whoever's it is not hears nothing of its seats, nor of the body's shape.
        bob.refund_seats(&payment, &[]).await.refused(404, "payment_not_found");
        for bad in [json!([]), json!([1, 1]), json!("1"), json!([1.5]), json!([null])] {
            let path = format!("/v1/payments/{}/refund", payment.text("payment_id"));
            let call = ann.booking("POST", &path).json(&json!({ "seat_numbers": bad }));
            call.await.refused(422, "invalid_request");
        }
        let unknown = ann.refund_seats(&payment, &[3, 4, i64::MAX]).await.refused(422, "unknown_seat");
        assert_eq!(unknown.ints("seat_numbers"), [4, i64::MAX]);
        let again = ann.refund_seats(&payment, &[1, 3]).await.refused(409, "already_refunded");
        assert_eq!(again.ints("seat_numbers"), [3]);
        books.unchanged().await;
        ann.refund_seats(&payment, &[1]).await.ok(201);
        world.advance_seconds(30 * 24 * 3600);
        ann.refund_seats(&payment, &[9]).await.refused(422, "unknown_seat");
        ann.refund_seats(&payment, &[1, 2]).await.refused(409, "already_refunded");
        ann.refund_seats(&payment, &[2]).await.refused(409, "show_started");
        ann.refund(&payment).await.refused(409, "show_started");
        assert_eq!(ann.balance().await, 9 * PRICE);
    });
}

/// The seats that were given back count no more against the limit per person.
#[test]
fn a_seat_that_was_given_back_may_be_bought_by_anybody() {
    World::s2().open_door().run(async |world| {
        let limited = json!({ "seats": { "count": 9, "price": PRICE }, "max_seats_per_user": 3 });
        let date = world.add_date_with(world.concert(), limited).await;
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        for person in [&ann, &bob] {
            person.enter().await;
            person.charge(10 * PRICE).await.ok(201);
        }
        let hold = ann.reserve(&date, &[1, 2, 3]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        ann.refund_seats(&payment, &[2]).await.ok(201);
        let taken = bob.reserve(&date, &[2]).await.ok(201);
        let bobs = bob.pay(&taken).await.ok(201);
        ann.take(world.entry_token("ann", "main").await);
        ann.reserve(&date, &[4, 5]).await.refused(409, "seat_limit_reached");
        ann.reserve(&date, &[4]).await.ok(201);
        // The next owner's ticket is nobody else's.
        ann.refund_seats(&payment, &[2]).await.refused(409, "already_refunded");
        ann.refund(&payment).await.ok(201);
        assert_eq!(world.seat_map(&date).await.sold, [2]);
        bob.refund(&bobs).await.ok(201);
    });
}

#[test]
fn a_key_replays_its_own_refund_and_no_other() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (ann, _, payment) = paid(world, "ann", &[1, 2, 3]).await;
        let refund = |seats: &[i64], key: &str| ann.refund_seats(&payment, seats).key(key).into_future();
        let one = refund(&[1], "one").await.ok(201);
        let two = refund(&[2], "two").await.ok(201);
        for _ in 0..4 {
            assert_eq!(refund(&[1], "one").await.ok(201).body, one.body);
            assert_eq!(refund(&[2], "two").await.ok(201).body, two.body);
        }
        refund(&[3], "one").await.refused(422, "idempotency_key_reused");
        refund(&[1], "three").await.refused(409, "already_refunded");
        // A refusal is not remembered, and a key is scoped to the path: another payment's is another.
        refund(&[3], "three").await.ok(201);
        let (ann, _, other) = paid(world, "ann", &[4]).await;
        ann.refund_seats(&other, &[4]).key("one").await.ok(201);
        assert_eq!(ann.balance().await, 20 * PRICE);
    });
}

/// One of the [`TRIALS`]: whose it is, and the hold or the payment.
type Trial<'w> = (Rc<User<'w>>, Answer);

/// People with the points and the holds for all trials, of `size` seats each, on a date of their own.
async fn holds(world: &World, size: i64) -> (Vec<Rc<User<'_>>>, Date, Vec<Trial<'_>>) {
    let date = world.add_date(world.concert(), u32::try_from(TRIALS * size).unwrap()).await;
    let people: Vec<_> = world.users("person", PEOPLE).into_iter().map(Rc::new).collect();
    at_once(people.iter().map(async |person| {
        person.enter().await;
        person.charge(each() * size * PRICE).await.ok(201);
    }))
    .await;
    let seats: Vec<_> = (0..TRIALS).map(|n| (n * size + 1..=(n + 1) * size).collect::<Vec<_>>()).collect();
    let owned: Vec<_> = people.iter().cycle().zip(seats).collect();
    let holds = in_waves(&owned, async |(owner, seats)| {
        (Rc::clone(owner), owner.reserve(&date, seats).await.ok(201))
    })
    .await;
    (people, date, holds)
}

/// The same, paid.
async fn payments(world: &World, size: i64) -> (Vec<Rc<User<'_>>>, Date, Vec<Trial<'_>>) {
    let (people, date, holds) = holds(world, size).await;
    let payments =
        in_waves(&holds, async |(owner, hold)| (Rc::clone(owner), owner.pay(hold).await.ok(201))).await;
    (people, date, payments)
}

/// How many trials each person has.
fn each() -> i64 {
    TRIALS / i64::try_from(PEOPLE).unwrap()
}

/// Not all trials at once: what races is inside of one.
async fn in_waves<T, O>(trials: &[T], run: impl AsyncFn(&T) -> O) -> Vec<O> {
    let mut outcomes = Vec::new();
    for wave in trials.chunks(PEOPLE) {
        outcomes.extend(at_once(wave.iter().map(async |trial| run(trial).await)).await);
    }
    outcomes
}

async fn balances(people: &[Rc<User<'_>>]) -> i64 {
    let mut sum = 0;
    for person in people {
        sum += person.balance().await;
    }
    sum
}

fn seats_of(payment: &Answer) -> Vec<i64> {
    payment.list("seats").iter().map(|seat| seat["number"].as_i64().unwrap()).collect()
}

#[test]
fn two_payments_of_a_hold_leave_one() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (people, date, holds) = holds(world, 1).await;
        in_waves(&holds, async |(owner, hold)| {
            let (one, two) = tokio::join!(owner.pay(hold), owner.pay(hold));
            let (paid, refused) = if one.status == 201 { (one, two) } else { (two, one) };
            let refused = refused.refused(409, "already_paid");
            assert_eq!(refused["payment_id"], paid.ok(201)["payment_id"]);
        })
        .await;
        assert_eq!(balances(&people).await, 0);
        assert_eq!(world.admin().report(&date).await.ok(200)["revenue"], TRIALS * PRICE);
    });
}

#[test]
fn a_payment_and_a_release_leave_one_winner() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (people, date, holds) = holds(world, 1).await;
        let paid = in_waves(&holds, async |(owner, hold)| {
            let (paid, released) = tokio::join!(owner.pay(hold), owner.cancel(hold));
            if paid.status == 201 {
                released.refused(409, "not_held");
                return 1;
            }
            paid.refused(409, "not_held");
            released.ok(204);
            0
        })
        .await;
        let paid: i64 = paid.iter().sum();
        assert_eq!(balances(&people).await, (TRIALS - paid) * PRICE);
        let report = world.admin().report(&date).await.ok(200);
        assert_eq!((report.int("sold"), report.int("free")), (paid, TRIALS - paid));
    });
}

/// [1, 2] against [2, 3] against all, of three: no seat comes back twice, whoever is first.
#[test]
fn refunds_of_overlapping_seats_pay_each_seat_back_once() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (people, date, payments) = payments(world, 3).await;
        let returned = in_waves(&payments, async |(owner, payment)| {
            let seats = seats_of(payment);
            let (low, high, all) = tokio::join!(
                owner.refund_seats(payment, &seats[..2]).into_future(),
                owner.refund_seats(payment, &seats[1..]).into_future(),
                owner.refund(payment),
            );
            let mut returned = Vec::new();
            for answer in [low, high, all] {
                if answer.status == 201 {
                    let numbers = answer.ints("seat_numbers");
                    assert_eq!(answer.int("amount"), i64::try_from(numbers.len()).unwrap() * PRICE);
                    returned.extend(numbers);
                } else {
                    let given = answer.refused(409, "already_refunded").ints("seat_numbers");
                    assert!(!given.is_empty() && given.iter().all(|seat| seats.contains(seat)), "{given:?}");
                }
            }
            let distinct: BTreeSet<_> = returned.iter().collect();
            assert_eq!(distinct.len(), returned.len(), "given back twice: {returned:?}");
            returned.len()
        })
        .await;
        // All comes through for at least one seat, whoever was first; so nothing is left.
        assert_eq!(returned, vec![3; payments.len()]);
        assert_eq!(balances(&people).await, 3 * TRIALS * PRICE);
        assert_eq!(world.admin().report(&date).await.ok(200)["free"], 3 * TRIALS);
    });
}

/// Each of two seats twice at once, with a key: two refunds, and their answers for the retries.
#[test]
fn refunds_of_different_seats_all_come_through_and_retries_do_nothing() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (people, _, payments) = payments(world, 2).await;
        in_waves(&payments, async |(owner, payment)| {
            let seats = seats_of(payment);
            let call =
                |seat: usize| owner.refund_seats(payment, &seats[seat..=seat]).key(&format!("seat-{seat}"));
            let answers = at_once([0, 1, 0, 1].map(|seat| call(seat).into_future())).await;
            for (seat, answer) in [0, 1, 0, 1].into_iter().zip(answers) {
                match answer.status {
                    201 => assert_eq!(answer.ints("seat_numbers"), [seats[seat]]),
                    _ => drop(answer.refused(409, "idempotency_in_flight")),
                }
            }
            for seat in [0, 1] {
                assert_eq!(call(seat).await.ok(201).ints("seat_numbers"), [seats[seat]]);
            }
        })
        .await;
        assert_eq!(balances(&people).await, 2 * TRIALS * PRICE);
    });
}

/// The next buyer gets the seat with the refund or not at all, and keeps it.
#[test]
fn a_refund_and_the_next_buyer_of_the_seat_do_not_meet() {
    World::s2().open_door().replicas(2).run(async |world| {
        let (people, date, payments) = payments(world, 2).await;
        let bob = world.user("bob");
        bob.enter().await;
        bob.charge(TRIALS * PRICE).await.ok(201);
        let held = in_waves(&payments, async |(owner, payment)| {
            let seat = [seats_of(payment)[0]];
            let refund = owner.refund_seats(payment, &seat).into_future();
            let (refund, hold) = tokio::join!(refund, bob.reserve(&date, &seat));
            refund.ok(201);
            if hold.status == 201 {
                return Some(hold);
            }
            hold.refused(409, "seat_taken");
            None
        })
        .await;
        let held: Vec<_> = held.into_iter().flatten().collect();
        in_waves(&held, async |hold| bob.pay(hold).await.ok(201)).await;
        let count = i64::try_from(held.len()).unwrap();
        assert_eq!(balances(&people).await, TRIALS * PRICE);
        assert_eq!(bob.balance().await, (TRIALS - count) * PRICE);
        assert_eq!(world.admin().report(&date).await.ok(200)["sold"], TRIALS + count);
    });
}

//! What is left to buy: counted by the booking service, told to people in line, and the end of a queue
//! that has nothing left to sell.

use std::time::Duration;

use acceptance::{Answer, Date, PRICE, Side, User, World, pause, within};
use serde_json::{Value, json};

/// Counted at most once a second and told at once; the machine may be busy.
const SOON: Duration = Duration::from_secs(4);

fn settings() -> Value {
    json!({ "instant_admission": false, "waiting_ttl_seconds": 0, "claim_window_seconds": 3000, "max_active": 1 })
}

/// Somebody who can buy without a slot.
async fn buyer<'w>(world: &'w World, name: &str, queue: &str) -> User<'w> {
    let buyer = world.user(name);
    buyer.take(world.entry_token(name, queue).await);
    buyer.charge(10 * PRICE).await.ok(201);
    buyer
}

/// Waits until every replica tells who polls, and everybody, that so many are left.
async fn until_left(world: &World, person: &User<'_>, queue: &str, expected: &Value) {
    for replica in [0, 1] {
        within(SOON, &format!("{expected} are left"), async || {
            let poll = world.get(Side::Queue, &person.me("")).bearer(&person.queue_token()).on(replica);
            let (poll, page) = (poll.await.ok(200), page(world, queue).on(replica).await.ok(200));
            let told = poll["remaining"] == *expected && page["remaining"] == *expected;
            if told { Ok(()) } else { Err(format!("{poll:?} {page:?}")) }
        })
        .await;
    }
}

fn page<'w>(world: &'w World, queue: &str) -> acceptance::Call<'w> {
    world.get(Side::Queue, &format!("/v1/queues/{queue}"))
}

#[test]
fn people_in_line_are_told_what_is_left_as_seats_change_hands() {
    World::s1().queue(settings()).paused().replicas(2).run(async |world| {
        let ann = buyer(world, "ann", "main").await;
        let bob = world.user("bob");
        bob.join().await.ok(201);
        let left = async |expected: i64| until_left(world, &bob, "main", &json!(expected)).await;
        left(50).await;
        let hold = ann.reserve(world.date(), &[1, 2, 3]).await.ok(201);
        left(47).await;
        ann.cancel(&hold).await.ok(204);
        left(50).await;
        let hold = ann.reserve(world.date(), &[4, 5]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        left(48).await;
        ann.refund(&payment).await.ok(201);
        left(50).await;
        let carl = buyer(world, "carl", "main").await;
        carl.reserve(world.date(), &[7]).await.ok(201);
        left(49).await;
        world.advance_seconds(301);
        left(50).await;
        // Seats of another date of the queue count as well, those of another queue do not.
        world.add_date(world.concert(), 7).await;
        world.admin().put_queue("other", &settings()).await.ok(201);
        world.add_date(&world.add_concert("Other", "other").await, 9).await;
        left(57).await;
        let report = world.admin().queue("main").await.ok(200);
        assert_eq!((&report["remaining"], &report["sold_out"]), (&json!(57), &json!(false)));
    });
}

/// A queue whose concert has two seats, one person inside, one in line.
struct Small<'w> {
    world: &'w World,
    date: Date,
    inside: User<'w>,
    waiting: User<'w>,
}

impl<'w> Small<'w> {
    async fn open(world: &'w World, settings: &Value) -> Self {
        world.admin().put_queue("small", settings).await.ok(201);
        let date = world.add_date(&world.add_concert("Small", "small").await, 2).await;
        let (inside, waiting) = (world.user("inside").at("small"), world.user("waiting").at("small"));
        inside.enter().await;
        assert_eq!(waiting.join().await.ok(201)["position"], 1);
        Self { world, date, inside, waiting }
    }

    async fn until(&self, remaining: i64, sold_out: bool) -> Answer {
        let expected = (json!(remaining), json!(sold_out));
        within(SOON, &format!("{expected:?} is told"), async || {
            let report = self.world.admin().queue("small").await.ok(200);
            let page = page(self.world, "small").await.ok(200);
            let told = [&report, &page].map(|told| (told["remaining"].clone(), told["sold_out"].clone()));
            if told.iter().all(|told| *told == expected) { Ok(report) } else { Err(format!("{told:?}")) }
        })
        .await
    }

    async fn sell_out(&self) -> (User<'w>, Answer) {
        let buyer = buyer(self.world, "buyer", "small").await;
        let hold = buyer.reserve(&self.date, &[1, 2]).await.ok(201);
        // Held is not sold: it may come back.
        assert_eq!(self.until(0, false).await["state"], "open");
        let payment = buyer.pay(&hold).await.ok(201);
        (buyer, payment)
    }
}

/// Nobody waits for an answer of whoever closed it: what is polled is a moment old.
async fn until_sent_away(person: &User<'_>) {
    within(Duration::from_secs(1), "the line is sent away", async || {
        let poll = person.poll().await;
        if poll.outcome() == "410 queue_closed" { Ok(()) } else { Err(format!("{poll:?}")) }
    })
    .await;
}

#[test]
fn a_queue_closes_when_all_is_sold_and_an_operator_can_open_it_again() {
    let mut settings = settings();
    settings["close_when_sold_out"] = json!(true);
    World::s1().replicas(2).run(async |world| {
        let small = Small::open(world, &settings).await;
        let claims = small.inside.claims();
        let (buyer, payment) = small.sell_out().await;
        assert_eq!(small.until(0, true).await["state"], "closed");
        until_sent_away(&small.waiting).await;
        world.user("late").at("small").join().await.refused(503, "queue_closed");
        small.inside.poll().await.ok(200);
        assert_eq!(
            (small.inside.claims(), world.admin().queue("small").await["active"].clone()),
            (claims, json!(1))
        );
        world.admin().resume("small").await.ok(200);
        let late = world.user("late").at("small");
        late.join().await.ok(201);
        // Another report of the same does not close it again.
        let again = json!({ "queue": "small", "remaining": 0, "sold_out": true });
        let body = json!({ "as_of": world.in_hours(0), "items": [again] });
        assert_eq!(world.admin().stock(&body).await.ok(200)["taken"], 1);
        assert_eq!(world.admin().queue("small").await["state"], "open");
        late.poll().await.ok(200);
        // Seats came back, and were sold again: that closes it once more.
        buyer.refund(&payment).await.ok(201);
        assert_eq!(small.until(2, false).await["state"], "open");
        let again = self::buyer(world, "again", "small").await;
        let hold = again.reserve(&small.date, &[1, 2]).await.ok(201);
        small.until(0, false).await;
        again.pay(&hold).await.ok(201);
        assert_eq!(small.until(0, true).await["state"], "closed");
        until_sent_away(&late).await;
    });
}

#[test]
fn without_that_setting_a_sold_out_queue_stays_open_and_says_so() {
    World::s1().run(async |world| {
        let small = Small::open(world, &settings()).await;
        small.sell_out().await;
        assert_eq!(small.until(0, true).await["state"], "open");
        assert_eq!(small.waiting.poll().await.ok(200)["remaining"], 0);
    });
}

#[test]
fn an_earlier_count_is_not_taken_and_an_unknown_queue_is_passed_over() {
    World::s1().run(async |world| {
        for queue in ["a", "b"] {
            world.admin().put_queue(queue, &settings()).await.ok(201);
            let page = page(world, queue).await.ok(200);
            assert_eq!((&page["remaining"], &page["sold_out"]), (&json!(null), &json!(null)));
        }
        let tell = async |as_of: &str, items: &[(&str, u64)]| {
            let item = |(queue, left): &(&str, u64)| {
                json!({ "queue": queue, "remaining": left, "held": 1, "sold_out": false })
            };
            let items: Vec<_> = items.iter().map(item).collect();
            let body = json!({ "as_of": as_of, "items": items });
            world.admin().stock(&body).await.ok(200).int("taken")
        };
        let left = async |queue: &str| {
            // The page is a moment old.
            pause(400).await;
            page(world, queue).await.ok(200)["remaining"].clone()
        };
        assert_eq!(tell("2030-01-01T00:00:01.500Z", &[("a", 10), ("nope", 3), ("No Slug", 4), ("b", 7)]).await, 2);
        assert_eq!((left("a").await, left("b").await), (json!(10), json!(7)));
        assert_eq!(tell("2030-01-01T00:00:01.499Z", &[("a", 99)]).await, 0);
        assert_eq!(left("a").await, 10);
        // The same moment, written otherwise, and a later one.
        assert_eq!(tell("2030-01-01T02:00:01.600+02:00", &[("a", 9), ("b", 6)]).await, 2);
        assert_eq!((left("a").await, left("b").await), (json!(9), json!(6)));
        assert_eq!(tell("2030-01-01T00:00:02Z", &[("a", 9_007_199_254_740_991)]).await, 1);
        assert_eq!(left("a").await, 9_007_199_254_740_991_u64);
        assert_eq!(tell("2030-01-01T00:00:03Z", &[]).await, 0);
        world.get(Side::Queue, "/v1/queues/nope").await.refused(404, "queue_not_found");
    });
}

#[test]
fn bad_counts_are_refused_and_change_nothing() {
    World::s1().run(async |world| {
        world.admin().put_queue("a", &settings()).await.ok(201);
        let good = json!({ "queue": "a", "remaining": 1, "sold_out": false });
        let mut bad = vec![
            json!([]),
            json!({}),
            json!({ "as_of": "2030-01-01T00:00:00Z" }),
            json!({ "items": [good] }),
            json!({ "as_of": "yesterday", "items": [good] }),
            json!({ "as_of": 5, "items": [good] }),
            json!({ "as_of": "2030-01-01T00:00:00Z", "items": good }),
        ];
        for (member, value) in [
            ("remaining", json!(-1)),
            ("remaining", json!(1.5)),
            ("remaining", json!("1")),
            ("remaining", json!(null)),
            ("remaining", json!(1e30)),
            ("remaining", json!(u64::MAX)),
            ("remaining", json!(9_007_199_254_740_992_u64)),
            ("sold_out", json!("no")),
            ("sold_out", json!(null)),
            ("queue", json!(7)),
        ] {
            let mut item = good.clone();
            item[member] = value;
            bad.push(json!({ "as_of": "2030-01-01T00:00:00Z", "items": [good, item] }));
        }
        for body in bad {
            let answer = world.admin().stock(&body).await;
            assert_eq!(answer.outcome(), "422 invalid_request", "{body}: {answer:?}");
        }
        let path = "/internal/v1/stock";
        world.call(Side::QueueOps, "POST", path).json(&json!({})).await.refused(401, "unauthorized");
        world.admin().call(Side::QueueOps, "POST", path).json(&json!({})).await.refused(403, "forbidden");
        world.admin().call(Side::Queue, "POST", path).json(&json!({})).await.refused(404, "not_found");
        pause(400).await;
        assert_eq!(page(world, "a").await.ok(200)["remaining"], json!(null));
    });
}

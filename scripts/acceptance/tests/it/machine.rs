//! The life of reservations against a model: random steps of few people on few seats, each answer foretold.
//!
//! ```text
//!   hold (named, best) ─▶ held ─ pay ─▶ confirmed ─ refund ─▶ refunded
//!                          │└ extend, once
//!                          ├ cancel ─▶ cancelled
//!                          └ time ───▶ expired
//! ```
//!
//! The clock is the world's. A step is never taken within two seconds of a deadline: which side of it a
//! request falls on is the subject of `races` and `extensions`. `MACHINE_SEED` repeats a run, which says its
//! seed when it fails; `MACHINE_STEPS` makes a longer one.

use std::str::FromStr;

use acceptance::{Answer, Date, PRICE, Side, User, World};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

const STEPS: u64 = 3000;
const PEOPLE: usize = 3;
const SEATS: i64 = 8;
const LIMIT: usize = 5;
const EXTENSION: i64 = 120;
/// Steps look at this many of the youngest reservations: the others have long come to rest.
const YOUNGEST: usize = 8;

#[test]
fn every_answer_in_the_life_of_reservations_is_as_the_model_says() {
    let world = World::s0().gated("").booking_flags(&["--hold-extension-seconds", "120"]);
    world.run(async |world| {
        let seed = from_environment("MACHINE_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1);
        let limited = json!({ "seats": { "count": SEATS, "price": PRICE }, "max_seats_per_user": LIMIT });
        let date = world.add_date_with(world.concert(), limited).await;
        let people = world.users("person", PEOPLE);
        let mut run = Run {
            world,
            date,
            people: &people,
            dice: Dice(seed),
            balances: [0; PEOPLE],
            reservations: Vec::new(),
            step: String::new(),
            seen: std::collections::BTreeMap::new(),
        };
        for number in 0..from_environment("MACHINE_STEPS").unwrap_or(STEPS) {
            run.step = format!("MACHINE_SEED={seed}, step {number}");
            run.take_step().await;
            if number % 250 == 249 {
                run.compare().await;
            }
        }
        run.compare().await;
        for outcome in OUTCOMES {
            assert!(run.seen.contains_key(*outcome), "{outcome} was never seen: {:?}", run.seen);
        }
    });
}

/// Each must have come up, or the run has shown little.
const OUTCOMES: &[&str] = &[
    "named 201",
    "named 409 seat_taken",
    "named 409 seat_limit_reached",
    "best 201",
    "best 409 seats_unavailable",
    "best 409 seat_limit_reached",
    "extend 200",
    "extend 409 already_extended",
    "extend 409 not_held",
    "extend 410 hold_expired",
    "extend 404 reservation_not_found",
    "cancel 204",
    "cancel 409 not_held",
    "cancel 410 hold_expired",
    "pay 201",
    "pay 402 insufficient_points",
    "pay 409 already_paid",
    "pay 409 not_held",
    "pay 410 hold_expired",
    "refund 201",
    "refund 409 already_refunded",
];

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// A reproducible stream of small numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }
}

/// A reservation in the model.
struct Life {
    owner: usize,
    hold: Answer,
    seats: Vec<i64>,
    status: &'static str,
    expires_at: DateTime<Utc>,
    extended: bool,
    payment: Option<Answer>,
}

impl Life {
    fn status(&self, now: DateTime<Utc>) -> &'static str {
        if self.status == "held" && self.expires_at <= now { "expired" } else { self.status }
    }

    fn amount(&self) -> i64 {
        PRICE * i64::try_from(self.seats.len()).unwrap()
    }
}

struct Run<'w> {
    world: &'w World,
    date: Date,
    people: &'w [User<'w>],
    dice: Dice,
    balances: [i64; PEOPLE],
    reservations: Vec<Life>,
    /// Seed and number, for messages.
    step: String,
    seen: std::collections::BTreeMap<String, usize>,
}

impl Run<'_> {
    async fn take_step(&mut self) {
        self.keep_off_deadlines();
        let who = self.dice.below(PEOPLE);
        match self.dice.below(12) {
            0..=2 => self.hold_named(who).await,
            3 | 4 => self.hold_best(who).await,
            5 => self.world.advance_seconds(5 + u64::try_from(self.dice.below(150)).unwrap()),
            6 if self.balances[who] < 6 * PRICE => {
                self.people[who].charge(2 * PRICE).await.ok(201);
                self.balances[who] += 2 * PRICE;
            }
            number if !self.reservations.is_empty() => {
                let back = self.dice.below(YOUNGEST.min(self.reservations.len()));
                let which = self.reservations.len() - 1 - back;
                let who = if self.dice.one_in(8) { who } else { self.reservations[which].owner };
                match number {
                    6 | 7 => self.extend(who, which).await,
                    8 => self.cancel(who, which).await,
                    9 | 10 => self.pay(who, which).await,
                    _ => self.refund(who, which).await,
                }
            }
            _ => {}
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.world.booking_clock().now()
    }

    fn keep_off_deadlines(&self) {
        let near = |life: &Life| (life.expires_at - self.now()).abs() < TimeDelta::seconds(2);
        while self.reservations.iter().any(near) {
            self.world.advance_seconds(4);
        }
    }

    /// The answer must be as foretold: `201`, or `409 seat_taken`.
    #[track_caller]
    fn check(&mut self, what: &str, answer: &Answer, foretold: &str) -> bool {
        assert_eq!(answer.outcome(), foretold, "{}: {what}: {answer:?}", self.step);
        *self.seen.entry(format!("{what} {foretold}")).or_default() += 1;
        answer.status < 400
    }

    /// The seats of live reservations, all or one person's.
    fn had(&self, by: Option<usize>) -> Vec<i64> {
        let now = self.now();
        let live = self.reservations.iter().filter(|life| {
            matches!(life.status(now), "held" | "confirmed") && by.is_none_or(|who| who == life.owner)
        });
        live.flat_map(|life| life.seats.clone()).collect()
    }

    fn is_over_limit(&self, who: usize, more: usize) -> bool {
        self.had(Some(who)).len() + more > LIMIT
    }

    async fn hold_named(&mut self, who: usize) {
        let (first, count) = (self.dice.below(6), self.dice.below(3) + 1);
        let seats: Vec<i64> = (first..first + count).map(|at| i64::try_from(at).unwrap() + 1).collect();
        let had = self.had(None);
        let taken: Vec<i64> = seats.iter().copied().filter(|seat| had.contains(seat)).collect();
        let foretold = match () {
            () if self.is_over_limit(who, count) => "409 seat_limit_reached",
            () if !taken.is_empty() => "409 seat_taken",
            () => "201",
        };
        let answer = self.people[who].reserve(&self.date, &seats).await;
        if self.check("named", &answer, foretold) {
            self.note(who, answer, seats);
        } else if foretold == "409 seat_taken" {
            assert_eq!(answer.ints("seat_numbers"), taken, "{}", self.step);
        }
    }

    async fn hold_best(&mut self, who: usize) {
        let (count, together) = (self.dice.below(4) + 1, self.dice.below(3) > 0);
        let had = self.had(None);
        let free: Vec<i64> = (1..=SEATS).filter(|seat| !had.contains(seat)).collect();
        let run = |seats: &&[i64]| !together || seats.windows(2).all(|two| two[0] + 1 == two[1]);
        let best = free.windows(count).find(run).map(<[i64]>::to_vec);
        let foretold = match () {
            () if self.is_over_limit(who, count) => "409 seat_limit_reached",
            () if best.is_none() => "409 seats_unavailable",
            () => "201",
        };
        let body = json!({ "schedule_id": self.date.id, "count": count, "together": together });
        let answer = self.people[who].reserve_json(&body).await;
        if self.check("best", &answer, foretold) {
            self.note(who, answer, best.unwrap_or_default());
        } else if foretold == "409 seats_unavailable" {
            assert_eq!(answer["available"], free.len(), "{}: {answer:?}", self.step);
        }
    }

    fn note(&mut self, owner: usize, hold: Answer, seats: Vec<i64>) {
        assert_eq!(numbers(&hold["seats"]), seats, "{}", self.step);
        let expires_at = hold.time("expires_at");
        assert_eq!(expires_at - hold.time("held_at"), TimeDelta::seconds(300), "{}", self.step);
        let life = Life { owner, hold, seats, status: "held", expires_at, extended: false, payment: None };
        self.reservations.push(life);
    }

    /// What is said of a reservation that is not held; `None`: it is, and its owner asks.
    fn not_held(&self, who: usize, which: usize) -> Option<&'static str> {
        let life = &self.reservations[which];
        match life.status(self.now()) {
            _ if life.owner != who => Some("404 reservation_not_found"),
            "held" => None,
            "expired" => Some("410 hold_expired"),
            _ => Some("409 not_held"),
        }
    }

    async fn extend(&mut self, who: usize, which: usize) {
        let foretold = self.not_held(who, which);
        let foretold = match foretold {
            None if self.reservations[which].extended => "409 already_extended",
            _ => foretold.unwrap_or("200"),
        };
        let answer = self.people[who].extend(&self.reservations[which].hold).await;
        if self.check("extend", &answer, foretold) {
            let life = &mut self.reservations[which];
            (life.expires_at, life.extended) = (life.expires_at + TimeDelta::seconds(EXTENSION), true);
            assert_eq!(answer.time("expires_at"), life.expires_at, "{}", self.step);
        }
    }

    async fn cancel(&mut self, who: usize, which: usize) {
        let foretold = self.not_held(who, which).unwrap_or("204");
        let answer = self.people[who].cancel(&self.reservations[which].hold).await;
        if self.check("cancel", &answer, foretold) {
            self.reservations[which].status = "cancelled";
        }
    }

    async fn pay(&mut self, who: usize, which: usize) {
        let life = &self.reservations[which];
        let amount = life.amount();
        let foretold = match self.not_held(who, which) {
            Some("409 not_held") if life.status == "confirmed" => "409 already_paid",
            Some(refusal) => refusal,
            None if self.balances[who] < amount => "402 insufficient_points",
            None => "201",
        };
        let answer = self.people[who].pay(&life.hold).await;
        if self.check("pay", &answer, foretold) {
            self.balances[who] -= amount;
            assert_eq!(answer.int("balance_after"), self.balances[who], "{}", self.step);
            let life = &mut self.reservations[which];
            (life.status, life.payment) = ("confirmed", Some(answer));
        }
    }

    async fn refund(&mut self, who: usize, which: usize) {
        let life = &self.reservations[which];
        let amount = life.amount();
        let Some(payment) = &life.payment else { return };
        let foretold = match life.status {
            _ if life.owner != who => "404 payment_not_found",
            "refunded" => "409 already_refunded",
            _ => "201",
        };
        let path = format!("/v1/payments/{}/refund", payment.text("payment_id"));
        let answer = self.people[who].call(Side::Booking, "POST", &path).await;
        if self.check("refund", &answer, foretold) {
            self.balances[who] += amount;
            assert_eq!(answer.int("balance_after"), self.balances[who], "{}", self.step);
            self.reservations[which].status = "refunded";
        }
    }

    /// Everything that can be read is as the model has it.
    async fn compare(&self) {
        self.keep_off_deadlines();
        let (now, step) = (self.now(), &self.step);
        for (who, person) in self.people.iter().enumerate() {
            assert_eq!(person.balance().await, self.balances[who], "{step}");
            let listed = person.reservations("").await;
            let own: Vec<&Life> = self.reservations.iter().filter(|life| life.owner == who).rev().collect();
            assert_eq!(listed.len(), own.len(), "{step}");
            for (item, life) in listed.iter().zip(own) {
                assert_eq!(item["reservation_id"], life.hold["reservation_id"], "{step}");
                assert_eq!(item["status"], life.status(now), "{step}: {item}");
                assert_eq!(item["extended"], life.extended, "{step}: {item}");
                assert_eq!(numbers(&item["seats"]), life.seats, "{step}: {item}");
            }
        }
        let count = |status| {
            let those = self.reservations.iter().filter(|life| life.status(now) == status);
            those.map(|life| i64::try_from(life.seats.len()).unwrap()).sum::<i64>()
        };
        let report = self.world.admin().report(&self.date).await.ok(200);
        let (sold, held) = (count("confirmed"), count("held"));
        assert_eq!((report.int("sold"), report.int("held")), (sold, held), "{step}: {report:?}");
        assert_eq!(report.int("free"), SEATS - sold - held, "{step}: {report:?}");
        assert_eq!(self.world.admin().audit().await.ok(200)["ok"], true, "{step}");
    }
}

#[track_caller]
fn numbers(seats: &Value) -> Vec<i64> {
    seats.as_array().unwrap().iter().map(|seat| seat["number"].as_i64().unwrap()).collect()
}

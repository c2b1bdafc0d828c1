//! What a refusal must not change, read over HTTP before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Side;
use crate::patience::within;
use crate::places::Date;
use crate::user::User;
use crate::world::World;

/// Other replicas may show a seat map that is up to a second old.
const MAP_MAY_LAG: Duration = Duration::from_millis(1500);

/// Numbers of seats by status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatMap {
    pub available: Vec<i64>,
    pub held: Vec<i64>,
    pub sold: Vec<i64>,
}

impl SeatMap {
    /// Reads an answer of `GET /v1/schedules/{id}/seats`, and checks that its parts agree.
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        let mut map = Self::default();
        for seat in answer.list("seats") {
            let number = seat["number"].as_i64().expect("a seat has a number");
            match seat["status"].as_str() {
                Some("available") => map.available.push(number),
                Some("held") => map.held.push(number),
                Some("sold") => map.sold.push(number),
                _ => panic!("a seat's status: {seat}"),
            }
        }
        for numbers in [&mut map.available, &mut map.held, &mut map.sold] {
            numbers.sort_unstable();
        }
        let mut listed = answer.ints("available_seat_numbers");
        listed.sort_unstable();
        assert_eq!(listed, map.available, "{answer:?}");
        let free = map.available.len();
        assert_eq!(answer["remaining"], free, "{answer:?}");
        assert_eq!(answer["sold_out"], free == 0, "{answer:?}");
        map
    }
}

/// Balances, ledgers, reservations, seats, money taken, and who is in line and inside.
pub struct Books<'w> {
    world: &'w World,
    users: Vec<&'w User<'w>>,
    exact: Value,
    map: SeatMap,
}

impl World {
    /// The books as they are now; of people, those of `users`. What is still on its way must have
    /// arrived before: see [`crate::Admin::until_completed`].
    pub async fn books<'w>(&'w self, users: &[&'w User<'w>]) -> Books<'w> {
        let exact = self.exact_books(users).await;
        Books { world: self, users: users.to_vec(), exact, map: self.seat_map(self.date()).await }
    }

    async fn exact_books(&self, users: &[&User<'_>]) -> Value {
        let mut people = BTreeMap::new();
        for user in users {
            let mut reservations = user.reservations("").await;
            for reservation in &mut reservations {
                reservation.as_object_mut().map(|members| members.remove("remaining_seconds"));
            }
            let (balance, ledger) = (user.balance().await, user.history().await);
            let own = json!({ "balance": balance, "ledger": ledger, "reservations": reservations });
            people.insert(user.id().to_owned(), own);
        }
        let report = self.admin().report(self.date()).await.ok(200);
        let queue = self.admin().queue("main").await.ok(200);
        json!({
            "people": people,
            "date": { "sold": report["sold"], "held": report["held"], "free": report["free"],
                "revenue": report["revenue"] },
            "queue": { "waiting": queue["waiting"], "active": queue["active"] },
        })
    }

    /// The seats of a date, seen by somebody who is inside without a slot.
    pub async fn seat_map(&self, date: &Date) -> SeatMap {
        let token = self.entry_token("inspector", &date.concert.queue).await;
        let call = self.get(Side::Booking, &format!("/v1/schedules/{}/seats", date.id));
        SeatMap::of(&call.bearer(&token).await.ok(200))
    }
}

impl Books<'_> {
    /// Fails unless everything is as it was.
    pub async fn unchanged(&self) {
        let now = self.world.exact_books(&self.users).await;
        assert_eq!(now, self.exact, "something changed (now, before)");
        within(MAP_MAY_LAG, "the seats are as they were", async || {
            let map = self.world.seat_map(self.world.date()).await;
            if map == self.map { Ok(()) } else { Err(format!("now {map:?}, before {:?}", self.map)) }
        })
        .await;
    }
}

//! Concerts and dates to sell.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::clock::rfc3339;

use crate::world::World;

/// What a seat costs unless a test says otherwise.
pub const PRICE: i64 = 10_000;

/// A concert, and the queue in front of it.
#[derive(Clone, Debug)]
pub struct Concert {
    pub id: String,
    pub queue: String,
}

/// One date of a concert.
#[derive(Clone, Debug)]
pub struct Date {
    pub id: String,
    pub concert: Concert,
}

impl World {
    /// A new concert in that queue.
    pub async fn add_concert(&self, title: &str, queue: &str) -> Concert {
        let answer = self.admin().concert(&json!({ "title": title, "queue": queue })).await.ok(201);
        Concert { id: answer.text("concert_id"), queue: queue.to_owned() }
    }

    /// A date in 30 days with seats 1 to `seats` at [`PRICE`], on sale since yesterday.
    pub async fn add_date(&self, concert: &Concert, seats: u32) -> Date {
        self.add_date_with(concert, json!({ "seats": { "count": seats, "price": PRICE } })).await
    }

    /// The same without seats, with `changes` to it.
    pub async fn add_date_with(&self, concert: &Concert, changes: Value) -> Date {
        let mut body = self.date_body();
        if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
            body.extend(changes);
        }
        let answer = self.admin().schedule(&concert.id, &body).await.ok(201);
        Date { id: answer.text("schedule_id"), concert: concert.clone() }
    }

    /// A date in 30 days, on sale since yesterday, without seats.
    pub fn date_body(&self) -> Value {
        json!({
            "starts_at": self.in_hours(30 * 24),
            "sales_open_at": self.in_hours(-24),
            "sales_close_at": self.in_hours(29 * 24),
        })
    }

    /// An id of the right form that nothing has.
    pub fn unknown_id(&self) -> String {
        shared::ids::new_id(self.clock()).to_string()
    }

    /// That many hours from now on the booking service's clock, as RFC 3339.
    pub fn in_hours(&self, hours: i64) -> String {
        rfc3339(self.booking_clock().now() + TimeDelta::hours(hours))
    }
}

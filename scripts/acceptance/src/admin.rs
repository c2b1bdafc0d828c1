//! The operator, and the other service, on the ops listeners.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::{Call, Side};
use crate::keys::{ADMIN_TOKEN, SERVICE_TOKEN};
use crate::patience::{eventually, within};
use crate::places::Date;
use crate::user::User;
use crate::world::World;

/// How long hundreds of refunds may take on a busy machine.
const UNDOING: Duration = Duration::from_secs(60);

/// Whoever holds the secrets.
#[derive(Clone, Copy)]
pub struct Admin<'w> {
    world: &'w World,
}

impl<'w> Admin<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world }
    }

    /// A call with `ADMIN_TOKEN`.
    pub fn call(self, side: Side, method: &str, path: &str) -> Call<'w> {
        self.world.call(side, method, path).bearer(ADMIN_TOKEN)
    }

    fn queue_call(self, method: &str, queue: &str, tail: &str) -> Call<'w> {
        self.call(Side::QueueOps, method, &format!("/admin/v1/queues/{queue}{tail}"))
    }

    pub async fn put_queue(self, queue: &str, settings: &Value) -> Answer {
        self.queue_call("PUT", queue, "").json(settings).await
    }

    pub async fn queue(self, queue: &str) -> Answer {
        self.queue_call("GET", queue, "").await
    }

    pub async fn pause(self, queue: &str) -> Answer {
        self.queue_call("POST", queue, "/pause").await
    }

    pub async fn resume(self, queue: &str) -> Answer {
        self.queue_call("POST", queue, "/resume").await
    }

    pub async fn drain(self, queue: &str) -> Answer {
        self.queue_call("POST", queue, "/drain").await
    }

    pub async fn close(self, queue: &str) -> Answer {
        self.queue_call("POST", queue, "/close").await
    }

    pub async fn admit(self, queue: &str, users: u32) -> Answer {
        self.queue_call("POST", queue, "/admit").json(&json!({ "users": users })).await
    }

    pub async fn remove(self, queue: &str, user: &User<'_>) -> Answer {
        let encoded = user.id().bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
        self.queue_call("DELETE", queue, &format!("/tokens/{encoded}")).await
    }

    /// An exact number of the queue `main`: `waiting`, `active`, `completed_total`, …
    pub async fn number(self, name: &str) -> i64 {
        self.queue("main").await.ok(200).int(name)
    }

    /// Waits until the queue `main` has heard of so many completions in all.
    pub async fn until_completed(self, expected: i64) {
        eventually(&format!("{expected} are completed"), async || {
            let completed = self.number("completed_total").await;
            if completed == expected { Ok(()) } else { Err(completed.to_string()) }
        })
        .await;
    }

    /// Tells the queue service that these admissions are done, as the booking service does.
    pub async fn complete(self, queue: &str, jtis: &[String]) -> Answer {
        let path = format!("/internal/v1/queues/{queue}/completions");
        let call = self.world.call(Side::QueueOps, "POST", &path).bearer(SERVICE_TOKEN);
        call.json(&json!({ "jtis": jtis })).await
    }

    /// Tells the queue service what is left to buy, as the booking service does.
    pub async fn stock(self, body: &Value) -> Answer {
        let call = self.world.call(Side::QueueOps, "POST", "/internal/v1/stock");
        call.bearer(SERVICE_TOKEN).json(body).await
    }

    /// Tells the queue service how hard the service behind the line has it, as the booking service does.
    pub async fn pressure(self, body: &Value) -> Answer {
        let call = self.world.call(Side::QueueOps, "POST", "/internal/v1/pressure");
        call.bearer(SERVICE_TOKEN).json(body).await
    }

    /// The feed of revoked admissions; `query` without the question mark.
    pub async fn revocations(self, query: &str) -> Answer {
        let path = format!("/internal/v1/revocations?{query}");
        self.world.get(Side::QueueOps, &path).bearer(SERVICE_TOKEN).await
    }

    pub async fn concert(self, body: &Value) -> Answer {
        self.call(Side::BookingOps, "POST", "/admin/v1/concerts").json(body).await
    }

    pub async fn schedule(self, concert: &str, body: &Value) -> Answer {
        let path = format!("/admin/v1/concerts/{concert}/schedules");
        self.call(Side::BookingOps, "POST", &path).json(body).await
    }

    pub async fn change_concert(self, concert: &str, body: &Value) -> Answer {
        self.call(Side::BookingOps, "PATCH", &format!("/admin/v1/concerts/{concert}")).json(body).await
    }

    pub async fn change_schedule(self, schedule: &str, body: &Value) -> Answer {
        self.call(Side::BookingOps, "PATCH", &format!("/admin/v1/schedules/{schedule}")).json(body).await
    }

    /// `sold`, `held`, `free`, `revenue`.
    pub async fn report(self, date: &Date) -> Answer {
        self.call(Side::BookingOps, "GET", &format!("/admin/v1/schedules/{}/report", date.id)).await
    }

    pub async fn cancel_schedule(self, date: &Date) -> Answer {
        self.call(Side::BookingOps, "POST", &format!("/admin/v1/schedules/{}/cancel", date.id)).await
    }

    pub async fn cancel_concert(self, concert: &str) -> Answer {
        self.call(Side::BookingOps, "POST", &format!("/admin/v1/concerts/{concert}/cancel")).await
    }

    /// How far the cancellation of a date is.
    pub async fn cancellation(self, date: &Date) -> Answer {
        self.call(Side::BookingOps, "GET", &format!("/admin/v1/schedules/{}/cancellation", date.id)).await
    }

    /// Waits until nothing is left of a cancelled date.
    pub async fn until_undone(self, date: &Date) -> Answer {
        within(UNDOING, "the cancellation is done", async || {
            let progress = self.cancellation(date).await.ok(200);
            if progress["done"] == true { Ok(progress) } else { Err(format!("{progress:?}")) }
        })
        .await
    }

    pub async fn audit(self) -> Answer {
        self.call(Side::BookingOps, "GET", "/admin/v1/audit").await
    }
}

//! Where somebody stands, as it is told: the answer to a join and a poll, the data of an event.
//!
//! Of all that the services write, nothing is written so often; so [`Status::to_json`] writes it by itself. What it
//! writes is what serde would write, to the byte; a test holds it to that.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock;
use shared::problem::Problem;

use super::model::{Standing, Wait};
use super::room::{Room, Stay};
use super::token::PlaceToken;
use crate::app::App;
use crate::queues::model::QueueState;

/// Longer than most answers, so that writing one seldom moves it.
const USUAL_LENGTH: usize = 640;

/// The answer to a join, a poll, and the data of an event.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub struct Status<'a> {
    queue: &'a str,
    queue_state: QueueState,
    status: &'static str,
    queue_token: Cow<'a, str>,
    /// People in line before the caller, plus one; null unless waiting.
    position: Option<u64>,
    waiting: u64,
    /// The lane that the place is in; null = everybody's. `position` counts within it.
    lane: Option<&'a str>,
    /// What is left to buy, as the booking service said last; null = unknown.
    remaining: Option<u64>,
    estimated_wait_seconds: Option<Wait>,
    poll_after_ms: u64,
    /// Until when the place lives without another poll; null = it does not lapse.
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    token_expires_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    opens_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    admitted_at: Option<DateTime<Utc>>,
    entry_token: Option<String>,
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    entry_expires_at: Option<DateTime<Utc>>,
    redirect_url: Option<&'a str>,
}

impl<'a> Status<'a> {
    /// `sent`: the queue token of this place that the caller has sent.
    pub fn of(app: &App, room: &'a Room, stay: &'a Stay, sent: Option<&'a str>) -> Result<Self, Problem> {
        let scene = &stay.scene;
        let sign = || {
            let place = PlaceToken { queue: room.id.clone(), user: stay.user.clone(), place: stay.place };
            app.queue_tokens.sign(&place)
        };
        let silence = (scene.waiting_ttl_ms > 0).then(|| Duration::from_millis(scene.waiting_ttl_ms));
        let mut status = Self {
            queue: room.id.as_str(),
            queue_state: scene.state,
            status: "waiting",
            queue_token: sent
                .filter(|sent| app.queue_tokens.is_up_to_date(sent))
                .map_or_else(|| sign().into(), Cow::Borrowed),
            position: None,
            waiting: scene.waiting,
            lane: scene.lane_name(stay.place),
            remaining: scene.remaining,
            estimated_wait_seconds: None,
            poll_after_ms: scene.poll_after_ms(stay.place, &stay.standing, stay.now, rand::random()),
            token_expires_at: silence.map(|silence| stay.now + silence),
            opens_at: scene.opens_at,
            admitted_at: None,
            entry_token: None,
            entry_expires_at: None,
            redirect_url: None,
        };
        match &stay.standing {
            Standing::Scheduled => {
                status.status = "scheduled";
                status.token_expires_at = silence.zip(scene.opens_at).map(|(silence, at)| at + silence);
            }
            Standing::Waiting { position } => {
                status.position = Some(*position);
                // Positions are a moment older than the crowd.
                status.waiting = scene.waiting.max(*position);
                status.estimated_wait_seconds = scene.estimated_wait(stay.place, *position);
            }
            Standing::Active(admission) => {
                let token =
                    app.entry_tokens.sign(&room.id, &stay.user, admission).map_err(Problem::internal)?;
                status.status = "active";
                status.redirect_url = scene.redirect_url.as_deref();
                status.admitted_at = Some(admission.admitted_at);
                status.entry_token = Some(token);
                status.entry_expires_at = DateTime::from_timestamp(admission.exp, 0);
                status.token_expires_at = status.entry_expires_at;
            }
        }
        Ok(status)
    }

    /// As the services write it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Json(Vec::with_capacity(USUAL_LENGTH));
        json.put("{\"queue\":");
        json.text(self.queue);
        json.put(",\"queue_state\":\"");
        json.put(self.queue_state.word());
        json.put("\",\"status\":\"");
        json.put(self.status);
        json.put("\",\"queue_token\":");
        json.text(&self.queue_token);
        json.put(",\"position\":");
        json.or_null(self.position, Json::number);
        json.put(",\"waiting\":");
        json.number(self.waiting);
        json.put(",\"lane\":");
        json.or_null(self.lane, Json::text);
        json.put(",\"remaining\":");
        json.or_null(self.remaining, Json::number);
        json.put(",\"estimated_wait_seconds\":");
        json.or_null(self.estimated_wait_seconds, |json, Wait { min, max }| {
            json.put("{\"min\":");
            json.number(min);
            json.put(",\"max\":");
            json.number(max);
            json.put("}");
        });
        json.put(",\"poll_after_ms\":");
        json.number(self.poll_after_ms);
        json.put(",\"token_expires_at\":");
        json.or_null(self.token_expires_at, Json::time);
        json.put(",\"opens_at\":");
        json.or_null(self.opens_at, Json::time);
        json.put(",\"admitted_at\":");
        json.or_null(self.admitted_at, Json::time);
        json.put(",\"entry_token\":");
        json.or_null(self.entry_token.as_deref(), Json::text);
        json.put(",\"entry_expires_at\":");
        json.or_null(self.entry_expires_at, Json::time);
        json.put(",\"redirect_url\":");
        json.or_null(self.redirect_url, Json::text);
        json.put("}");
        json.0
    }
}

/// JSON in the making.
struct Json(Vec<u8>);

impl Json {
    /// As it stands.
    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.put(itoa::Buffer::new().format(number));
    }

    fn text(&mut self, text: &str) {
        if !text.bytes().all(is_plain) {
            // Into memory: nothing can fail.
            return drop(serde_json::to_writer(&mut self.0, text));
        }
        self.put("\"");
        self.put(text);
        self.put("\"");
    }

    fn time(&mut self, at: DateTime<Utc>) {
        self.put("\"");
        clock::write_rfc3339(&mut self.0, at);
        self.put("\"");
    }

    fn or_null<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.put("null"),
        }
    }
}

/// Whether JSON says it like this.
fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(ms)
    }

    fn waiting() -> Status<'static> {
        Status {
            queue: "sale-1",
            queue_state: QueueState::Open,
            status: "waiting",
            queue_token: "qt_a-b_c.d".into(),
            position: Some(12),
            waiting: 1_000_000,
            lane: None,
            remaining: None,
            estimated_wait_seconds: Some(Wait { min: 0, max: u64::MAX }),
            poll_after_ms: 2000,
            token_expires_at: at(1_790_000_000_007),
            opens_at: None,
            admitted_at: None,
            entry_token: None,
            entry_expires_at: None,
            redirect_url: None,
        }
    }

    #[test]
    fn a_status_is_what_serde_would_write() {
        let active = Status {
            queue_state: QueueState::Draining,
            status: "active",
            position: None,
            lane: Some("fan \"club\" \u{e4}\u{1}\\"),
            remaining: Some(0),
            estimated_wait_seconds: None,
            token_expires_at: None,
            opens_at: at(0),
            admitted_at: at(951_782_400_000),
            entry_token: Some("a.b-c.d_e".to_owned()),
            entry_expires_at: at(4_102_444_799_999),
            redirect_url: Some("https://shop.example/\n?q=\u{1f3ab}"),
            ..waiting()
        };
        for status in [waiting(), active] {
            assert_eq!(String::from_utf8(status.to_json()).unwrap(), serde_json::to_string(&status).unwrap());
        }
        for state in ["scheduled", "open", "paused", "draining", "closed"] {
            let queue_state = QueueState::parse(state).unwrap();
            let status = Status { queue_state, ..waiting() };
            assert_eq!(String::from_utf8(status.to_json()).unwrap(), serde_json::to_string(&status).unwrap());
        }
    }
}

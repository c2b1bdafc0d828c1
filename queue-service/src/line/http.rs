//! The line on the wire.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use shared::clock;
use shared::extract::{Json as Body, Segment, Unread};
use shared::problem::{Problem, codes};
use shared::tokens::user::is_user;

use super::events::{LineEvent, Listener};
use super::model::{Ended, Standing, Wait};
use super::room::{Refusal, Room, Stay};
use super::token::PlaceToken;
use crate::app::App;
use crate::caller::{Caller, Operator, User};
use crate::queues::model::QueueState;
use crate::refusals;

/// The answer to a join, a poll, and the data of an event.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub struct Status {
    queue: String,
    queue_state: QueueState,
    status: &'static str,
    queue_token: String,
    /// People in line before the caller, plus one; null unless waiting.
    position: Option<u64>,
    waiting: u64,
    /// The lane that the place is in; null = everybody's. `position` counts within it.
    lane: Option<String>,
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
    redirect_url: Option<String>,
}

impl Status {
    fn of(app: &App, room: &Room, stay: &Stay) -> Result<Self, Problem> {
        let scene = &stay.scene;
        let place = PlaceToken { queue: room.id.clone(), user: stay.user.clone(), place: stay.place };
        let silence = (scene.waiting_ttl_ms > 0).then(|| Duration::from_millis(scene.waiting_ttl_ms));
        let mut status = Self {
            queue: room.id.as_str().to_owned(),
            queue_state: scene.state,
            status: "waiting",
            queue_token: app.queue_tokens.sign(&place),
            position: None,
            waiting: scene.waiting,
            lane: scene.lane_name(stay.place).map(str::to_owned),
            remaining: scene.remaining,
            estimated_wait_seconds: None,
            poll_after_ms: scene.poll_after_ms(stay.place, &stay.standing, rand::random()),
            token_expires_at: silence.map(|silence| scene.now + silence),
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
                status.redirect_url.clone_from(&scene.redirect_url);
                status.admitted_at = Some(admission.admitted_at);
                status.entry_token = Some(token);
                status.entry_expires_at = DateTime::from_timestamp(admission.exp, 0);
                status.token_expires_at = status.entry_expires_at;
            }
        }
        Ok(status)
    }
}

impl From<Ended> for Problem {
    fn from(ended: Ended) -> Self {
        let (code, detail) = match ended {
            Ended::Expired => (&refusals::TOKEN_EXPIRED, "The place has lapsed."),
            Ended::Left => (&refusals::TOKEN_LEFT, "The person has left the queue."),
            Ended::Completed => (&refusals::TOKEN_COMPLETED, "The purchase that the place was for is done."),
            Ended::Replaced => {
                (&refusals::TOKEN_REPLACED, "The user has joined anew; a newer token is in force.")
            }
            Ended::QueueClosed => {
                (&refusals::QUEUE_CLOSED_GONE, "The queue was closed while the person was in line.")
            }
        };
        Problem::new(code, detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Closed => Problem::new(&refusals::QUEUE_CLOSED, "The queue is closed.").retry_after(60),
            Refusal::Draining => {
                Problem::new(&refusals::QUEUE_DRAINING, "The queue takes nobody any more.").retry_after(60)
            }
            Refusal::AlreadyInQueue => {
                Problem::new(&refusals::ALREADY_IN_QUEUE, "The user is in line or let in already.")
            }
            Refusal::Ended(ended) => ended.into(),
            Refusal::NoPlace => {
                Problem::new(&refusals::TOKEN_NOT_FOUND, "The user has no live place in this queue.")
            }
            Refusal::Store(error) => error.into(),
            Refusal::Unanswered(unanswered) => Problem::unavailable("queue", unanswered),
        }
    }
}

/// `POST /v1/queues/{queue}/tokens`
pub async fn join(
    State(app): State<App>,
    User { id, lane }: User,
    Segment(queue): Segment<String>,
    body: Result<Unread, Problem>,
) -> Result<Response, Problem> {
    let room = app.room(queue.as_deref()).await?;
    let Unread = body?;
    let stay = room.join(&id, lane.as_deref()).await?;
    let code = if stay.fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((code, uncached(), Json(Status::of(&app, &room, &stay)?)).into_response())
}

/// `GET /v1/queues/{queue}/tokens/me`
pub async fn poll(
    State(app): State<App>,
    caller: Caller,
    Segment(queue): Segment<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = room_of(&app, &caller, queue).await?;
    let stay = room.look(caller.user(), caller.place()).await?;
    if let (Standing::Active(_), Some(url), true) =
        (&stay.standing, &stay.scene.redirect_url, wants_html(&headers))
    {
        return Ok((StatusCode::SEE_OTHER, uncached(), [(header::LOCATION, url.clone())]).into_response());
    }
    Ok((uncached(), Json(Status::of(&app, &room, &stay)?)).into_response())
}

/// `DELETE /v1/queues/{queue}/tokens/me`
pub async fn leave(
    State(app): State<App>,
    caller: Caller,
    Segment(queue): Segment<String>,
) -> Result<StatusCode, Problem> {
    let room = room_of(&app, &caller, queue).await?;
    room.leave(caller.user(), caller.place()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /admin/v1/queues/{queue}/tokens/{user_id}`
pub async fn remove(
    State(app): State<App>,
    _: Operator,
    Segment(path): Segment<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (queue, user) = path.unwrap_or_default();
    app.room(Some(&queue)).await?.leave(&user, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/queues/{queue}/tokens/me/events`
pub async fn events(
    State(app): State<App>,
    caller: Caller,
    Segment(queue): Segment<String>,
) -> Result<Response, Problem> {
    let room = room_of(&app, &caller, queue).await?;
    let first = room.look(caller.user(), caller.place()).await?;
    let listener = Listener::new(room.clone(), &first, app.lifecycle.soft().clone());
    let events =
        listener.events(first).map(move |event| Ok::<_, Infallible>(on_the_wire(&app, &room, event)));
    Ok((uncached(), Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

fn on_the_wire(app: &App, room: &Arc<Room>, event: LineEvent) -> Event {
    let told = match event {
        LineEvent::Status(stay) => Status::of(app, room, &stay)
            .ok()
            .and_then(|status| Event::default().event("status").json_data(status).ok()),
        LineEvent::Ended(ended) => {
            let code = Problem::from(ended).code();
            let body = serde_json::json!({ "status": code.status, "code": code.word, "title": code.title });
            Event::default().event("ended").json_data(body).ok()
        }
        LineEvent::ComeBack(after) => Some(Event::default().retry(after).comment("stopping")),
    };
    told.unwrap_or_else(|| Event::default().comment("unreadable"))
}

async fn room_of(app: &App, caller: &Caller, queue: Option<String>) -> Result<Arc<Room>, Problem> {
    let room = app.room(queue.as_deref()).await?;
    if let Caller::Place(token) = caller
        && token.queue != room.id
    {
        return Err(Problem::new(&refusals::WRONG_QUEUE, "The queue token belongs to another queue."));
    }
    Ok(room)
}

/// Whether HTML is accepted, and not less than JSON (RFC 9110, section 12.5.1).
fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let quality = |media: &str| {
        let range = accept.split(',').map(|range| range.split(';').map(str::trim).collect::<Vec<_>>());
        let mut fitting = range.filter(|parts| parts[0].eq_ignore_ascii_case(media));
        let parts = fitting.next()?;
        let given = parts.iter().find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some(given.map_or(1.0, |text| text.parse::<f32>().unwrap_or(0.0)))
    };
    let html = quality("text/html").unwrap_or(0.0);
    html > 0.0 && html >= quality("application/json").unwrap_or(0.0)
}

/// An answer is of one person and one moment.
fn uncached() -> [(header::HeaderName, &'static str); 1] {
    [(header::CACHE_CONTROL, "no-store")]
}

/// Body of a development login.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Login {
    user_id: String,
    /// What the token claims as its lane.
    lane: Option<String>,
}

/// Answer to a development login.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LoggedIn {
    user_token: String,
}

/// `POST /v1/dev/login`
pub async fn development_login(
    State(app): State<App>,
    body: Result<Body<Login>, Problem>,
) -> Result<Json<LoggedIn>, Problem> {
    if !app.users.is_development() {
        return Err(Problem::new(&codes::NOT_FOUND, "There is nothing at this path."));
    }
    let Body(Login { user_id, lane }) = body?;
    if !is_user(&user_id) {
        return Err(Problem::invalid_field("user_id", "must have 1 to 255 bytes and no NUL"));
    }
    match app.users.development_login(&user_id, lane.as_deref()) {
        Some(token) => Ok(Json(LoggedIn { user_token: token.map_err(Problem::internal)? })),
        None => Err(Problem::new(&codes::NOT_FOUND, "There is nothing at this path.")),
    }
}

//! The line on the wire: the verbs. What they answer is in `status.rs`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use shared::extract::{Json as Body, Segment, Unread, bearer};
use shared::problem::{Problem, codes};
use shared::serve::{AtOnce, Told};
use shared::tokens::user::is_user;

use super::events::{LineEvent, Listener};
use super::model::{Ended, Standing};
use super::room::{Refusal, Room};
use super::status::Status;
use crate::app::App;
use crate::caller::{Caller, Operator, User};
use crate::refusals;

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

fn told(code: StatusCode, status: &Status<'_>) -> Response {
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (code, json, status.to_json()).into_response()
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
    Ok(told(code, &Status::of(&app, &room, &stay, None)?))
}

/// `GET /v1/queues/{queue}/tokens/me`
pub async fn poll(
    State(app): State<App>,
    caller: Caller,
    Segment(queue): Segment<String>,
    WantsHtml(wants_html): WantsHtml,
) -> Result<Response, Problem> {
    let room = room_of(&app, &caller, queue).await?;
    let stay = room.look(caller.user(), caller.place()).await?;
    if let (Standing::Active(_), Some(url), true) = (&stay.standing, &stay.scene.redirect_url, wants_html) {
        return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, url.clone())]).into_response());
    }
    // A user token may name another place than one that was sent before.
    let sent = if let Caller::Place { text, .. } = &caller { Some(text.as_str()) } else { None };
    Ok(told(StatusCode::OK, &Status::of(&app, &room, &stay, sent)?))
}

/// Most polls: somebody in line who shows a queue token. The others are [`poll`]'s.
impl AtOnce for App {
    fn answer(
        &self,
        path: &str,
        headers: &HeaderMap,
        counted: &dyn Fn() -> Result<(), Problem>,
    ) -> Option<Told> {
        let queue = path.strip_prefix("/v1/queues/")?.strip_suffix("/tokens/me")?;
        let text = bearer(headers).ok()?;
        let token = self.queue_tokens.verify(text)?;
        let room = self.rooms.at_hand(queue).filter(|room| room.id == token.queue)?;
        let glance = room.glance_at_once(token.place)?;
        let counted = counted().and_then(|()| self.limits.check_user(&token.user));
        let outcome = match counted {
            Ok(()) => {
                let stay = room.heed_at_once(&token.user, glance)?;
                Status::of(self, &room, &stay, Some(text)).map(|status| told(StatusCode::OK, &status))
            }
            Err(refusal) => Err(refusal),
        };
        Some(Told { route: "/v1/queues/{queue}/tokens/me", outcome })
    }
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
    let uncached = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((uncached, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

fn on_the_wire(app: &App, room: &Arc<Room>, event: LineEvent) -> Event {
    let told = match event {
        LineEvent::Status(stay) => Status::of(app, room, &stay, None)
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
    if let Caller::Place { token, .. } = caller
        && token.queue != room.id
    {
        return Err(Problem::new(&refusals::WRONG_QUEUE, "The queue token belongs to another queue."));
    }
    Ok(room)
}

/// Whether the client is a browser that goes where it is sent.
#[derive(Clone, Copy, Debug)]
pub struct WantsHtml(bool);

impl<S: Send + Sync> FromRequestParts<S> for WantsHtml {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(wants_html(&parts.headers)))
    }
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

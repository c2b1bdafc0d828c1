//! Queues on the wire: the public view and the operators' calls.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::clock;
use shared::extract::{Query, RawBody, Segment};
use shared::page::{Page, PageOf, PageQuery};
use shared::problem::{Problem, codes};

use super::model::{LaneReport, QueueId, QueueState, Report, Stop};
use super::settings::{BadSetting, Settings};
use crate::app::App;
use crate::caller::Operator;
use crate::line::model::{Scene, Wait};
use crate::refusals;

/// A queue as everybody sees it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct QueueView {
    queue: String,
    state: QueueState,
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    opens_at: Option<DateTime<Utc>>,
    /// People who joined before the opening.
    scheduled: u64,
    waiting: u64,
    active: u64,
    /// Of somebody who joined now.
    estimated_wait_seconds: Option<Wait>,
    /// What is left to buy, as the booking service said last; null = unknown.
    remaining: Option<u64>,
    sold_out: Option<bool>,
    /// Of a lottery: what was promised before the opening, and what proves it after.
    draw: Option<Draw>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Draw {
    commitment: String,
    seed: Option<String>,
    /// The numbers that were drawn, lane by lane; null before the opening.
    lanes: Option<Vec<DrawnLane>>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DrawnLane {
    /// Null = everybody's.
    lane: Option<String>,
    /// These numbers had a lot, the last included; none had when it is smaller than the first.
    first_number: u64,
    last_number: u64,
}

impl Draw {
    fn of(report: &Report) -> Option<Self> {
        let (commitment, seed) = report.draw.clone()?;
        let lane = |lane: &LaneReport| DrawnLane {
            lane: named(&lane.name),
            first_number: lane.first_drawn,
            last_number: lane.last_drawn,
        };
        let lanes = seed.is_some().then(|| report.lanes.iter().map(lane).collect());
        Some(Self { commitment, seed, lanes })
    }
}

fn named(lane: &str) -> Option<String> {
    Some(lane.to_owned()).filter(|lane| !lane.is_empty())
}

/// One lane as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LaneView {
    /// Null = everybody's.
    lane: Option<String>,
    waiting: u64,
    admitted_total: u64,
}

/// How much of the rate is let in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Outflow {
    /// 0 to 1.
    share: f64,
    /// The measure that is beyond its bound, or `recovering`; null = the rate is not slowed.
    reason: Option<String>,
}

/// A queue as operators see it, of one moment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct QueueReport {
    queue: String,
    state: QueueState,
    settings: Settings,
    waiting: u64,
    scheduled: u64,
    /// Slots held, unclaimed ones included.
    active: u64,
    admitted_total: u64,
    expired_total: u64,
    left_total: u64,
    completed_total: u64,
    /// Places given up by joining anew.
    replaced_total: u64,
    /// Places ended by closing the queue.
    closed_total: u64,
    /// Over the last minute, or since the line began.
    admitted_per_second: f64,
    /// Slots that the cap leaves; null without a cap.
    free_slots: Option<u64>,
    /// Active beyond a cap that was lowered; nobody is thrown out.
    over_by: u64,
    remaining: Option<u64>,
    sold_out: Option<bool>,
    outflow: Outflow,
    /// Until when nobody is let in because the store has forgotten something; `resume` ends it.
    #[serde(serialize_with = "clock::as_rfc3339_or_null")]
    held_until: Option<DateTime<Utc>>,
    /// Where there are lanes beside everybody's.
    lanes: Vec<LaneView>,
}

impl LaneView {
    fn of(lane: &LaneReport) -> Self {
        Self { lane: named(&lane.name), waiting: lane.waiting, admitted_total: lane.admitted }
    }
}

impl QueueReport {
    fn of(id: &QueueId, report: &Report) -> Self {
        let room = report.cap_room;
        Self {
            queue: id.as_str().to_owned(),
            state: report.state,
            settings: report.settings.clone(),
            waiting: report.waiting,
            scheduled: report.scheduled,
            active: report.active,
            admitted_total: report.admitted_total,
            expired_total: report.expired_total,
            left_total: report.left_total,
            completed_total: report.completed_total,
            replaced_total: report.replaced_total,
            closed_total: report.closed_total,
            admitted_per_second: report.pace.minute,
            free_slots: room.map(|room| u64::try_from(room).unwrap_or(0)),
            over_by: room.map_or(0, |room| u64::try_from(-room).unwrap_or(0)),
            remaining: report.remaining,
            sold_out: report.sold_out,
            outflow: Outflow { share: report.outflow, reason: report.outflow_reason.clone() },
            held_until: report.held_until,
            lanes: if report.lanes.len() > 1 {
                report.lanes.iter().map(LaneView::of).collect()
            } else {
                Vec::new()
            },
        }
    }
}

/// `GET /v1/queues/{queue}`
pub async fn show(State(app): State<App>, Segment(queue): Segment<String>) -> Result<Response, Problem> {
    let room = app.room(queue.as_deref()).await?;
    let report = room.recent_report().await?;
    let scene = Scene::at_the_back(&report, app.clock.now());
    let ahead = report.lanes.first().map_or(0, |lane| lane.waiting);
    let view = QueueView {
        queue: room.id.as_str().to_owned(),
        state: report.state,
        opens_at: report.opens_at,
        scheduled: report.scheduled,
        waiting: report.waiting,
        active: report.active,
        estimated_wait_seconds: scene.wait_of_a_newcomer(ahead, report.has_room),
        remaining: report.remaining,
        sold_out: report.sold_out,
        draw: Draw::of(&report),
    };
    Ok(([(header::CACHE_CONTROL, "public, max-age=1")], Json(view)).into_response())
}

/// `PUT /admin/v1/queues/{queue}`
pub async fn put(
    State(app): State<App>,
    _: Operator,
    Segment(queue): Segment<String>,
    body: RawBody,
) -> Result<Response, Problem> {
    let id = queue.as_deref().and_then(QueueId::parse).ok_or_else(|| {
        Problem::new(&refusals::INVALID_SETTINGS, "A queue's id has 1 to 64 of a-z, 0-9 and -.")
    })?;
    let settings =
        parse(&body)?.checked().map_err(|BadSetting { field, message }| invalid(field, &message))?;
    let fresh = app.queues.put(&id, &settings).await?;
    let room = app.rooms.open(&id);
    room.bell.notify_one();
    room.view.settle().await;
    let code = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((code, Json(report(&app, &id).await?)).into_response())
}

/// A document that is not JSON is 400; one that is not settings is 422 `invalid_settings`.
fn parse(body: &RawBody) -> Result<Settings, Problem> {
    body.parse().map_err(|problem| match problem.code() {
        code if *code == codes::INVALID_REQUEST => problem.renamed(&refusals::INVALID_SETTINGS),
        _ => problem,
    })
}

fn invalid(field: &str, message: &str) -> Problem {
    Problem::invalid_field(field, message).renamed(&refusals::INVALID_SETTINGS)
}

/// `GET /admin/v1/queues`
pub async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<QueueReport>>, Problem> {
    let page: PageOf<String> = query.parse()?;
    let ids = app.queues.ids().await?;
    let rest =
        ids.into_iter().filter(|id| page.after.as_ref().is_none_or(|after| id.as_str() > after.as_str()));
    let ids = page.cut(rest.take(page.limit as usize + 1).collect(), |id: &QueueId| id.as_str().to_owned());
    let mut items = Vec::with_capacity(ids.items.len());
    for id in &ids.items {
        match report(&app, id).await {
            Ok(report) => items.push(report),
            // Listed a moment before its settings are there.
            Err(problem) if *problem.code() == refusals::QUEUE_NOT_FOUND => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(Json(Page { items, next_cursor: ids.next_cursor }))
}

/// `GET /admin/v1/queues/{queue}`
pub async fn detail(
    State(app): State<App>,
    _: Operator,
    Segment(queue): Segment<String>,
) -> Result<Json<QueueReport>, Problem> {
    let room = app.room(queue.as_deref()).await?;
    report(&app, &room.id).await.map(Json)
}

async fn stop(app: &App, queue: Option<&str>, stop: Option<Stop>) -> Result<Json<QueueReport>, Problem> {
    let room = app.room(queue).await?;
    app.queues.stop(&room.id, stop).await?;
    room.bell.notify_one();
    room.view.settle().await;
    report(app, &room.id).await.map(Json)
}

/// `POST /admin/v1/queues/{queue}/pause`
pub async fn pause(
    State(app): State<App>,
    _: Operator,
    Segment(queue): Segment<String>,
) -> Result<Json<QueueReport>, Problem> {
    stop(&app, queue.as_deref(), Some(Stop::Paused)).await
}

/// `POST /admin/v1/queues/{queue}/drain`
pub async fn drain(
    State(app): State<App>,
    _: Operator,
    Segment(queue): Segment<String>,
) -> Result<Json<QueueReport>, Problem> {
    stop(&app, queue.as_deref(), Some(Stop::Draining)).await
}

/// `POST /admin/v1/queues/{queue}/close`
pub async fn close(
    State(app): State<App>,
    _: Operator,
    Segment(queue): Segment<String>,
) -> Result<Json<QueueReport>, Problem> {
    stop(&app, queue.as_deref(), Some(Stop::Closed)).await
}

/// `POST /admin/v1/queues/{queue}/resume`
pub async fn resume(
    State(app): State<App>,
    _: Operator,
    Segment(queue): Segment<String>,
) -> Result<Json<QueueReport>, Problem> {
    stop(&app, queue.as_deref(), None).await
}

/// The report of a queue, for every call that answers with the queue.
pub async fn report(app: &App, id: &QueueId) -> Result<QueueReport, Problem> {
    Ok(QueueReport::of(id, &*app.queues.report(id).await?))
}

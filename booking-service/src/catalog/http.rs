//! `/v1/concerts` and `/v1/schedules`.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::extract::{Query, Segment, bearer};
use shared::page::{Page, PageOf, PageQuery};
use shared::problem::Problem;
use shared::serve::{AtOnce, Told};
use uuid::Uuid;

use super::model::{Concert, Dates, Schedule, is_start};
use super::{Refusal, admin};
use crate::admitted::{Gate, Guest, Row, Subject, point_to_queue};
use crate::app::App;
use crate::codes;
use crate::seat_maps::http as seat_maps;

pub struct ConcertsRow;
pub struct DatesRow;
pub struct SeatsRow;

impl Row for ConcertsRow {
    const GATE: Option<Gate> = Some(Gate::Concerts);
}
impl Row for DatesRow {
    const GATE: Option<Gate> = Some(Gate::Dates);
}
impl Row for SeatsRow {
    const GATE: Option<Gate> = Some(Gate::Seats);
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ConcertNotFound => admin::Refusal::ConcertNotFound.into(),
            Refusal::ScheduleNotFound => admin::Refusal::ScheduleNotFound.into(),
            Refusal::SeatsNotReady => Self::new(&codes::SEATS_NOT_READY, "The seats were not made yet."),
            Refusal::Db(error) => error.into(),
        }
    }
}

/// Tells somebody without an entry token where to queue for a concert.
async fn point_to_concert<T>(app: &App, outcome: Result<T, Problem>, id: Option<Uuid>) -> Result<T, Problem> {
    let look_up = super::queue_of_concert(&app.db, id.unwrap_or_default());
    point_to_queue(app, outcome, id.map(Subject::Concert), look_up).await
}

/// Tells somebody without an entry token where to queue for a date.
pub async fn point_to_schedule<T>(
    app: &App,
    outcome: Result<T, Problem>,
    id: Option<Uuid>,
) -> Result<T, Problem> {
    let look_up = super::queue_of_schedule(&app.db, id.unwrap_or_default());
    point_to_queue(app, outcome, id.map(Subject::Schedule), look_up).await
}

pub async fn list_concerts(
    State(app): State<App>,
    _: Guest<ConcertsRow>,
    page: Result<Query<PageQuery>, Problem>,
) -> Result<Json<Page<Concert>>, Problem> {
    let page = page?.0.parse()?;
    Ok(Json(super::concerts(&app.db, &page).await?))
}

pub async fn get_concert(
    State(app): State<App>,
    guest: Result<Guest<ConcertsRow>, Problem>,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Concert>, Problem> {
    point_to_concert(&app, guest, id).await?;
    Ok(Json(super::concert(&app.db, id).await?))
}

/// Query of the list of dates.
#[derive(Debug, Default, Deserialize)]
pub struct DatesQuery {
    from: Option<String>,
    to: Option<String>,
    bookable: Option<String>,
    #[serde(flatten)]
    page: PageQuery,
}

pub async fn list_schedules(
    State(app): State<App>,
    guest: Result<Guest<DatesRow>, Problem>,
    Segment(id): Segment<Uuid>,
    query: Result<Query<DatesQuery>, Problem>,
) -> Result<Json<Page<Schedule>>, Problem> {
    let guest = point_to_concert(&app, guest, id).await?;
    let concert = super::concert(&app.db, id).await?;
    if let Err(refusal) = guest.enter(&concert.queue) {
        // Some of its dates may have a queue of their own, and the guest has stood there.
        let others = super::own_queues(&app.db, concert.concert_id).await?;
        others.iter().find_map(|queue| guest.enter(queue).ok()).ok_or(refusal)?;
    }
    let Query(query) = query?;
    let page = dates_page(&query.page)?;
    let dates = Dates::parse(query.from.as_deref(), query.to.as_deref(), query.bookable.as_deref())?;
    Ok(Json(super::schedules(&app.db, concert.concert_id, &dates, &page).await?))
}

/// A page of dates: they are listed by their start.
pub fn dates_page(query: &PageQuery) -> Result<PageOf<(DateTime<Utc>, Uuid)>, Problem> {
    let page = query.parse::<(DateTime<Utc>, Uuid)>()?;
    match page.after {
        Some((start, _)) if !is_start(start) => Err(Problem::invalid_field("cursor", "is not one of ours")),
        _ => Ok(page),
    }
}

pub async fn seat_map(
    State(app): State<App>,
    guest: Result<Guest<SeatsRow>, Problem>,
    Segment(id): Segment<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let guest = point_to_schedule(&app, guest, id).await?;
    let shown = app.seat_maps.look(id.ok_or(Refusal::ScheduleNotFound)?).await?;
    let shown = shown.ok_or(Refusal::ScheduleNotFound)?;
    guest.enter(&shown.date.queue)?;
    if shown.date.is_cancelled {
        return Err(Problem::new(&codes::SCHEDULE_CANCELLED, "The date was cancelled."));
    }
    seat_maps::answer(&headers, shown.picture.ok_or(Refusal::SeatsNotReady)?).await
}

/// Most readings of a seat map: one that is kept here, by somebody who was here before. The others are [`seat_map`]'s.
impl AtOnce for App {
    fn answer(
        &self,
        path: &str,
        headers: &HeaderMap,
        counted: &dyn Fn() -> Result<(), Problem>,
    ) -> Option<Told> {
        let id = path.strip_prefix("/v1/schedules/")?.strip_suffix("/seats")?.parse().ok()?;
        let visit = self.door.look_in(bearer(headers).ok(), Gate::Seats)?;
        let (date, picture) = self.seat_maps.look_at_once(id)?;
        if date.is_cancelled || !visit.may_enter(&date.queue) {
            return None;
        }
        let answer = seat_maps::answer_at_once(headers, &picture)?;
        let counted =
            counted().and_then(|()| visit.user().map_or(Ok(()), |user| self.limits.check_user(user)));
        Some(Told { route: "/v1/schedules/{id}/seats", outcome: counted.map(|()| answer) })
    }
}

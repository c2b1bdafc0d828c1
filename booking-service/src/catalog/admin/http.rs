//! `/admin/v1/concerts` and `/admin/v1/schedules`.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use shared::extract::{Query, RawBody, Segment};
use shared::page::{Page, PageQuery};
use shared::problem::Problem;
use uuid::Uuid;

use super::{ConcertBody, ConcertPatch, Refusal, ScheduleBody, SchedulePatch};
use crate::admitted::Operator;
use crate::answers::Created;
use crate::app::App;
use crate::catalog::http::dates_page;
use crate::catalog::model::{Concert, Dates, Report, Schedule};
use crate::catalog::{self, Invalid};
use crate::codes;

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::invalid_field(invalid.field, invalid.message)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ConcertNotFound => Self::new(&codes::CONCERT_NOT_FOUND, "There is no such concert."),
            Refusal::ScheduleNotFound => Self::new(&codes::SCHEDULE_NOT_FOUND, "There is no such date."),
            Refusal::ScheduleCancelled => {
                Self::new(&codes::SCHEDULE_CANCELLED, "A cancelled date does not change.")
            }
            Refusal::SeatsExist => Self::new(&codes::SEATS_EXIST, "Seats are made once."),
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::Db(error) => error.into(),
        }
    }
}

pub async fn list_concerts(
    State(app): State<App>,
    _: Operator,
    page: Result<Query<PageQuery>, Problem>,
) -> Result<Json<Page<Concert>>, Problem> {
    let page = page?.0.parse()?;
    Ok(Json(catalog::all_concerts(&app.db, &page).await?))
}

pub async fn create_concert(
    State(app): State<App>,
    _: Operator,
    body: RawBody,
) -> Result<impl IntoResponse, Problem> {
    let body: ConcertBody = body.parse()?;
    Ok(Created(super::create_concert(&app.db, body).await?))
}

pub async fn change_concert(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
    body: RawBody,
) -> Result<Json<Concert>, Problem> {
    let id = existing_concert(&app, id).await?;
    let patch: ConcertPatch = body.parse()?;
    Ok(Json(super::change_concert(&app.db, id, patch).await?))
}

/// All dates, the cancelled ones too.
pub async fn list_schedules(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
    page: Result<Query<PageQuery>, Problem>,
) -> Result<Json<Page<Schedule>>, Problem> {
    let id = existing_concert(&app, id).await?;
    let page = dates_page(&page?.0)?;
    Ok(Json(catalog::schedules(&app.db, id, &Dates::default(), &page).await?))
}

pub async fn create_schedule(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
    body: RawBody,
) -> Result<impl IntoResponse, Problem> {
    let id = existing_concert(&app, id).await?;
    let body: ScheduleBody = body.parse()?;
    Ok(Created(super::create_schedule(&app.db, &app.changes, id, body).await?))
}

pub async fn change_schedule(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
    body: RawBody,
) -> Result<Json<Schedule>, Problem> {
    let id = catalog::existing_schedule(&app.db, id).await?.0;
    let patch: SchedulePatch = body.parse()?;
    Ok(Json(super::change_schedule(&app.db, &app.changes, id, patch).await?))
}

pub async fn get_schedule(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Schedule>, Problem> {
    let id = catalog::existing_schedule(&app.db, id).await?.0;
    Ok(Json(super::schedule(&app.db, id).await?))
}

pub async fn report(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Report>, Problem> {
    Ok(Json(catalog::report(&app.db, id).await?))
}

async fn existing_concert(app: &App, id: Option<Uuid>) -> Result<Uuid, Problem> {
    Ok(catalog::concert(&app.db, id).await?.concert_id)
}

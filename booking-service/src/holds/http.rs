//! `/v1/reservations`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{ErrorResponse, IntoResponse, Response};
use serde::Deserialize;
use shared::extract::{Query, RawBody, Segment};
use shared::page::{Page, PageQuery};
use shared::problem::{Problem, codes as general};
use uuid::Uuid;

use super::{Obstacle, Place, Refusal, Reservation, ReserveBody, Status, Wanted};
use crate::admitted::{self, Admitted, Anyone, Buyer, Gate, Row};
use crate::answers::Created;
use crate::app::App;
use crate::catalog::http::point_to_schedule;
use crate::idempotency::{KeyHeader, Need};
use crate::{codes, metrics};

pub struct ReserveRow;

impl Row for ReserveRow {
    const GATE: Option<Gate> = Some(Gate::Reserve);
}

pub async fn place(
    State(app): State<App>,
    buyer: Result<Buyer<ReserveRow>, Problem>,
    key: KeyHeader,
    raw: Result<RawBody, Problem>,
) -> Result<Created<Reservation>, ErrorResponse> {
    let schedule = buyer.is_err().then(|| schedule_of(&raw)).flatten();
    let buyer = point_to_schedule(&app, buyer, schedule).await?;
    let parse = |raw: &RawBody| {
        let body: ReserveBody = raw.parse()?;
        let schedule = body.schedule_id.parse().ok();
        Ok((schedule, Wanted::parse(body)?))
    };
    let (caller, intent, (schedule, wanted)) = key.admit(&app, buyer, raw, Need::Honoured, parse).await?;
    Ok(Created(app.holds.place(Place { caller, schedule, wanted, intent }).await?))
}

fn schedule_of(raw: &Result<RawBody, Problem>) -> Option<Uuid> {
    let body: ReserveBody = raw.as_ref().ok()?.parse().ok()?;
    body.schedule_id.parse().ok()
}

/// Query of the list.
#[derive(Debug, Default, Deserialize)]
pub struct ListQuery {
    status: Option<String>,
    #[serde(flatten)]
    page: PageQuery,
}

pub async fn list(
    State(app): State<App>,
    who: Admitted<Anyone>,
    query: Result<Query<ListQuery>, Problem>,
) -> Result<Json<Page<Reservation>>, ErrorResponse> {
    let Query(query) = query?;
    let status = match query.status.as_deref() {
        None => None,
        Some(word) => Some(Status::parse(word).ok_or_else(|| {
            Problem::invalid_field("status", "must be held, confirmed, expired, cancelled or refunded")
        })?),
    };
    let page = query.page.parse()?;
    Ok(Json(app.holds.list(who.caller.user(), status, &page).await?))
}

pub async fn get(
    State(app): State<App>,
    who: Admitted<Anyone>,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Reservation>, ErrorResponse> {
    Ok(Json(app.holds.get(who.caller.user(), id).await?))
}

pub async fn cancel(
    State(app): State<App>,
    who: Admitted<Anyone>,
    Segment(id): Segment<Uuid>,
) -> Result<StatusCode, ErrorResponse> {
    app.holds.cancel(who.caller.user(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn extend(
    State(app): State<App>,
    who: Admitted<Anyone>,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Reservation>, ErrorResponse> {
    Ok(Json(app.holds.extend(who.caller.user(), id).await?))
}

impl From<Obstacle> for Problem {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::EntryCompleted => admitted::Refusal::EntryCompleted.into(),
            Obstacle::WrongQueue => admitted::Refusal::WrongQueue.into(),
            Obstacle::ScheduleNotFound => crate::catalog::Refusal::ScheduleNotFound.into(),
            Obstacle::SeatsNotReady => crate::catalog::Refusal::SeatsNotReady.into(),
            Obstacle::SalesClosed => Self::new(&codes::SALES_CLOSED, "This date is not on sale now."),
            Obstacle::UnknownSeat(numbers) => {
                Self::new(&codes::UNKNOWN_SEAT, "The hall has no such seat.").with("seat_numbers", numbers)
            }
            Obstacle::UnknownSection => Self::invalid_field("section", "the hall has no such section"),
            Obstacle::TooManySeats { max } => {
                Self::new(&codes::TOO_MANY_SEATS, format!("A reservation has at most {max} seats."))
                    .with("max", max)
            }
            Obstacle::SeatLimitReached { max, owned } => Self::new(
                &codes::SEAT_LIMIT_REACHED,
                format!("Of this date you may have {max} seats, and have {owned}."),
            )
            .with("max", max)
            .with("yours", owned),
            Obstacle::SeatTaken(numbers) => {
                Self::new(&codes::SEAT_TAKEN, "Somebody has these seats.").with("seat_numbers", numbers)
            }
            Obstacle::SeatsUnavailable { wanted, available, together } => {
                Self::new(&codes::SEATS_UNAVAILABLE, "There is no such choice of seats.")
                    .with("wanted", wanted)
                    .with("available", available)
                    .with("together", together)
            }
        }
    }
}

/// `reservation_not_found`.
pub fn not_found() -> Problem {
    Problem::new(&codes::RESERVATION_NOT_FOUND, "You have no such reservation.")
}

/// `not_held`.
pub fn not_held() -> Problem {
    Problem::new(&codes::NOT_HELD, "The reservation is not held any more.")
}

/// `hold_expired`.
pub fn expired() -> Problem {
    Problem::new(&codes::HOLD_EXPIRED, "The hold is past its deadline.")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Obstacle(obstacle) => obstacle.into(),
            Self::ReservationNotFound => not_found(),
            Self::NotHeld => not_held(),
            Self::HoldExpired => expired(),
            Self::ExtensionNotAllowed => {
                Problem::new(&codes::EXTENSION_NOT_ALLOWED, "Holds are not extended here.")
            }
            Self::AlreadyExtended => Problem::new(&codes::ALREADY_EXTENDED, "The hold was extended before."),
            Self::Crowded => {
                Problem::new(&general::UNAVAILABLE, "Others are at these seats; nobody has them yet.").usual()
            }
            Self::Key(refusal) => return refusal.into_response(),
            Self::Db(error) => error.into(),
        };
        metrics::refused("hold", problem.code().word);
        problem.into_response()
    }
}

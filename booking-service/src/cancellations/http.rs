//! `/admin/v1/schedules/{id}/cancel`, `…/cancellation`, `/admin/v1/concerts/{id}/cancel`.

use axum::Json;
use axum::extract::State;
use shared::extract::Segment;
use shared::problem::Problem;
use uuid::Uuid;

use super::{CancelledConcert, Progress, Refusal};
use crate::admitted::Operator;
use crate::app::App;
use crate::{catalog, codes};

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotCancelled => Self::new(&codes::NOT_CANCELLED, "The date takes place."),
            Refusal::Db(error) => error.into(),
        }
    }
}

pub async fn cancel_schedule(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Progress>, Problem> {
    let id = catalog::existing_schedule(&app.db, id).await?.0;
    Ok(Json(app.cancellations.cancel_schedule(id).await?))
}

pub async fn cancel_concert(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
) -> Result<Json<CancelledConcert>, Problem> {
    let id = catalog::concert(&app.db, id).await?.concert_id;
    Ok(Json(app.cancellations.cancel_concert(id).await?))
}

pub async fn progress(
    State(app): State<App>,
    _: Operator,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Progress>, Problem> {
    let id = catalog::existing_schedule(&app.db, id).await?.0;
    Ok(Json(app.cancellations.progress(id).await?))
}

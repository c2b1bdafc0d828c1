//! Admission on the wire: the operator's hand, and completions from the booking service.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::extract::{RawBody, Segment};
use shared::problem::Problem;

use crate::app::App;
use crate::caller::{Operator, Service};
use crate::queues::http::{QueueReport, report};

/// Body of an admission by hand.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Admit {
    users: u32,
}

/// How many were let in, and the queue after it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Admitted {
    admitted: u64,
    #[serde(flatten)]
    queue: QueueReport,
}

/// `POST /admin/v1/queues/{queue}/admit`
pub async fn admit(
    State(app): State<App>,
    _: Operator,
    Segment(queue): Segment<String>,
    body: RawBody,
) -> Result<Json<Admitted>, Problem> {
    let room = app.room(queue.as_deref()).await?;
    let Admit { users } = body.parse()?;
    if users == 0 {
        return Err(Problem::invalid_field("users", "must be 1 or more"));
    }
    let admitted = super::force(&room, users).await?;
    Ok(Json(Admitted { admitted, queue: report(&app, &room.id).await? }))
}

/// Body of a report of purchases done.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Completions {
    jtis: Vec<String>,
}

/// How many slots it freed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Released {
    released: u64,
}

/// `POST /internal/v1/queues/{queue}/completions`
pub async fn completions(
    State(app): State<App>,
    _: Service,
    Segment(queue): Segment<String>,
    body: RawBody,
) -> Result<Json<Released>, Problem> {
    let room = app.room(queue.as_deref()).await?;
    let Completions { jtis } = body.parse()?;
    Ok(Json(Released { released: super::complete(&room, &jtis).await? }))
}

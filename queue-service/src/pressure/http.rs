//! Pressure on the wire.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::extract::RawBody;
use shared::problem::Problem;

use super::Pressure;
use crate::app::App;
use crate::caller::Service;

/// The queues whose rate heeds it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Heeded {
    heeded: u64,
}

/// `POST /internal/v1/pressure`
pub async fn pressure(State(app): State<App>, _: Service, body: RawBody) -> Result<Json<Heeded>, Problem> {
    let pressure: Pressure = body.parse()?;
    if !(1..=64).contains(&pressure.reporter.len()) {
        return Err(Problem::invalid_field("reporter", "must have 1 to 64 bytes"));
    }
    let mut heeded = 0;
    for room in app.rooms.all() {
        heeded += u64::from(super::heed(&room, &pressure).await?);
    }
    Ok(Json(Heeded { heeded }))
}

//! `/admin/v1/audit`.

use axum::Json;
use axum::extract::State;
use shared::problem::Problem;

use super::Audit;
use crate::admitted::Operator;
use crate::app::App;

pub async fn audit(State(app): State<App>, _: Operator) -> Result<Json<Audit>, Problem> {
    Ok(Json(app.books.audit().await?))
}

//! What several features answer alike: 201, and the trouble with the database.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::problem::{Problem, codes};

use crate::db::Error;

/// 201 with a JSON body.
pub struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

/// 503 where it passes, 500 where it is our mistake.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy => {
                Self::new(&codes::OVERLOADED, "Every connection to the database is busy.").because(error)
            }
            Error::Unavailable(_) | Error::Conflict(_) | Error::Locked(_) => {
                Self::unavailable("database", error)
            }
            Error::Constraint(_) | Error::Failed(_) => Self::internal(error),
        }
    }
}

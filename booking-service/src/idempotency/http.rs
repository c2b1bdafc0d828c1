//! The header, and answers that come a second time.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{ErrorResponse, IntoResponse, Response};
use shared::extract::RawBody;
use shared::problem::{Problem, codes};

use super::model::{Intent, MAX_KEY, Remembered, fingerprint, is_key};
use super::{Refusal, find};
use crate::admitted::{Buyer, Caller};
use crate::app::App;

const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Whether a row can do without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Honoured,
}

/// The header as it came, and the endpoint that scopes it; judged by [`KeyHeader::admit`].
pub struct KeyHeader {
    endpoint: String,
    key: Result<Option<String>, Problem>,
}

impl<S: Send + Sync> FromRequestParts<S> for KeyHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { endpoint: parts.uri.path().to_owned(), key: key(&parts.headers) })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() && is_key(text) => Ok(Some(text.to_owned())),
        _ => {
            let message = format!("must be one key of 1 to {MAX_KEY} visible ASCII characters");
            Err(Problem::invalid_field("Idempotency-Key", message))
        }
    }
}

impl KeyHeader {
    /// What stands between a credential and the verb, in the order of refusals: the key, whether the entry token
    /// is spent, the body. A request that gets past all of them is not looked up here: its verb claims the key
    /// in its own transaction, and finds a replay there. Who is refused is looked up first, because a replay comes
    /// before a spent token, and before what is wrong with another body.
    pub async fn admit<R, T>(
        self,
        app: &App,
        buyer: Buyer<R>,
        body: Result<RawBody, Problem>,
        need: Need,
        parse: impl FnOnce(&RawBody) -> Result<T, Problem>,
    ) -> Result<(Caller, Option<Intent>, T), ErrorResponse> {
        let key = self.key?;
        if key.is_none() && need == Need::Required {
            return Err(Problem::new(
                &codes::IDEMPOTENCY_KEY_REQUIRED,
                "Points move only with an Idempotency-Key.",
            )
            .into());
        }
        let body = match body {
            Ok(body) => body,
            Err(problem) => {
                buyer.unspent(&app.door)?;
                return Err(problem.into());
            }
        };
        let (user, endpoint) = (buyer.user().to_owned(), self.endpoint);
        let intent = key.map(|key| Intent { user, endpoint, key, fingerprint: fingerprint(body.bytes()) });
        let admitted = buyer.unspent(&app.door);
        match (admitted.and_then(|caller| Ok((caller, parse(&body)?))), intent) {
            (Ok((caller, wish)), intent) => Ok((caller, intent, wish)),
            (Err(refusal), Some(intent)) => {
                find(&app.db, &intent).await?;
                Err(refusal.into())
            }
            (Err(refusal), None) => Err(refusal.into()),
        }
    }
}

impl IntoResponse for Remembered {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::CREATED);
        let json = HeaderValue::from_static("application/json");
        let headers = [(header::CONTENT_TYPE, json), (REPLAYED, HeaderValue::from_static("true"))];
        (status, headers, self.body).into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Again(remembered) => remembered.into_response(),
            Self::Reused => {
                Problem::new(&codes::IDEMPOTENCY_KEY_REUSED, "The key was used with another body.")
                    .into_response()
            }
            Self::InFlight => {
                Problem::new(&codes::IDEMPOTENCY_IN_FLIGHT, "A request with this key is still running.")
                    .into_response()
            }
            Self::Db(error) => Problem::from(error).into_response(),
        }
    }
}

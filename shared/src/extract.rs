//! Request parts whose refusals are problems.
//!
//! axum's own extractors refuse in text/plain; these say the same in problem+json and name the
//! field. A handler that must decide other things before it looks at the body takes [`RawBody`]
//! and parses later.

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::problem::{Problem, codes};

/// The bearer credential of a request.
///
/// Refuses with `unauthorized` when there is none, `invalid_token` when there is more than one or
/// when it is not a bearer credential.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::new(&codes::UNAUTHORIZED, "There is no Authorization header."));
    };
    let invalid = |detail| Problem::new(&codes::INVALID_TOKEN, detail);
    if values.next().is_some() {
        return Err(invalid("There is more than one Authorization header."));
    }
    let text = value.to_str().map_err(|_| invalid("The Authorization header is not ASCII."))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(invalid("The Authorization header is not `Bearer` and a token."));
    }
    Ok(token)
}

/// The whole body, within the listener's limit, not yet parsed.
#[derive(Clone, Debug)]
pub struct RawBody {
    bytes: Bytes,
    is_json: bool,
}

impl RawBody {
    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Parses the body as JSON of the shape `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !self.is_json {
            return Err(Problem::new(
                &codes::UNSUPPORTED_MEDIA_TYPE,
                "The Content-Type must be application/json.",
            ));
        }
        // serde looks into no string that it skips.
        if std::str::from_utf8(&self.bytes).is_err() {
            return Err(Problem::new(&codes::INVALID_JSON, "The body is not JSON: it is not UTF-8."));
        }
        if self.bytes.trim_ascii_start().starts_with(b"[") && !is_broken(&self.bytes) {
            // serde would take an array for an object, member by member.
            return Err(Problem::invalid_field("body", "must be an object"));
        }
        let mut reader = serde_json::Deserializer::from_slice(&self.bytes);
        let parsed: Result<T, _> = serde_path_to_error::deserialize(&mut reader);
        let parsed = parsed.map_err(|error| shape_problem(&self.bytes, &error))?;
        reader.end().map_err(|error| not_json(&error))?;
        Ok(parsed)
    }
}

/// A broken document is 400 even where its beginning already had the wrong shape.
fn shape_problem(bytes: &[u8], error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if let Err(syntax) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        return not_json(&syntax);
    }
    let field = match error.path().to_string() {
        path if path == "." => "body".to_owned(),
        path => path,
    };
    let message = error.inner().to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    Problem::invalid_field(&field, message)
}

/// For a member that is an object or null. serde would take an array for the object, member by
/// member; this does not.
pub fn object_or_null<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let object: Option<Map<String, Value>> = Deserialize::deserialize(from)?;
    object.map(|object| serde_json::from_value(object.into())).transpose().map_err(D::Error::custom)
}

/// As [`object_or_null`], for a list of objects.
pub fn objects_or_null<'de, T, D>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let objects: Option<Vec<Map<String, Value>>> = Deserialize::deserialize(from)?;
    let parsed = objects.map(|objects| {
        objects.into_iter().map(|object| serde_json::from_value(object.into())).collect::<Result<_, _>>()
    });
    parsed.transpose().map_err(D::Error::custom)
}

fn is_broken(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err()
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(&codes::INVALID_JSON, format!("The body is not JSON: {error}."))
}

/// Marks a request that announced a body larger than its listener takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooLarge;

/// The body of a route that needs none: not read, refused only when it is too large.
#[derive(Clone, Copy, Debug)]
pub struct Unread;

impl<S: Send + Sync> FromRequestParts<S> for Unread {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<TooLarge>().map_or(Ok(Self), |_| Err(too_large()))
    }
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if request.extensions().get::<TooLarge>().is_some() {
            return Err(too_large());
        }
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(is_json_type);
        Ok(Self { bytes: read(request.into_body()).await?, is_json })
    }
}

fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let collected = body.collect().await.map_err(|error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(inner) = source {
            if inner.is::<LengthLimitError>() {
                return too_large();
            }
            source = inner.source();
        }
        Problem::new(&codes::INVALID_JSON, "The body ended before it was whole.")
    })?;
    Ok(collected.to_bytes())
}

fn too_large() -> Problem {
    Problem::new(&codes::BODY_TOO_LARGE, "The body is larger than this listener takes.")
}

/// A JSON body of the shape `T`.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        RawBody::from_request(request, state).await?.parse().map(Self)
    }
}

/// Query parameters of the shape `T`.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| Problem::invalid_field("query", error.body_text()))
    }
}

/// Path parameters of the shape `T`.
///
/// A segment that cannot be parsed names nothing that exists: the handler decides which
/// `…_not_found` that is, so the extractor hands over `None` instead of refusing.
#[derive(Clone, Copy, Debug)]
pub struct Segment<T>(pub Option<T>);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(Some(value))),
            Err(PathRejection::FailedToDeserializePathParams(_)) => Ok(Self(None)),
            Err(error) => Err(Problem::internal(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Shape {
        #[expect(dead_code, reason = "only its parsing matters")]
        amount: i64,
    }

    fn refusal(body: impl AsRef<[u8]>) -> &'static str {
        let raw = RawBody { bytes: Bytes::copy_from_slice(body.as_ref()), is_json: true };
        raw.parse::<Shape>().unwrap_err().code().word
    }

    #[test]
    fn broken_json_and_wrong_shapes_are_told_apart() {
        assert_eq!(refusal("{"), "invalid_json");
        assert_eq!(refusal(""), "invalid_json");
        assert_eq!(refusal(r#"{"amount":1} x"#), "invalid_json");
        assert_eq!(refusal(r#"{"amount":"1","#), "invalid_json");
        assert_eq!(refusal("[1"), "invalid_json");
        assert_eq!(refusal(b"{\"amount\":1,\"x\":\"\xff\"}"), "invalid_json");
        assert_eq!(refusal("[1]"), "invalid_request");
        assert_eq!(refusal("{}"), "invalid_request");
        assert_eq!(refusal(r#"{"amount":1.5}"#), "invalid_request");
        assert_eq!(refusal(r#"{"amount":9223372036854775808}"#), "invalid_request");
    }

    #[test]
    fn one_bearer_credential_and_no_more() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers).unwrap_err().code().word, "unauthorized");
        headers.insert(header::AUTHORIZATION, "Basic eDp5".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap_err().code().word, "invalid_token");
        headers.insert(header::AUTHORIZATION, "bearer  abc".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap(), "abc");
        headers.append(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap_err().code().word, "invalid_token");
    }
}

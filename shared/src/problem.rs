//! Refusals, as RFC 9457 problem+json.
//!
//! A [`Code`] is one named refusal: its word is part of the contract, its status and title never
//! vary. A [`Problem`] is one occurrence: what the client may read (`detail`, extra members) and,
//! for the log only, what lay behind it. Domain modules have their own refusal enums and know
//! nothing of HTTP; their `http.rs` turns those into problems.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A named refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable machine word.
    pub word: &'static str,
    /// The HTTP status it is always answered with.
    pub status: u16,
    /// One sentence, the same every time.
    pub title: &'static str,
    /// What a client should do about it.
    pub advice: &'static str,
}

/// Declares [`Code`] constants: `NAME = "word", status, "title", "advice";`
#[macro_export]
macro_rules! problem_codes {
    ($($name:ident = $word:literal, $status:literal, $title:literal, $advice:literal;)+) => {
        $(
            #[doc = concat!("`", $word, "`: ", $title, ".")]
            pub static $name: $crate::problem::Code = $crate::problem::Code {
                word: $word, status: $status, title: $title, advice: $advice,
            };
        )+
        /// Every code of this table.
        pub static ALL: &[&$crate::problem::Code] = &[$(&$name),+];
    };
}

/// The general codes, that any endpoint may answer.
pub mod codes {
    crate::problem_codes! {
        UNAUTHORIZED = "unauthorized", 401, "A credential is needed", "Send `Authorization: Bearer …`.";
        INVALID_TOKEN = "invalid_token", 401, "The credential is not valid", "Get a new token; do not retry with this one.";
        FORBIDDEN = "forbidden", 403, "The credential does not allow this", "Use another credential.";
        NOT_FOUND = "not_found", 404, "There is nothing at this path", "Check the path against `/openapi.json`.";
        METHOD_NOT_ALLOWED = "method_not_allowed", 405, "The path does not take this method", "See the `Allow` header.";
        INVALID_JSON = "invalid_json", 400, "The body is not JSON", "Mend the body.";
        INVALID_REQUEST = "invalid_request", 422, "The request has the wrong shape", "See `errors` for the fields.";
        UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "The body must be JSON", "Send `Content-Type: application/json`.";
        BODY_TOO_LARGE = "body_too_large", 413, "The body is too large", "Send less.";
        IDEMPOTENCY_KEY_REQUIRED = "idempotency_key_required", 400, "An `Idempotency-Key` header is needed", "Make a key per intent and send it again on every retry.";
        IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", 422, "The key was used with another body", "Use a new key for a new intent.";
        IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight", 409, "A request with this key is still running", "Retry shortly with the same key.";
        RATE_LIMITED = "rate_limited", 429, "Too many requests", "Wait for `Retry-After` seconds.";
        TIMEOUT = "timeout", 503, "The request took too long", "Retry after `Retry-After` seconds; use the same idempotency key.";
        OVERLOADED = "overloaded", 503, "The service is at its limit", "Retry after `Retry-After` seconds.";
        UNAVAILABLE = "unavailable", 503, "A part that is needed is down", "Retry after `Retry-After` seconds.";
        INTERNAL = "internal", 500, "Something went wrong here", "Report the `request_id`.";
    }
}

/// One occurrence of a refusal.
#[derive(Debug)]
pub struct Problem {
    code: &'static Code,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    retry_after_seconds: Option<u32>,
    cause: Option<String>,
    is_usual: bool,
}

impl Problem {
    /// A problem that says `detail` to the client.
    pub fn new(code: &'static Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_seconds = matches!(code.status, 429 | 503).then_some(1);
        Self {
            code,
            detail: detail.into(),
            members: Map::new(),
            retry_after_seconds,
            cause: None,
            is_usual: false,
        }
    }

    /// 422 for one field.
    pub fn invalid_field(field: &str, message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        Self::new(&codes::INVALID_REQUEST, format!("{field}: {message}"))
            .with("errors", json!([{ "field": field, "message": message }]))
    }

    /// 500; `cause` goes to the log, never to the client.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(&codes::INTERNAL, "The request could not be carried out.").because(cause)
    }

    /// 503; `what` is named to the client, `cause` to the log.
    pub fn unavailable(what: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::new(&codes::UNAVAILABLE, format!("The {what} does not answer.")).because(cause)
    }

    /// Adds a member to the body.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Sets `Retry-After`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds.max(1));
        self
    }

    /// Keeps a cause for the log.
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// A refusal of 503 that is no failure of ours: it is logged as those below 500 are.
    pub fn usual(mut self) -> Self {
        self.is_usual = true;
        self
    }

    /// The same occurrence under another code, where a route names its refusal more closely.
    pub fn renamed(mut self, code: &'static Code) -> Self {
        self.code = code;
        self
    }

    /// Whether it is the [`Problem::invalid_field`] of this field.
    pub fn is_about(&self, field: &str) -> bool {
        self.members.get("errors").is_some_and(|errors| errors[0]["field"] == field)
    }

    /// Which refusal this is.
    pub fn code(&self) -> &'static Code {
        self.code
    }

    fn body(&self) -> Value {
        let mut body = self.members.clone();
        body.insert("type".into(), format!("urn:problem:{}", self.code.word).into());
        body.insert("title".into(), self.code.title.into());
        body.insert("status".into(), self.code.status.into());
        body.insert("detail".into(), self.detail.as_ref().into());
        body.insert("code".into(), self.code.word.into());
        body.insert("request_id".into(), crate::request::current_id().into());
        Value::Object(body)
    }
}

/// Kept on the response for the log line and the metrics of the layer stack.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub code: &'static str,
    pub cause: Option<String>,
    pub is_usual: bool,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let (code, cause, is_usual) = (self.code.word, self.cause, self.is_usual);
        response.extensions_mut().insert(Refused { code, cause, is_usual });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_six_members_and_its_own() {
        let body = Problem::invalid_field("amount", "must be 1 or more").body();
        for member in ["type", "title", "status", "detail", "code", "request_id", "errors"] {
            assert!(body.get(member).is_some(), "{member} is missing");
        }
        assert_eq!(body["status"], 422);
        assert_eq!(body["code"], "invalid_request");
    }

    #[test]
    fn refusals_that_pass_carry_retry_after_and_no_cause() {
        let response = Problem::unavailable("database", "password=hunter2").into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!Problem::internal("secret").body().to_string().contains("secret"));
    }
}

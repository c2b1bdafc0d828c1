//! What came back.

use std::ops::Index;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use serde_json::Value;

const MEMBERS: [&str; 6] = ["type", "title", "status", "detail", "code", "request_id"];

/// One answer. Index it by the name of a member of its JSON body.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null when it is not JSON.
    pub body: Value,
    /// Method and path, for messages.
    pub asked: String,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {} {}", self.asked, self.status, self.text)
    }
}

impl Index<&str> for Answer {
    type Output = Value;

    fn index(&self, member: &str) -> &Value {
        &self.body[member]
    }
}

impl Answer {
    pub(crate) fn new(asked: String, status: u16, headers: HeaderMap, text: String) -> Self {
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, text, body, asked }
    }

    /// Demands this status.
    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status, status, "expected {status}: {self:?}");
        self
    }

    /// Demands this refusal by name.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let named = self.code().unwrap_or("(no code)");
        assert!(self.status == status && named == code, "expected {status} {code}: {self:?}");
        self
    }

    /// Demands any refusal of the client's making.
    #[track_caller]
    pub fn refused_somehow(self) -> Self {
        assert!((400..500).contains(&self.status), "expected a 4xx: {self:?}");
        self
    }

    /// The name of the refusal, if it is one.
    pub fn code(&self) -> Option<&str> {
        self.body["code"].as_str().filter(|_| self.status >= 400)
    }

    /// `201`, or `409 seat_taken`.
    pub fn outcome(&self) -> String {
        self.code().map_or_else(|| self.status.to_string(), |code| format!("{} {code}", self.status))
    }

    /// A text member.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        self[member].as_str().unwrap_or_else(|| panic!("{member} is no text: {self:?}")).to_owned()
    }

    /// A whole-number member.
    #[track_caller]
    pub fn int(&self, member: &str) -> i64 {
        self[member].as_i64().unwrap_or_else(|| panic!("{member} is no whole number: {self:?}"))
    }

    /// A time member, RFC 3339 in UTC.
    #[track_caller]
    pub fn time(&self, member: &str) -> DateTime<Utc> {
        let text = self.text(member);
        assert!(text.ends_with('Z'), "{member} is not in UTC: {self:?}");
        let parsed = DateTime::parse_from_rfc3339(&text);
        parsed.unwrap_or_else(|_| panic!("{member} is no RFC 3339 time: {self:?}")).to_utc()
    }

    /// An array member.
    #[track_caller]
    pub fn list(&self, member: &str) -> &[Value] {
        self[member].as_array().unwrap_or_else(|| panic!("{member} is no list: {self:?}"))
    }

    /// An array of whole numbers.
    #[track_caller]
    pub fn ints(&self, member: &str) -> Vec<i64> {
        self.list(member).iter().filter_map(Value::as_i64).collect()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Demands what every answer owes: its request id, and of a refusal the whole problem.
    pub(crate) fn check(&self) {
        let id = self.header("x-request-id");
        assert!(id.is_some(), "no x-request-id: {self:?}");
        if self.status < 400 {
            return;
        }
        let media = self.header("content-type").unwrap_or_default();
        assert!(media.starts_with("application/problem+json"), "not a problem ({media}): {self:?}");
        for member in MEMBERS {
            assert!(!self[member].is_null(), "the problem has no {member}: {self:?}");
        }
        assert_eq!(self["status"], self.status, "the problem's status: {self:?}");
        assert_eq!(self["request_id"].as_str(), id, "the problem's request_id: {self:?}");
        if matches!(self.status, 429 | 503) {
            let seconds = self.header("retry-after").and_then(|text| text.parse::<u32>().ok());
            assert!(seconds.is_some_and(|seconds| seconds >= 1), "no Retry-After: {self:?}");
        }
    }
}

/// Whether `value` is a UUIDv7 in its usual form.
pub fn is_uuid_v7(value: &Value) -> bool {
    let parsed = value.as_str().and_then(|text| uuid::Uuid::parse_str(text).ok());
    parsed.is_some_and(|id| id.get_version_num() == 7)
}

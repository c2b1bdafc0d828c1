//! Requests to the booking service, and its answers.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;

use crate::crowd::Findings;
use crate::http::{Answer, Failure, get, post, request};
use crate::line::KNOWN;

const AGAIN: Duration = Duration::from_secs(1);

pub fn ask_map(schedule: &str, token: &str, into: &mut Vec<u8>) {
    into.extend(get(&format!("/v1/schedules/{schedule}/seats"), Some(token)));
}

pub fn ask_hold(schedule: &str, seats: &[u32], token: &str, into: &mut Vec<u8>) {
    let body = format!(r#"{{"schedule_id":"{schedule}","seat_numbers":{seats:?}}}"#);
    into.extend(post("/v1/reservations", Some(token), &body));
}

pub fn ask_pay(reservation: &str, token: &str, into: &mut Vec<u8>) {
    into.extend(post("/v1/payments", Some(token), &format!(r#"{{"reservation_id":"{reservation}"}}"#)));
}

pub fn ask_release(reservation: &str, token: &str, into: &mut Vec<u8>) {
    into.extend(request("DELETE", &format!("/v1/reservations/{reservation}"), Some(token), &[], None));
}

pub fn ask_refund(payment: &str, token: &str, into: &mut Vec<u8>) {
    into.extend(post(&format!("/v1/payments/{payment}/refund"), Some(token), "{}"));
}

/// Charges want a key; a person charges once.
pub fn ask_charge(amount: i64, key: &str, token: &str, into: &mut Vec<u8>) {
    let (headers, body) = ([("idempotency-key", key)], format!(r#"{{"amount":{amount}}}"#));
    into.extend(request("POST", "/v1/points/charges", Some(token), &headers, Some(&body)));
}

/// What a booking service said.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// As asked.
    Yes,
    /// By a refusal that people meet.
    No(u16),
    /// Nobody could answer: to be tried again.
    Later(Duration),
    /// There was no answer: it may have been done.
    Silence,
    /// What nobody should say.
    Odd,
}

/// Refusals that shoppers meet who do nothing wrong.
pub const SCHEDULE_CODES: [(u16, &str); 4] =
    [(409, "seat_taken"), (409, "not_held"), (410, "hold_expired"), (409, "already_refunded")];

/// Sorts an answer; `refusals` are those that people meet there.
pub fn answered(
    answer: Result<&Answer<'_>, Failure>,
    refusals: &[(u16, &str)],
    findings: &Findings,
) -> Answered {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::NotConnected) => return Answered::Later(AGAIN),
        Err(_) => return Answered::Silence,
    };
    match (answer.status, answer.code()) {
        (200..=299, _) => Answered::Yes,
        (429, "rate_limited") | (503, "overloaded" | "unavailable") => {
            Answered::Later(answer.retry_after.unwrap_or(AGAIN))
        }
        (503, "timeout") => Answered::Silence,
        found if refusals.contains(&found) => Answered::No(found.0),
        (status, code) => {
            findings.broken(KNOWN, || format!("booking: {status} {code}"));
            Answered::Odd
        }
    }
}

/// An answered hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Hold {
    pub id: Box<str>,
    pub amount: i64,
    pub expires_ms: i64,
    pub seats: Vec<u32>,
}

impl Hold {
    /// `None`: that is no reservation.
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Seat {
            number: u32,
        }
        #[derive(Deserialize)]
        struct Body<'a> {
            reservation_id: &'a str,
            amount: i64,
            expires_at: &'a str,
            seats: Vec<Seat>,
        }
        let body: Body<'_> = serde_json::from_slice(body).ok()?;
        let expires = DateTime::parse_from_rfc3339(body.expires_at).ok()?;
        let seats = body.seats.into_iter().map(|seat| seat.number).collect();
        let (id, expires_ms) = (body.reservation_id.into(), expires.timestamp_millis());
        Some(Self { id, amount: body.amount, expires_ms, seats })
    }
}

/// The seats that a refusal names.
pub fn taken(body: &[u8]) -> Option<Vec<u32>> {
    #[derive(Deserialize)]
    struct Body {
        seat_numbers: Vec<u32>,
    }
    serde_json::from_slice::<Body>(body).ok().map(|body| body.seat_numbers)
}

/// The member of that name, a whole number.
pub fn number_of(body: &[u8], name: &str) -> Option<i64> {
    serde_json::from_slice::<serde_json::Value>(body).ok()?.get(name)?.as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_read() {
        let body = br#"{"reservation_id":"r","status":"held","seats":[{"number":4,"price":5}],"amount":5,
            "expires_at":"1970-01-01T00:00:01.250Z"}"#;
        let expected = Hold { id: "r".into(), amount: 5, expires_ms: 1250, seats: vec![4] };
        assert_eq!(Hold::read(body), Some(expected));
        assert_eq!(Hold::read(b"{}"), None);
    }

    #[test]
    fn refusals_are_told_from_failures_and_from_what_nobody_should_say() {
        let findings = Findings::default();
        let sort = |status, code: &str| {
            let body = format!(r#"{{"code":"{code}"}}"#);
            let answer = Answer { status, retry_after: None, head: b"", body: body.as_bytes() };
            answered(Ok(&answer), &SCHEDULE_CODES, &findings)
        };
        assert_eq!(sort(409, "seat_taken"), Answered::No(409));
        assert_eq!(sort(503, "overloaded"), Answered::Later(AGAIN));
        assert_eq!(findings.of(KNOWN), None);
        assert_eq!(sort(500, "internal"), Answered::Odd);
        assert_eq!(sort(409, "seat_stolen"), Answered::Odd);
        assert_eq!(findings.of(KNOWN).unwrap().times, 2);
    }
}

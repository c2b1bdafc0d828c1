//! What a person in line asks the queue service, and what the answers must keep.
//!
//! | promise | judged by |
//! |---|---|
//! | [`NO_RISE`] | the lowest position that this person was told |
//! | [`FROM_ONE`] | each answer |
//! | [`KNOWN`] | status and code of each answer; 5xx and silence are errors, and are counted as such |

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde::Deserialize;

use crate::crowd::Findings;
use crate::http::{Answer, Failure, get, post, request};

pub const NO_RISE: &str = "no position rises";
pub const FROM_ONE: &str = "positions are 1 or more";
pub const KNOWN: &str = "every answer is one of the documented ones";

/// Who could not be answered asks again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// Somebody's place, or the wish for one.
#[derive(Debug)]
pub struct Stay {
    /// The user token, and once there is a place its queue token.
    token: Box<str>,
    lowest: u64,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Waiting {
        /// None before the opening.
        position: Option<u64>,
        /// People in line.
        waiting: u64,
        /// When to poll next.
        after: Duration,
    },
    /// Let in, at this moment (ms since 1970).
    Active { admitted_ms: i64, entry: Box<str> },
    /// The queue takes nobody any more, or has been dissolved.
    Closed,
    /// The place is no more.
    Ended,
    /// Left.
    Left,
    /// Nobody could answer: to be tried again.
    Later(Duration),
    /// What nobody should say.
    Odd,
}

#[derive(Deserialize)]
struct Answered<'a> {
    status: &'a str,
    position: Option<u64>,
    waiting: u64,
    poll_after_ms: u64,
    queue_token: &'a str,
    admitted_at: Option<&'a str>,
    entry_token: Option<&'a str>,
}

impl Stay {
    /// Not in line yet.
    pub fn of(user_token: String) -> Self {
        Self { token: user_token.into(), lowest: u64::MAX }
    }

    pub fn ask_join(&self, queue: &str, into: &mut Vec<u8>) {
        into.extend(post(&format!("/v1/queues/{queue}/tokens"), Some(&self.token), "{}"));
    }

    pub fn ask_poll(&self, queue: &str, into: &mut Vec<u8>) {
        into.extend(get(&format!("/v1/queues/{queue}/tokens/me"), Some(&self.token)));
    }

    pub fn ask_leave(&self, queue: &str, into: &mut Vec<u8>) {
        into.extend(request(
            "DELETE",
            &format!("/v1/queues/{queue}/tokens/me"),
            Some(&self.token),
            &[],
            None,
        ));
    }

    /// Hears the answer to any of these.
    pub fn hear(&mut self, answer: Result<&Answer<'_>, Failure>, findings: &Findings) -> Said {
        let Ok(answer) = answer else { return Said::Later(AGAIN) };
        match (answer.status, answer.code()) {
            (200 | 201, _) => self.told(answer.body, findings),
            (204, _) => Said::Left,
            (410, "queue_closed") | (503, "queue_closed" | "queue_draining") => Said::Closed,
            (410, "token_expired" | "token_left" | "token_completed" | "token_replaced") => Said::Ended,
            (429, "rate_limited") | (503, "overloaded" | "unavailable" | "timeout") => {
                Said::Later(answer.retry_after.unwrap_or(AGAIN))
            }
            (status, code) => {
                findings.broken(KNOWN, || format!("queue: {status} {code}"));
                Said::Odd
            }
        }
    }

    fn told(&mut self, body: &[u8], findings: &Findings) -> Said {
        let said: Option<Said> =
            serde_json::from_slice(body).ok().and_then(|status| self.read(&status, findings));
        said.unwrap_or_else(|| {
            findings.broken(KNOWN, || String::from_utf8_lossy(body).into_owned());
            Said::Odd
        })
    }

    fn read(&mut self, status: &Answered<'_>, findings: &Findings) -> Option<Said> {
        if *self.token != *status.queue_token {
            self.token = status.queue_token.into();
        }
        if status.status == "active" {
            let admitted = DateTime::parse_from_rfc3339(status.admitted_at?).ok()?;
            let entry = status.entry_token?.into();
            return Some(Said::Active { admitted_ms: admitted.timestamp_millis(), entry });
        }
        let after = Duration::from_millis(status.poll_after_ms);
        if status.status == "scheduled" {
            return Some(Said::Waiting { position: None, waiting: status.waiting, after });
        }
        let position = status.position.filter(|_| status.status == "waiting")?;
        findings.expect(position >= 1, FROM_ONE, || format!("{position}"));
        findings.expect(position <= self.lowest, NO_RISE, || format!("from {} to {position}", self.lowest));
        self.lowest = self.lowest.min(position);
        Some(Said::Waiting { position: Some(position), waiting: status.waiting, after })
    }
}

/// The `jti` of an entry token.
pub fn jti_of(entry: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        jti: String,
    }
    let claims = URL_SAFE_NO_PAD.decode(entry.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.jti)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer<'_> {
        Answer { status, retry_after: None, head: b"", body: body.as_bytes() }
    }

    fn waiting(position: u64) -> String {
        format!(
            r#"{{"status":"waiting","position":{position},"waiting":9,"poll_after_ms":1500,"queue_token":"qt_1"}}"#
        )
    }

    #[test]
    fn a_position_that_rises_is_found_and_one_that_falls_is_not() {
        let (mut stay, findings) = (Stay::of("user".into()), Findings::default());
        for position in [7, 7, 3, 4] {
            let said = stay.hear(Ok(&answer(200, &waiting(position))), &findings);
            assert_eq!(
                said,
                Said::Waiting { position: Some(position), waiting: 9, after: Duration::from_millis(1500) }
            );
        }
        assert_eq!(findings.of(NO_RISE).unwrap().examples, ["from 3 to 4"]);
        stay.hear(Ok(&answer(200, &waiting(0))), &findings);
        assert_eq!(findings.of(FROM_ONE).unwrap().times, 1);
        assert_eq!(findings.of(KNOWN), None);
    }

    #[test]
    fn answers_nobody_knows_are_found() {
        let (mut stay, findings) = (Stay::of("user".into()), Findings::default());
        for (status, code, expected) in [
            (410, "queue_closed", Said::Closed),
            (503, "overloaded", Said::Later(AGAIN)),
            (418, "tea", Said::Odd),
        ] {
            let body = format!(r#"{{"code":"{code}"}}"#);
            assert_eq!(stay.hear(Ok(&answer(status, &body)), &findings), expected);
        }
        assert_eq!(stay.hear(Ok(&answer(200, "{}")), &findings), Said::Odd);
        assert_eq!(stay.hear(Err(Failure::Closed), &findings), Said::Later(AGAIN));
        assert_eq!(findings.of(KNOWN).unwrap().times, 2);
    }
}

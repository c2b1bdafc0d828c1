//! When a store is away every request fails alike: that is said once a second, not once a request.
//!
//! ```text
//!   refused ─ a line of this code within the last second? ─ no ──▶ a line, with how many had none
//!                                                         └ yes ─▶ counted for the next line
//! ```
//!
//! One entry a code, and codes are declared, so it is small. What comes after the last line of an
//! outage is in the metrics alone.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub struct Quiet {
    codes: Mutex<Vec<Said>>,
}

struct Said {
    code: Option<&'static str>,
    at: Instant,
    others: u64,
}

impl Quiet {
    /// Whether a refusal with `code` may have its line; then, how many since the last one had none.
    pub fn turn(&self, code: Option<&'static str>, now: Instant) -> Option<u64> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(said) = codes.iter_mut().find(|said| said.code == code) else {
            codes.push(Said { code, at: now, others: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(said.at) < PAUSE {
            said.others += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.others))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;
    use crate::problem::{Problem, codes};
    use crate::serve::{Stack, layers};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn each_code_has_a_line_a_second_that_counts_the_others() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let turn = |code, ms| quiet.turn(Some(code), start + Duration::from_millis(ms));
        assert_eq!(turn("unavailable", 0), Some(0));
        assert_eq!(turn("unavailable", 10), None);
        assert_eq!(turn("timeout", 20), Some(0));
        assert_eq!(turn("unavailable", 999), None);
        assert_eq!(turn("unavailable", 1000), Some(2));
        assert_eq!(turn("unavailable", 1999), None);
        assert_eq!(turn("timeout", 5000), Some(0));
        assert_eq!(turn("unavailable", 5000), Some(1));
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_crowd_that_is_not_served_is_few_lines_and_a_failure_is_one_each() {
        let lines = Lines::default();
        let log = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone()).finish();
        let _log = tracing::subscriber::set_default(subscriber);
        let routes = Router::new()
            .route("/down", get(async || Problem::unavailable("database", "refused")))
            .route("/crowded", get(async || Problem::new(&codes::UNAVAILABLE, "Others.").usual()))
            .route("/broken", get(async || Problem::internal("a fault")));
        let routes =
            layers::around(routes, Stack::new("test", 1024, &crate::serve::tests::settings()).into());
        for path in ["/crowded", "/down", "/broken"] {
            for _ in 0..50 {
                let request = Request::get(path).body(Body::empty()).unwrap();
                routes.clone().oneshot(request).await.unwrap();
            }
        }
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |what: &str| lines.lines().filter(|line| line.contains(what)).count();
        // One a second; a slow machine may need a few of them.
        assert!((1..10).contains(&count("request not served")), "{lines}");
        assert_eq!(count("request failed"), 50, "{lines}");
        assert_eq!(lines.lines().count(), count("request not served") + 50, "{lines}");
    }
}

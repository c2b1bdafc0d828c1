//! The metrics of requests.
//!
//! ```text
//!   answered ─ route, method, status known? ─ yes ──────────────▶ counter, histogram
//!                                           └ no ─ registered ──▶
//! ```
//!
//! A handle is registered once and found again by what the request is; to name it by its labels each
//! time costs several allocations and look-ups in the recorder. Bounded: routes and statuses are
//! declared, and methods that clients invent are one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

/// The handles of one listener, by route.
pub struct Tally {
    listener: &'static str,
    known: ArcSwap<HashMap<String, Vec<Handles>>>,
}

#[derive(Clone)]
struct Handles {
    method: &'static str,
    status: StatusCode,
    requests: Counter,
    duration: Histogram,
}

impl Tally {
    pub fn new(listener: &'static str) -> Self {
        Self { listener, known: ArcSwap::default() }
    }

    /// Counts one answer.
    pub fn count(&self, route: &str, method: &Method, status: StatusCode, elapsed: Duration) {
        let method = method_label(method);
        let is_it = |handles: &&Handles| handles.method == method && handles.status == status;
        let known = self.known.load();
        if let Some(handles) = known.get(route).and_then(|of_route| of_route.iter().find(is_it)) {
            return handles.note(elapsed);
        }
        let handles = Handles::register(self.listener, route, method, status);
        handles.note(elapsed);
        // Two threads may register the same at once: it is the same counter, whichever is found later.
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.entry(route.to_owned()).or_default().push(handles.clone());
            Arc::new(known)
        });
    }
}

impl Handles {
    fn register(listener: &'static str, route: &str, method: &'static str, status: StatusCode) -> Self {
        let labels = [
            ("listener", listener.to_owned()),
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        Self {
            method,
            status,
            requests: counter!("http_requests_total", &labels),
            duration: histogram!("http_request_duration_seconds", &labels[..3]),
        }
    }

    fn note(&self, elapsed: Duration) {
        self.requests.increment(1);
        self.duration.record(elapsed.as_secs_f64());
    }
}

/// Clients may invent methods, and every label is kept for ever.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_counts_under_its_own_labels() {
        crate::telemetry::install_metrics().unwrap();
        let tally = Tally::new("tally-test");
        let invented = Method::from_bytes(b"INVENTED").unwrap();
        for method in [&Method::GET, &Method::GET, &Method::POST, &invented] {
            tally.count("/{a}", method, StatusCode::OK, Duration::from_millis(3));
        }
        tally.count("/{a}", &Method::GET, StatusCode::NOT_FOUND, Duration::from_millis(3));
        tally.count("/{b}", &Method::GET, StatusCode::OK, Duration::from_millis(3));
        let text = crate::telemetry::render_metrics();
        let of = |method: &str, route: &str, status: &str| {
            let labels =
                format!(r#"listener="tally-test",method="{method}",route="{route}",status="{status}"}} "#);
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("http_requests_total{")?.strip_prefix(&labels));
            line.map(|count| count.parse::<u64>().unwrap())
        };
        assert_eq!((of("GET", "/{a}", "200"), of("POST", "/{a}", "200")), (Some(2), Some(1)), "{text}");
        assert_eq!((of("other", "/{a}", "200"), of("GET", "/{a}", "404")), (Some(1), Some(1)), "{text}");
        assert_eq!((of("GET", "/{b}", "200"), of("INVENTED", "/{a}", "200")), (Some(1), None), "{text}");
        let timed =
            r#"http_request_duration_seconds_count{listener="tally-test",method="GET",route="/{a}"} 3"#;
        assert!(text.contains(timed), "{text}");
    }
}

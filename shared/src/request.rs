//! The request that is being worked on, as its log lines and its refusals name it.
//!
//! ```text
//!   serve/layers.rs: Asked::around ── the handler and what it awaits ─┬─ a problem  ─▶ `request_id`
//!                                                                     └─ a log line ─▶ `span`
//! ```
//!
//! It stands in place of a span, which is written down for every request, while this is written only
//! into the lines that are logged: hardly any request logs one, and the span cost more than an
//! answer. A task that a request spawns does not know it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use axum::extract::MatchedPath;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::{LogFormat, TraceContext};

pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_HEADER: HeaderName = HeaderName::from_static("traceparent");
const MAX_REQUEST_ID: usize = 128;

tokio::task_local! {
    static CURRENT: Arc<Asked>;
}

/// What is known of a request before it is answered.
pub(crate) struct Asked {
    /// Visible ASCII.
    pub id: HeaderValue,
    pub method: Method,
    trace: Option<TraceContext>,
    route: RouteName,
}

/// The route as it is declared: no path that a client invented.
pub(crate) enum RouteName {
    Declared(&'static str),
    Matched(MatchedPath),
    Unmatched,
}

impl Asked {
    pub fn of(method: &Method, headers: &HeaderMap, route: RouteName) -> Self {
        let trace = headers.get(TRACE_HEADER).and_then(|value| value.to_str().ok());
        Self {
            id: request_id(headers),
            method: method.clone(),
            trace: trace.and_then(TraceContext::parse),
            route,
        }
    }

    /// The route as it is declared.
    pub fn route(&self) -> &str {
        match &self.route {
            RouteName::Declared(route) => route,
            RouteName::Matched(route) => route.as_str(),
            RouteName::Unmatched => "unmatched",
        }
    }

    /// Does for this request what `work` makes of it.
    pub fn around<W: Future>(self, work: impl FnOnce(Arc<Self>) -> W) -> impl Future<Output = W::Output> {
        let asked = Arc::new(self);
        CURRENT.scope(asked.clone(), work(asked))
    }

    /// As [`Asked::around`], for work that does not wait.
    pub fn during<T>(self, work: impl FnOnce(&Self) -> T) -> T {
        let asked = Arc::new(self);
        CURRENT.sync_scope(asked.clone(), || work(&asked))
    }

    fn as_json(&self) -> serde_json::Value {
        let mut span = serde_json::json!({
            "name": "request",
            "request_id": self.id.to_str().unwrap_or_default(),
            "method": self.method.as_str(),
            "route": self.route(),
        });
        if let Some(trace) = &self.trace {
            span["trace_id"] = trace.trace_id.as_str().into();
        }
        span
    }
}

/// The id of the request that is being worked on.
pub(crate) fn current_id() -> Option<String> {
    CURRENT.try_with(|asked| asked.id.to_str().unwrap_or_default().to_owned()).ok()
}

/// The client's id when it is short and visible ASCII, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_decent = |id: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID_HEADER).filter(is_decent).cloned().unwrap_or_else(new_id)
}

/// A UUIDv7 whose random part does not ask the kernel: it orders nothing and opens nothing.
#[expect(clippy::disallowed_methods, reason = "a request id orders nothing and opens nothing")]
fn new_id() -> HeaderValue {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(now.as_millis()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid();
    let mut text = uuid::Uuid::encode_buffer();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)).unwrap_or(HeaderValue::from_static("-"))
}

/// Log lines of `inner` that name the request they were logged in.
pub(crate) struct Lines<F> {
    pub inner: F,
    pub form: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Ok(asked) = CURRENT.try_with(Clone::clone) else {
            return self.inner.format_event(context, to, event);
        };
        let span = asked.as_json();
        if self.form == LogFormat::Pretty {
            write!(to, "{span} ")?;
            return self.inner.format_event(context, to, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(open) => writeln!(to, "{open},\"span\":{span}}}"),
            None => to.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn asked(headers: &[(&str, &str)]) -> Asked {
        let header = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        Asked::of(&Method::POST, &headers.iter().map(header).collect(), RouteName::Unmatched)
    }

    #[test]
    fn an_id_that_is_not_decent_is_replaced_by_a_new_one() {
        assert_eq!(asked(&[("x-request-id", "mine-1")]).id, "mine-1");
        let (first, second) = (asked(&[]).id, asked(&[("x-request-id", "not mine")]).id);
        assert_ne!(first, second);
        for id in [first, second] {
            let id: uuid::Uuid = id.to_str().unwrap().parse().unwrap();
            assert_eq!(id.get_version_num(), 7);
        }
    }

    #[tokio::test]
    async fn a_line_that_is_logged_while_a_request_is_worked_on_names_it() {
        for form in [LogFormat::Json, LogFormat::Pretty] {
            let log = Log::default();
            let to = log.clone();
            let _log = tracing::subscriber::set_default(
                crate::telemetry::subscriber(form, "info", move || to.clone()).unwrap(),
            );
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
            let traced = format!("00-{trace}-00f067aa0ba902b7-01");
            let asked = asked(&[("x-request-id", "id-of-mine"), ("traceparent", &traced)]);
            asked.around(|_| async { tracing::warn!(count = 3, "deep inside") }).await;
            tracing::info!("of nobody");
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            let (first, second) = text.trim_end().split_once('\n').unwrap();
            assert!(!second.contains("id-of-mine"), "{second}");
            if form == LogFormat::Pretty {
                assert!(
                    ["id-of-mine", trace, "deep inside"].iter().all(|word| first.contains(word)),
                    "{first}"
                );
                continue;
            }
            let line: serde_json::Value = serde_json::from_str(first).unwrap();
            assert_eq!((&line["message"], &line["count"]), (&"deep inside".into(), &3.into()), "{line}");
            let span = serde_json::json!({
                "name": "request", "request_id": "id-of-mine", "method": "POST", "route": "unmatched", "trace_id": trace,
            });
            assert_eq!(line["span"], span);
        }
    }
}

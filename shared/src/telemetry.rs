//! Logs and metrics.
//!
//! Logs are JSON lines (or pretty text for a person) on stdout, each with the `span` of its
//! request (`request.rs`): its `request_id` and, where a `traceparent` came, `trace_id`. Tokens,
//! secrets and user ids are never logged. Metrics are Prometheus text on the ops listener.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use crate::request::Lines;

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for a person.
    Pretty,
}

/// Settings of the log.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryConfig {
    /// Form of the log lines.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// What is logged, in the syntax of tracing-subscriber's EnvFilter.
    #[arg(long, env = "LOG_FILTER", default_value = "info")]
    pub log_filter: String,
}

/// Seconds; fine where answers usually are, coarse where they hurt.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Installs the log for the life of the process.
pub fn init(config: &TelemetryConfig) -> Result<(), String> {
    let subscriber = subscriber(config.log_format, &config.log_filter, std::io::stdout)?;
    subscriber.try_init().map_err(|error| format!("the log cannot be installed: {error}"))
}

/// What `filter` lets through, line by line.
pub(crate) fn subscriber<W>(
    form: LogFormat,
    filter: &str,
    to: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("LOG_FILTER cannot be read: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(to);
    Ok(match form {
        LogFormat::Json => {
            let inner =
                fmt::format().json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(registry.with(lines.fmt_fields(JsonFields::new()).event_format(Lines { inner, form })))
        }
        LogFormat::Pretty => {
            let inner = fmt::format().compact();
            Box::new(registry.with(lines.event_format(Lines { inner, form })))
        }
    })
}

/// The process's recorder of metrics. The `metrics` crate has one recorder a process, so this is
/// the one static: several services in one test process share it.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &LATENCY_BUCKETS)
                .ok()?
                .install_recorder()
                .ok()
        })
        .as_ref()
}

/// Installs the recorder, so that metrics set before the first scrape are kept.
pub fn install_metrics() -> Result<(), String> {
    recorder().map(|_| ()).ok_or_else(|| "the metrics recorder cannot be installed".to_owned())
}

/// All metrics, as Prometheus text.
pub fn render_metrics() -> String {
    recorder().map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps the recorder's memory bounded; runs until dropped.
pub async fn upkeep() {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}

/// A W3C trace context: which trace a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 lower-case hex digits.
    pub trace_id: String,
}

impl TraceContext {
    /// Parses a `traceparent` header; `None` for anything that the specification refuses.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let version = parts.next().filter(|part| is_hex(part, 2) && *part != "ff")?;
        let trace_id = parts.next().filter(|part| is_hex(part, 32) && !is_zero(part))?;
        parts.next().filter(|part| is_hex(part, 16) && !is_zero(part))?;
        parts.next().filter(|part| is_hex(part, 2))?;
        if version == "00" && parts.next().is_some() {
            return None;
        }
        Some(Self { trace_id: trace_id.into() })
    }
}

fn is_hex(part: &str, length: usize) -> bool {
    part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(part: &str) -> bool {
    part.bytes().all(|b| b == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_taken_only_when_valid() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceContext::parse(good).unwrap().trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }
}

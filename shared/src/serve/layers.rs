//! The layer stack. One function a layer, outermost first; [`around`] is the order.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http_body_util::Limited;
use tracing::Instrument as _;

use super::leftover::lend;
use super::quiet::Quiet;
use super::{PATIENCE, Stack};
use crate::extract::TooLarge;
use crate::problem::{Problem, REQUEST_ID, Refused, codes};
use crate::telemetry::TraceContext;

/// The address at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

const REQUEST_ID_HEADER: &str = "x-request-id";
const MAX_REQUEST_ID: usize = 128;

pub(super) fn around(routes: Router, stack: Stack) -> Router {
    let stack = Arc::new(stack);
    routes
        .fallback(|| async { Problem::new(&codes::NOT_FOUND, "There is nothing at this path.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(&codes::METHOD_NOT_ALLOWED, "The path does not take this method.")
        })
        .layer(from_fn_with_state(stack.clone(), limit_body))
        .layer(from_fn_with_state(stack.clone(), limit_time))
        .layer(from_fn_with_state(stack.clone(), limit_load))
        .layer(from_fn_with_state(stack.clone(), limit_rate))
        .layer(from_fn(catch_panic))
        .layer(from_fn_with_state(stack, observe))
}

/// Gives the request its id and span, and its answer a log line and its metrics.
async fn observe(State(stack): State<Arc<Stack>>, request: Request, next: Next) -> Response {
    let started = now();
    let request_id = request_id(request.headers());
    let trace = header_text(request.headers(), "traceparent").and_then(TraceContext::parse);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request",
        %request_id,
        trace_id = trace.as_ref().map(|trace| trace.trace_id.as_str()),
        %method,
        route,
    );
    let mut response = REQUEST_ID.scope(request_id.clone(), next.run(request)).instrument(span.clone()).await;
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    // What does not say otherwise is of one person and one moment.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let elapsed = started.elapsed();
    span.in_scope(|| log(&stack.quiet, &response, elapsed));
    let status = response.status().as_str().to_owned();
    let labels = [
        ("listener", stack.listener.to_owned()),
        ("method", method_label(&method).to_owned()),
        ("route", route),
        ("status", status),
    ];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels[..3]).record(elapsed.as_secs_f64());
    response
}

/// Clients may invent methods, and every label is kept for ever.
fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

/// Answers below 500 are the clients' business and go to debug; 503 is one line a second and code.
fn log(quiet: &Quiet, response: &Response, elapsed: std::time::Duration) {
    let status = response.status().as_u16();
    let refused = response.extensions().get::<Refused>();
    let code = refused.map(|refused| refused.code);
    let cause = refused.and_then(|refused| refused.cause.as_deref());
    let is_usual = refused.is_some_and(|refused| refused.is_usual);
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let turn = if status > 500 && !is_usual { quiet.turn(code, now()) } else { None };
    match (status, turn) {
        (500, _) => tracing::error!(status, code, cause, ms, "request failed"),
        (_, Some(others)) => tracing::warn!(status, code, cause, ms, others, "request not served"),
        _ => tracing::debug!(status, code, cause, ms, "request answered"),
    }
}

async fn catch_panic(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Problem::internal(format!("panic: {}", text.unwrap_or_default())).into_response()
        }
    }
}

async fn limit_rate(State(stack): State<Arc<Stack>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    if let (Some(limits), Some(peer)) = (&stack.limits, peer)
        && let Err(refusal) = limits.check_address(peer, request.headers())
    {
        return refusal.into_response();
    }
    next.run(request).await
}

async fn limit_load(State(stack): State<Arc<Stack>>, request: Request, next: Next) -> Response {
    match stack.in_flight.clone().try_acquire_owned() {
        Ok(_permit) => next.run(request).await,
        Err(_) => Problem::new(&codes::OVERLOADED, "The service works on as much as it can.").into_response(),
    }
}

async fn limit_time(State(stack): State<Arc<Stack>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_patient = route.is_some_and(|route| stack.patient.contains(&route));
    let limit = if is_patient { PATIENCE } else { stack.timeout };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(&codes::TIMEOUT, "There was no answer in time; the work may still be done.")
            .into_response(),
    }
}

/// The handler refuses what is too large, when it comes to the body: credential and path come first.
async fn limit_body(State(stack): State<Arc<Stack>>, request: Request, next: Next) -> Response {
    let announced = header_text(request.headers(), header::CONTENT_LENGTH.as_str());
    let announced = announced.and_then(|length| length.parse::<u64>().ok());
    let is_too_large = announced.is_some_and(|length| length > stack.body_limit as u64);
    // Who asks first has not begun to write and is not kept waiting.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (mut parts, body) = request.into_parts();
    if is_too_large {
        parts.extensions.insert(TooLarge);
    }
    let (body, leftover) = lend(body);
    let body = Body::new(Limited::new(body, stack.body_limit));
    let response = next.run(Request::from_parts(parts, body)).await;
    if !asks_first {
        leftover.discard().await;
    }
    response
}

/// Latency is measured on the monotonic clock; no decision depends on it.
#[expect(clippy::disallowed_methods, reason = "measures, decides nothing")]
fn now() -> Instant {
    Instant::now()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The client's id when it is short and visible ASCII, else a new one.
#[expect(clippy::disallowed_methods, reason = "a request id orders nothing and opens nothing")]
fn request_id(headers: &HeaderMap) -> String {
    header_text(headers, REQUEST_ID_HEADER)
        .filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

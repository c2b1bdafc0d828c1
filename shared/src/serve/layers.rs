//! What stands around every request: one layer, whose steps are functions, outermost first.
//!
//! One layer and not six: each layer of a router boxes its future and clones what lies below it for
//! every request, which cost more than what the steps do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http_body_util::Limited;
use tower::Service;
use tower::layer::layer_fn;

use super::leftover::{Leftover, lend};
use super::quiet::Quiet;
use super::{PATIENCE, Stack};
use crate::extract::TooLarge;
use crate::problem::{Problem, Refused, codes};
use crate::request::{Asked, REQUEST_ID_HEADER, RouteName};

/// The address at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

pub(super) fn around(routes: Router, stack: Arc<Stack>) -> Router {
    routes
        .fallback(|| async { Problem::new(&codes::NOT_FOUND, "There is nothing at this path.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(&codes::METHOD_NOT_ALLOWED, "The path does not take this method.")
        })
        .layer(layer_fn(move |route| Around { route, stack: stack.clone() }))
}

/// A route, or a fallback, with the stack around it.
#[derive(Clone)]
struct Around<S> {
    route: S,
    stack: Arc<Stack>,
}

/// What a route is to its layer.
trait Route: Service<Request, Response = Response, Error = Infallible, Future: Send> + Send {}
impl<S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Send> Route for S {}

impl Stack {
    fn watched(&self, asked: &Asked, took: Duration, failed: bool) {
        if let Some(watch) = &self.watch {
            watch.note(asked.route(), took, failed);
        }
    }

    fn time_for(&self, request: &Request) -> Duration {
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        if path.is_some_and(|path| self.patient.contains(&path)) { PATIENCE } else { self.timeout }
    }
}

impl<S: Route + Clone + 'static> Service<Request> for Around<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.route.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let started = now();
        let route = request.extensions().get().cloned().map_or(RouteName::Unmatched, RouteName::Matched);
        let asked = Asked::of(request.method(), request.headers(), route);
        let stack = self.stack.clone();
        let limited = AssertUnwindSafe(limit(stack.clone(), self.route.clone(), request)).catch_unwind();
        Box::pin(asked.around(move |asked| async move {
            let unanswered = Unanswered { stack: &stack, asked: &asked, started };
            let answer = limited.await.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
            std::mem::forget(unanswered);
            Ok(observe(&stack, &asked, started, answer.unwrap_or_else(Problem::into_response)))
        }))
    }
}

/// A client that gives up before the answer has waited, too.
struct Unanswered<'a> {
    stack: &'a Stack,
    asked: &'a Asked,
    started: Instant,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.stack.watched(self.asked, self.started.elapsed(), false);
    }
}

/// Gives the answer the request's id, a log line and its metrics.
pub(super) fn observe(stack: &Stack, asked: &Asked, started: Instant, mut response: Response) -> Response {
    let elapsed = started.elapsed();
    log(&stack.quiet, &response, elapsed);
    stack.tally.count(asked.route(), &asked.method, response.status(), elapsed);
    stack.watched(asked, elapsed, response.status().is_server_error());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID_HEADER, asked.id.clone());
    // What does not say otherwise is of one person and one moment.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Answers below 500 are the clients' business and go to debug; 503 is one line a second and code.
fn log(quiet: &Quiet, response: &Response, elapsed: Duration) {
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

pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Problem::internal(format!("panic: {}", text.unwrap_or_default()))
}

/// Rate, load, time and body, in this order.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for what it is given twice over")]
fn limit<S: Route>(
    stack: Arc<Stack>,
    mut route: S,
    request: Request,
) -> impl Future<Output = Result<Response, Problem>> {
    async move {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        if let (Some(limits), Some(peer)) = (&stack.limits, peer) {
            limits.check_address(peer, request.headers())?;
        }
        let Some(_under_way) = stack.load.begin() else {
            return Err(Problem::new(&codes::OVERLOADED, "The service works on as much as it can."));
        };
        let limit = stack.time_for(&request);
        let (request, leftover) = limit_body(stack.body_limit, request);
        let answer = async {
            let Ok(response) = route.call(request).await;
            if let Some(leftover) = leftover {
                // Boxed: hardly any answer leaves something unread, and each has room for what it may wait for.
                Box::pin(leftover.discard()).await;
            }
            response
        };
        tokio::time::timeout(limit, answer).await.map_err(|_| {
            Problem::new(&codes::TIMEOUT, "There was no answer in time; the work may still be done.")
        })
    }
}

/// The handler refuses what is too large, when it comes to the body: credential and path come first.
fn limit_body(most: usize, mut request: Request) -> (Request, Option<Leftover>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        request.extensions_mut().insert(TooLarge);
    }
    // Who asks first has not begun to write and is not kept waiting.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let (body, leftover) = lend(body);
    let body = Body::new(Limited::new(body, most));
    (Request::from_parts(parts, body), (!asks_first).then_some(leftover))
}

/// Latency is measured on the monotonic clock; no decision depends on it.
#[expect(clippy::disallowed_methods, reason = "measures, decides nothing")]
pub(super) fn now() -> Instant {
    Instant::now()
}

//! Requests that are answered at once: from memory, before the router.
//!
//! ```text
//!   GET without query or body ─▶ AtOnce: all at hand, and plainly fine? ─ yes ─▶ count ─▶ answer
//!                                                    └ no: nothing has happened ─▶ the router
//! ```
//!
//! For the one or two routes that are asked more often than all others together. The router finds,
//! boxes and clones for every request what such an answer has no need of, and that costs more than the answer.
//!
//! - Each of these routes is a route of the router too: what is not plainly fine, every refusal and all that
//!   has to wait is answered there. So nothing is described twice.
//! - Limits are asked when nothing is known any more to stand in the way of the answer. Should something turn up even
//!   then, the router counts the request once more: so with a poll of somebody who was silent for too long.
//! - An answer that is given here has the same bytes as there, the same id, log line and metrics.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::http::{HeaderMap, Method, Request};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Body;

use super::Stack;
use super::layers::{now, observe, panicked};
use crate::problem::Problem;
use crate::request::{Asked, RouteName};

/// A service that knows some answers at once.
pub trait AtOnce: Send + Sync + 'static {
    /// The answer to a `GET` of `path`, if it is at hand. `counted` counts the request; ask it when nothing
    /// stands in the way of the answer any more, and answer with what it refuses.
    fn answer(
        &self,
        path: &str,
        headers: &HeaderMap,
        counted: &dyn Fn() -> Result<(), Problem>,
    ) -> Option<Told>;
}

/// An answer, and the route that it is of, as the router has it.
pub struct Told {
    pub route: &'static str,
    pub outcome: Result<Response, Problem>,
}

impl Stack {
    /// The answer of somebody at `peer`; `None`: the router's.
    pub(super) fn at_once<B: Body>(&self, request: &Request<B>, peer: IpAddr) -> Option<Response> {
        let service = self.at_once.as_ref()?;
        let (uri, headers) = (request.uri(), request.headers());
        if request.method() != Method::GET || uri.query().is_some() || !request.body().is_end_stream() {
            return None;
        }
        let _under_way = self.load.begin()?;
        let started = now();
        let counted = || self.limits.as_ref().map_or(Ok(()), |limits| limits.check_address(peer, headers));
        let told = catch_unwind(AssertUnwindSafe(|| service.answer(uri.path(), headers, &counted)));
        let Told { route, outcome } = match told {
            Ok(told) => told?,
            Err(panic) => Told { route: "unmatched", outcome: Err(panicked(panic.as_ref())) },
        };
        let asked = Asked::of(&Method::GET, headers, RouteName::Declared(route));
        let answer =
            |asked: &Asked| observe(self, asked, started, outcome.unwrap_or_else(Problem::into_response));
        Some(asked.during(answer))
    }
}

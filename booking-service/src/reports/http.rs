//! How long the public listener's requests take, and which of them fail.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tokio::time::Instant;

use super::Window;

/// What is counted: the API, not its documents, and nothing that has no route.
const COUNTED: &str = "/v1/";

/// `routes`, measured into `window`.
pub fn measured(routes: Router, window: Arc<Window>) -> Router {
    routes.layer(from_fn_with_state(window, measure))
}

async fn measure(State(window): State<Arc<Window>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    if !route.is_some_and(|route| route.as_str().starts_with(COUNTED)) {
        return next.run(request).await;
    }
    let mut pending = Pending { window, begun: Instant::now(), failed: false };
    let response = next.run(request).await;
    pending.failed = response.status().is_server_error();
    response
}

/// A request; noted when it is dropped, because a client that gave up has waited too.
struct Pending {
    window: Arc<Window>,
    begun: Instant,
    failed: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.window.note(self.begun.elapsed(), self.failed);
    }
}

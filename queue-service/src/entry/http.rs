//! Entry tokens on the wire: the public keys, and the feed of revocations.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use shared::extract::Query;
use shared::page::{Page, PageOf, PageQuery, encode};
use shared::problem::Problem;

use super::{FeedCursor, Revocation, revocations};
use crate::app::App;
use crate::caller::Service;

/// `GET /.well-known/jwks.json`
pub async fn jwks(State(app): State<App>) -> Response {
    let jwks = app.entry_tokens.keys.jwks();
    let cache = format!("public, max-age={}", jwks.max_age);
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CACHE_CONTROL, cache)];
    (headers, jwks.json.clone()).into_response()
}

/// `GET /internal/v1/revocations`
///
/// `next_cursor` is null at the end of the feed; a reader that wants to go on from there asks
/// again with the cursor it had.
pub async fn feed(
    State(app): State<App>,
    _: Service,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Revocation>>, Problem> {
    let page: PageOf<FeedCursor> = query.parse()?;
    let limit = page.limit as usize;
    let before = page.after.unwrap_or_default();
    let ids = app.queues.ids().await?;
    let now = app.entry_tokens.now();
    let part = revocations(&app.redis, &app.queues, &ids, &before, limit, now).await?;
    let next_cursor = part.full.then(|| encode(&part.cursor));
    Ok(Json(Page { items: part.items, next_cursor }))
}

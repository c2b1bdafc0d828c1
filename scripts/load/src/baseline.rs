//! What the services are compared with: axum and a handler that knows its answer.
//!
//! The same answers, byte for byte, with the same headers; nothing around the routes. Where a service verifies a
//! user token, the bare handler verifies it too, with `jsonwebtoken` and one key it has, every time.

use std::path::Path;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// One route and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fixture {
    pub method: String,
    /// As axum has it, with names in braces.
    pub path: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The public key (base64url) by which each request's token is verified.
    pub verified_by: Option<String>,
}

#[derive(Clone)]
struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

/// Serves the fixtures of a JSON file until SIGTERM.
pub async fn serve(address: &str, fixtures: &Path) -> anyhow::Result<()> {
    shared::tokens::install_crypto();
    let fixtures: Vec<Fixture> = serde_json::from_slice(&std::fs::read(fixtures)?)?;
    let mut router = Router::new();
    for fixture in fixtures {
        router = add(router, fixture)?;
    }
    let listener = TcpListener::bind(address).await?.tap_io(|stream| drop(stream.set_nodelay(true)));
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async move {
        terminate.recv().await;
    };
    Ok(axum::serve(listener, router).with_graceful_shutdown(stopped).await?)
}

fn add(router: Router, fixture: Fixture) -> anyhow::Result<Router> {
    let method = if fixture.method == "POST" { MethodFilter::POST } else { MethodFilter::GET };
    let told = Told {
        status: StatusCode::from_u16(fixture.status)?,
        headers: headers(&fixture.headers)?,
        body: fixture.body.into(),
    };
    let Some(key) = fixture.verified_by else {
        let answer = move || std::future::ready(told.answer());
        return Ok(router.route(&fixture.path, on(method, answer)));
    };
    let (key, mut rules) = (DecodingKey::from_ed_components(&key)?, Validation::new(Algorithm::EdDSA));
    rules.validate_aud = false;
    let (key, rules) = (std::sync::Arc::new(key), std::sync::Arc::new(rules));
    let answer = move |headers: HeaderMap| {
        let answer = if user(&headers, &key, &rules).is_some() { told.answer() } else { refusal() };
        std::future::ready(answer)
    };
    Ok(router.route(&fixture.path, on(method, answer)))
}

fn headers(named: &[(String, String)]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in named {
        let name: HeaderName = name.parse().context("a fixture has a bad header")?;
        headers.append(name, HeaderValue::from_str(value)?);
    }
    Ok(headers)
}

impl Told {
    fn answer(&self) -> Response {
        let mut answer = Response::new(Body::from(self.body.clone()));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers.clone();
        answer
    }
}

fn user(headers: &HeaderMap, key: &DecodingKey, rules: &Validation) -> Option<String> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let claims = jsonwebtoken::decode::<Claims>(token, key, rules).ok()?.claims;
    Some(claims.sub).filter(|sub| !sub.is_empty())
}

fn refusal() -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    answer
}

//! Routes together with their OpenAPI 3.1 text, so that neither exists without the other.
//!
//! A service lists its routes once, as [`Endpoint`]s with their handlers; [`Api`] makes the axum
//! router and the document from the same list. Tests read the document back and check that every
//! route and every code it names was seen.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, header};
use axum::response::{Html, IntoResponse};
use axum::routing::{MethodFilter, get, on};
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::{Code, Problem, codes};

/// What a route takes as a credential: one of these named schemes, in words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential(pub &'static [&'static str]);

/// One method on one path, described.
pub struct Endpoint {
    method: Method,
    path: &'static str,
    operation: Map<String, Value>,
    responses: BTreeMap<u16, Value>,
    refusals: Vec<&'static Code>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Endpoint {
    /// A `GET`; `summary` is one line.
    pub fn get(path: &'static str, summary: &str) -> Self {
        Self::new(Method::GET, path, summary)
    }

    /// A `POST`.
    pub fn post(path: &'static str, summary: &str) -> Self {
        Self::new(Method::POST, path, summary)
    }

    /// A `PUT`.
    pub fn put(path: &'static str, summary: &str) -> Self {
        Self::new(Method::PUT, path, summary)
    }

    /// A `PATCH`.
    pub fn patch(path: &'static str, summary: &str) -> Self {
        Self::new(Method::PATCH, path, summary)
    }

    /// A `DELETE`.
    pub fn delete(path: &'static str, summary: &str) -> Self {
        Self::new(Method::DELETE, path, summary)
    }

    fn new(method: Method, path: &'static str, summary: &str) -> Self {
        let id =
            format!("{}{}", method.as_str().to_lowercase(), path.replace(['/', '{', '}', '.', '-'], "_"));
        let mut operation = Map::new();
        operation.insert("operationId".into(), id.into());
        operation.insert("summary".into(), summary.into());
        let parameters: Vec<_> = path.split('/').filter_map(path_parameter).collect();
        operation.insert("parameters".into(), parameters.into());
        let (responses, refusals, schemas) = Default::default();
        Self { method, path, operation, responses, refusals, schemas }.refuses(&[
            &codes::INTERNAL,
            &codes::TIMEOUT,
            &codes::OVERLOADED,
        ])
    }

    /// The credential it takes; a route that takes one also refuses bad ones.
    pub fn credential(mut self, credential: Credential) -> Self {
        let security: Vec<_> = credential.0.iter().map(|scheme| json!({ *scheme: [] })).collect();
        self.operation.insert("security".into(), security.into());
        self.refuses(&[&codes::INVALID_TOKEN])
    }

    /// A query parameter.
    pub fn query(self, name: &str, description: &str) -> Self {
        self.parameter("query", name, description, false).refuses(&[&codes::INVALID_REQUEST])
    }

    /// A header; `required` as the route sees it.
    pub fn header(self, name: &str, description: &str, required: bool) -> Self {
        self.parameter("header", name, description, required)
    }

    fn parameter(mut self, place: &str, name: &str, description: &str, required: bool) -> Self {
        let parameter = json!({
            "name": name, "in": place, "required": required, "description": description,
            "schema": { "type": "string" },
        });
        if let Some(Value::Array(parameters)) = self.operation.get_mut("parameters") {
            parameters.push(parameter);
        }
        self
    }

    /// The list parameters `limit` and `cursor`.
    pub fn paged(self) -> Self {
        self.query("limit", "items per page, 1 to 200, default 50")
            .query("cursor", "`next_cursor` of the page before")
    }

    /// The JSON body.
    pub fn body<T: ToSchema>(mut self) -> Self {
        let schema = self.schema::<T>();
        let body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        self.operation.insert("requestBody".into(), body);
        self.refuses(&[
            &codes::INVALID_JSON,
            &codes::INVALID_REQUEST,
            &codes::UNSUPPORTED_MEDIA_TYPE,
            &codes::BODY_TOO_LARGE,
        ])
    }

    /// The JSON body of a route that can do without one.
    pub fn optional_body<T: ToSchema>(self) -> Self {
        let mut endpoint = self.body::<T>();
        endpoint.operation["requestBody"]["required"] = false.into();
        endpoint
    }

    /// A JSON answer.
    pub fn answers<T: ToSchema>(mut self, status: u16, when: &str) -> Self {
        let schema = self.schema::<T>();
        let answer = json!({ "description": when, "content": { "application/json": { "schema": schema } } });
        self.responses.insert(status, answer);
        self
    }

    /// A page of `T` as JSON answer.
    pub fn answers_page<T: ToSchema>(mut self, when: &str) -> Self {
        let item = self.schema::<T>();
        let schema = json!({
            "type": "object", "required": ["items", "next_cursor"],
            "properties": { "items": { "type": "array", "items": item }, "next_cursor": { "type": ["string", "null"] } },
        });
        self.responses.insert(
            200,
            json!({ "description": when, "content": { "application/json": { "schema": schema } } }),
        );
        self.paged()
    }

    /// An answer without a JSON body: `media` names its type, empty for none.
    pub fn answers_raw(mut self, status: u16, when: &str, media: &str) -> Self {
        let mut answer = json!({ "description": when });
        if !media.is_empty() {
            answer["content"] = json!({ media: {} });
        }
        self.responses.insert(status, answer);
        self
    }

    /// Refusals of its own, beside the general ones.
    pub fn refuses(mut self, refusals: &[&'static Code]) -> Self {
        self.refusals.extend(refusals);
        self
    }

    /// Takes a general refusal back that the route names more closely.
    pub fn never_refuses(mut self, refusal: &'static Code) -> Self {
        self.refusals.retain(|code| *code != refusal);
        self
    }

    fn schema<T: ToSchema>(&mut self) -> Value {
        T::schemas(&mut self.schemas);
        let name = T::name().into_owned();
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        self.schemas.push((name, <T as PartialSchema>::schema()));
        reference
    }

    /// The OpenAPI operation, with one response per status that lists its codes.
    fn operation(&self) -> Value {
        let mut by_status: BTreeMap<u16, Vec<&'static Code>> = BTreeMap::new();
        for code in &self.refusals {
            let codes = by_status.entry(code.status).or_default();
            if !codes.contains(code) {
                codes.push(code);
            }
        }
        let mut responses: Map<String, Value> =
            self.responses.iter().map(|(status, answer)| (status.to_string(), answer.clone())).collect();
        for (status, codes) in by_status {
            responses.insert(status.to_string(), refusal(&codes));
        }
        let mut operation = self.operation.clone();
        operation.insert("responses".into(), responses.into());
        operation.into()
    }
}

fn path_parameter(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
}

fn refusal(codes: &[&'static Code]) -> Value {
    let words: Vec<_> = codes.iter().map(|code| code.word).collect();
    let lines: Vec<_> =
        codes.iter().map(|code| format!("- `{}`: {}. {}", code.word, code.title, code.advice)).collect();
    json!({
        "description": lines.join("\n"),
        "content": { "application/problem+json": { "schema": {
            "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "type": "object", "properties": { "code": { "enum": words } } },
            ],
        } } },
    })
}

fn problem_schema(words: &BTreeSet<&'static str>) -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
            "detail": { "type": "string" }, "code": { "type": "string", "enum": words },
            "request_id": { "type": ["string", "null"] },
        },
    })
}

/// The routes of one listener and their document.
pub struct Api<S> {
    router: Router<S>,
    paths: Map<String, Value>,
    schemas: BTreeMap<String, Value>,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// Without routes.
    #[expect(clippy::new_without_default, reason = "an empty API is a beginning, not a default")]
    pub fn new() -> Self {
        Self { router: Router::new(), paths: Map::new(), schemas: BTreeMap::new() }
    }

    /// Adds a route.
    pub fn route<H, T>(mut self, endpoint: Endpoint, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(endpoint.method.clone()).unwrap_or(MethodFilter::GET);
        let item = self.paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_lowercase()] = endpoint.operation();
        for (name, schema) in endpoint.schemas {
            self.schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
        }
        self.router = self.router.route(endpoint.path, on(filter, handler));
        self
    }

    /// The routes of this API, with a document that describes `others` too, and names the codes of
    /// `table` beside the general ones.
    pub fn finish(self, title: &str, others: &[&Document], table: &[&Code]) -> (Router<S>, Document) {
        let words = codes::ALL.iter().chain(table).map(|code| code.word).collect();
        let mut document =
            Document { title: title.to_owned(), paths: self.paths, schemas: self.schemas, words };
        for other in others {
            document.paths.extend(other.paths.clone());
            document.schemas.extend(other.schemas.clone());
        }
        (self.router, document)
    }
}

/// An OpenAPI 3.1 document in the making.
#[derive(Clone)]
pub struct Document {
    title: String,
    paths: Map<String, Value>,
    schemas: BTreeMap<String, Value>,
    /// Every problem code that may be met.
    words: BTreeSet<&'static str>,
}

/// What every process answers beside its own routes: path, what it is, media type.
const PLAIN: [(&str, &str, &str); 5] = [
    ("/openapi.json", "This document", "application/json"),
    ("/docs", "This document, to read", "text/html"),
    ("/livez", "Whether the process lives (ops listener)", "application/json"),
    (
        "/readyz",
        "Whether the process can serve (ops listener); 503 names the failing checks",
        "application/json",
    ),
    ("/metrics", "Prometheus metrics (ops listener)", "text/plain"),
];

fn plain_paths() -> impl Iterator<Item = (String, Value)> {
    PLAIN.into_iter().map(|(path, summary, media)| {
        let mut responses = json!({ "200": { "description": summary, "content": { media: {} } } });
        if path == "/readyz" {
            responses["503"] = refusal(&[&codes::UNAVAILABLE]);
        }
        (path.to_owned(), json!({ "get": { "summary": summary, "responses": responses } }))
    })
}

impl Document {
    /// The document as JSON.
    pub fn to_json(&self) -> Value {
        let mut paths = self.paths.clone();
        paths.extend(plain_paths());
        let mut schemas = self.schemas.clone();
        schemas.insert("Problem".to_owned(), problem_schema(&self.words));
        let scheme =
            |description: &str| json!({ "type": "http", "scheme": "bearer", "description": description });
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Paths under `/admin` and `/internal` are on the ops listener only.",
            },
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "user_token": scheme("JWT of the identity provider"),
                    "queue_token": scheme("what a person in line polls with; begins with `qt_`"),
                    "entry_token": scheme("EdDSA JWT handed out when a person is let in"),
                    "admin_secret": scheme("ADMIN_TOKEN, on the ops listener"),
                    "service_secret": scheme("SERVICE_TOKEN, on the ops listener"),
                },
            },
        })
    }

    /// Routes that serve the document at `/openapi.json` and a page to read it at `/docs`.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let text = self.to_json().to_string();
        Router::new()
            .route(
                "/openapi.json",
                get(|| async move {
                    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, CACHED)], text)
                }),
            )
            .route("/docs", get(|| async { ([(header::CACHE_CONTROL, CACHED)], Html(PAGE)) }))
            .route("/docs/{file}", get(asset))
    }
}

/// The document changes with the binary alone.
const CACHED: &str = "public, max-age=300";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
"#;

const START: &str =
    r##"SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });"##;

async fn asset(axum::extract::Path(file): axum::extract::Path<String>) -> axum::response::Response {
    if file == "start.js" {
        return ([(header::CONTENT_TYPE, "text/javascript")], START).into_response();
    }
    let config = std::sync::Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(&file, config) {
        Ok(Some(found)) if file != "index.html" => {
            let headers =
                [(header::CONTENT_TYPE, found.content_type.as_str()), (header::CACHE_CONTROL, CACHED)];
            (headers, found.bytes.into_owned()).into_response()
        }
        _ => Problem::new(&codes::NOT_FOUND, "There is nothing at this path.").into_response(),
    }
}

//! Every route of this service, once: the router and its OpenAPI text come from this table.

use axum::Router;
use shared::api::{Api, Credential, Document, Endpoint};
use shared::problem::codes;

use crate::app::App;
use crate::{admission, entry, line, pressure, queues, refusals, stock};

const USER: Credential = Credential(&["user_token"]);
const USER_OR_PLACE: Credential = Credential(&["queue_token", "user_token"]);
const OPERATOR: Credential = Credential(&["admin_secret"]);
const SERVICE: Credential = Credential(&["service_secret"]);

/// The routes of the public listener. No route names a queue that it does not look up.
fn public_api() -> Api<App> {
    let place = |endpoint: Endpoint| {
        endpoint.credential(USER_OR_PLACE).refuses(&[
            &codes::UNAUTHORIZED,
            &codes::UNAVAILABLE,
            &codes::RATE_LIMITED,
            &refusals::QUEUE_NOT_FOUND,
            &refusals::WRONG_QUEUE,
        ])
    };
    let ended = |endpoint: Endpoint| {
        endpoint.refuses(&[
            &refusals::TOKEN_NOT_FOUND,
            &refusals::TOKEN_EXPIRED,
            &refusals::TOKEN_LEFT,
            &refusals::TOKEN_COMPLETED,
            &refusals::TOKEN_REPLACED,
            &refusals::QUEUE_CLOSED_GONE,
        ])
    };
    Api::new()
        .route(
            Endpoint::get("/v1/queues/{queue}", "The queue and its crowd")
                .answers::<queues::http::QueueView>(200, "the queue, cacheable for a second")
                .refuses(&[&refusals::QUEUE_NOT_FOUND, &codes::UNAVAILABLE, &codes::RATE_LIMITED]),
            queues::http::show,
        )
        .route(
            Endpoint::post("/v1/queues/{queue}/tokens", "Take a place in line, or find the one you have")
                .credential(USER)
                .answers::<line::Status>(200, "in line or let in already: the same place")
                .answers::<line::Status>(201, "a new place")
                .refuses(&[&codes::UNAUTHORIZED, &codes::UNAVAILABLE, &codes::RATE_LIMITED])
                .refuses(&[&refusals::QUEUE_NOT_FOUND, &refusals::ALREADY_IN_QUEUE])
                .refuses(&[&refusals::QUEUE_CLOSED, &refusals::QUEUE_DRAINING, &codes::BODY_TOO_LARGE]),
            line::http::join,
        )
        .route(
            ended(place(Endpoint::get("/v1/queues/{queue}/tokens/me", "Poll: where you stand")))
                .answers::<line::Status>(200, "where you stand")
                .answers_raw(303, "let in, and the client asked for text/html: where to go", ""),
            line::http::poll,
        )
        .route(
            place(Endpoint::delete("/v1/queues/{queue}/tokens/me", "Leave")).answers_raw(
                204,
                "left, now or before",
                "",
            ),
            line::http::leave,
        )
        .route(
            ended(place(Endpoint::get("/v1/queues/{queue}/tokens/me/events", "Where you stand, as events")))
                .answers_raw(200, "`status` events, at last `ended`", "text/event-stream"),
            line::http::events,
        )
        .route(
            Endpoint::get("/.well-known/jwks.json", "The public keys of the entry tokens").answers_raw(
                200,
                "a JWK set",
                "application/json",
            ),
            entry::http::jwks,
        )
        .route(
            Endpoint::post("/v1/dev/login", "Development only: a user token")
                .body::<line::http::Login>()
                .answers::<line::http::LoggedIn>(200, "a token for that user")
                .refuses(&[&codes::NOT_FOUND]),
            line::http::development_login,
        )
}

/// A route of the ops listener.
fn secret(endpoint: Endpoint, credential: Credential) -> Endpoint {
    endpoint.credential(credential).refuses(&[&codes::UNAUTHORIZED, &codes::FORBIDDEN, &codes::UNAVAILABLE])
}

/// The routes of the ops listener: those of operators.
fn admin_api() -> Api<App> {
    type QueueReport = queues::http::QueueReport;
    let queue = |endpoint: Endpoint| secret(endpoint, OPERATOR).refuses(&[&refusals::QUEUE_NOT_FOUND]);
    let action = |path, summary| {
        queue(Endpoint::post(path, summary)).answers::<QueueReport>(200, "the queue after it")
    };
    Api::new()
        .route(
            secret(
                Endpoint::put("/admin/v1/queues/{queue}", "Create a queue or change its settings"),
                OPERATOR,
            )
            .body::<queues::Settings>()
            .never_refuses(&codes::INVALID_REQUEST)
            .answers::<QueueReport>(200, "changed")
            .answers::<QueueReport>(201, "created")
            .refuses(&[&refusals::INVALID_SETTINGS]),
            queues::http::put,
        )
        .route(
            secret(Endpoint::get("/admin/v1/queues", "All queues"), OPERATOR)
                .answers_page::<QueueReport>("by id"),
            queues::http::list,
        )
        .route(
            queue(Endpoint::get("/admin/v1/queues/{queue}", "One queue, exact at this moment"))
                .answers::<QueueReport>(200, "the queue"),
            queues::http::detail,
        )
        .route(action("/admin/v1/queues/{queue}/pause", "Let nobody in; keep the line"), queues::http::pause)
        .route(
            action("/admin/v1/queues/{queue}/resume", "End a pause, a drain or a close"),
            queues::http::resume,
        )
        .route(
            action("/admin/v1/queues/{queue}/drain", "Take nobody; serve the line out"),
            queues::http::drain,
        )
        .route(action("/admin/v1/queues/{queue}/close", "Dissolve the line"), queues::http::close)
        .route(
            queue(Endpoint::post("/admin/v1/queues/{queue}/admit", "Let people in now, outside the rate"))
                .body::<admission::http::Admit>()
                .answers::<admission::http::Admitted>(200, "how many were, and the queue"),
            admission::http::admit,
        )
        .route(
            queue(Endpoint::delete("/admin/v1/queues/{queue}/tokens/{user_id}", "Remove a person"))
                .answers_raw(204, "removed, now or before", ""),
            line::http::remove,
        )
}

/// Those that the booking service calls.
fn internal_api(api: Api<App>) -> Api<App> {
    api.route(
        secret(
            Endpoint::post("/internal/v1/queues/{queue}/completions", "Free the slots of purchases done"),
            SERVICE,
        )
        .body::<admission::http::Completions>()
        .answers::<admission::http::Released>(200, "how many were freed; unknown ones are ignored")
        .refuses(&[&refusals::QUEUE_NOT_FOUND]),
        admission::http::completions,
    )
    .route(
        secret(Endpoint::post("/internal/v1/stock", "What is left to buy"), SERVICE)
            .body::<stock::http::Count>()
            .answers::<stock::http::CountTaken>(200, "how many counts were taken"),
        stock::http::stock,
    )
    .route(
        secret(
            Endpoint::post("/internal/v1/pressure", "How hard the service behind the line has it"),
            SERVICE,
        )
        .body::<pressure::Pressure>()
        .answers::<pressure::http::Heeded>(200, "how many queues heed it"),
        pressure::http::pressure,
    )
    .route(
        secret(Endpoint::get("/internal/v1/revocations", "Entry tokens that open nothing any more"), SERVICE)
            .answers_page::<entry::Revocation>("oldest first, kept until `exp`"),
        entry::http::feed,
    )
}

/// The routes of both listeners, public first, and the document that describes them.
pub fn all() -> (Router<App>, Router<App>, Document) {
    let (ops, ops_document) = internal_api(admin_api()).finish("ops", &[], &[]);
    let (public, document) = public_api().finish("queue-service", &[&ops_document], refusals::ALL);
    (public.merge(document.router()), ops, document)
}

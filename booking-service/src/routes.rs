//! Every route of both listeners, each with what it takes, answers and refuses.

use axum::Router;
use shared::api::{Api, Credential, Document, Endpoint};
use shared::problem::{Code, codes as general};

use crate::app::App;
use crate::cancellations::{CancelledConcert, Progress, http as cancellations};
use crate::catalog::admin::{ConcertBody, ConcertPatch, ScheduleBody, SchedulePatch, http as admin};
use crate::catalog::{Concert, Report, Schedule, http as catalog};
use crate::codes::{
    ALREADY_EXTENDED, ALREADY_PAID, ALREADY_REFUNDED, CONCERT_NOT_FOUND, ENTRY_TOKEN_COMPLETED,
    ENTRY_TOKEN_EXPIRED, ENTRY_TOKEN_REQUIRED, ENTRY_TOKEN_REVOKED, EXTENSION_NOT_ALLOWED, HOLD_EXPIRED,
    INSUFFICIENT_POINTS, INVALID_AMOUNT, NOT_CANCELLED, NOT_HELD, PAYMENT_NOT_FOUND, RESERVATION_NOT_FOUND,
    SALES_CLOSED, SCHEDULE_CANCELLED, SCHEDULE_NOT_FOUND, SEAT_LIMIT_REACHED, SEAT_TAKEN, SEATS_EXIST,
    SEATS_NOT_READY, SEATS_UNAVAILABLE, SHOW_STARTED, TOO_MANY_SEATS, UNKNOWN_SEAT, WRONG_QUEUE,
};
use crate::holds::{Reservation, ReserveBody, http as holds};
use crate::payments::{Paid, Receipt, Refunded, http as payments};
use crate::points::{Balance, LedgerEntry, Moved, http as points};
use crate::seat_maps::SeatMap;
use crate::{books, codes, idempotency::Need};

/// Routes whose work may outlast the usual time limit.
pub const PATIENT: &[&str] = &[AUDIT];
const AUDIT: &str = "/admin/v1/audit";

/// What a closed gate may answer.
const GATE: &[&Code] = &[
    &ENTRY_TOKEN_REQUIRED,
    &ENTRY_TOKEN_EXPIRED,
    &ENTRY_TOKEN_COMPLETED,
    &ENTRY_TOKEN_REVOKED,
    &general::UNAVAILABLE,
    &general::RATE_LIMITED,
];
/// What a row for users may answer to an entry token that is no longer one.
const ENTRY: &[&Code] = &[
    &general::UNAUTHORIZED,
    &ENTRY_TOKEN_EXPIRED,
    &ENTRY_TOKEN_COMPLETED,
    &ENTRY_TOKEN_REVOKED,
    &general::UNAVAILABLE,
    &general::RATE_LIMITED,
];
/// What a key may answer.
const KEY: &[&Code] =
    &[&general::IDEMPOTENCY_KEY_REUSED, &general::IDEMPOTENCY_IN_FLIGHT, &general::INVALID_REQUEST];

/// A row that anybody may look at while its gate is open.
fn guest(endpoint: Endpoint) -> Endpoint {
    endpoint.credential(Credential(&["entry_token"])).refuses(GATE)
}

/// A row for users.
fn user(endpoint: Endpoint) -> Endpoint {
    endpoint.credential(Credential(&["user_token", "entry_token"])).refuses(ENTRY)
}

/// A row for users whose gate may be closed.
fn buyer(endpoint: Endpoint) -> Endpoint {
    user(endpoint).refuses(&[&ENTRY_TOKEN_REQUIRED, &WRONG_QUEUE])
}

fn keyed(endpoint: Endpoint, need: Need) -> Endpoint {
    let required = need == Need::Required;
    let endpoint = endpoint
        .header(
            "Idempotency-Key",
            "one per intent, the same on every retry; 1 to 255 visible ASCII",
            required,
        )
        .refuses(KEY);
    if required { endpoint.refuses(&[&general::IDEMPOTENCY_KEY_REQUIRED]) } else { endpoint }
}

/// A row for operators.
fn operator(endpoint: Endpoint) -> Endpoint {
    endpoint.credential(Credential(&["admin_secret"])).refuses(&[
        &general::UNAUTHORIZED,
        &general::FORBIDDEN,
        &general::UNAVAILABLE,
    ])
}

/// The routes of both listeners, and the document that describes them.
pub fn all() -> (Router<App>, Router<App>, Document) {
    let (ops, ops_document) = ops().finish("booking-service, ops", &[], &[]);
    let (public, document) =
        reading(paying(Api::new())).finish("booking-service", &[&ops_document], codes::ALL);
    (public.merge(document.router()), ops, document)
}

/// What there is to buy.
fn reading(api: Api<App>) -> Api<App> {
    api.route(
        guest(Endpoint::get("/v1/concerts", "Concerts with a date on sale or to come on sale"))
            .answers_page::<Concert>("by age"),
        catalog::list_concerts,
    )
    .route(
        guest(Endpoint::get("/v1/concerts/{id}", "One concert"))
            .answers::<Concert>(200, "the concert, on sale or not")
            .refuses(&[&CONCERT_NOT_FOUND]),
        catalog::get_concert,
    )
    .route(
        guest(Endpoint::get("/v1/concerts/{id}/schedules", "Dates of a concert"))
            .query("from", "first day, YYYY-MM-DD, UTC")
            .query("to", "last day, inclusive")
            .query("bookable", "`true` (default): only dates in the future, on sale, with seats left")
            .answers_page::<Schedule>("the earliest first")
            .refuses(&[&CONCERT_NOT_FOUND, &WRONG_QUEUE]),
        catalog::list_schedules,
    )
    .route(
        guest(Endpoint::get("/v1/schedules/{id}/seats", "The seats of a date"))
            .header("If-None-Match", "`ETag` of an answer before", false)
            .header("Accept-Encoding", "`gzip` is understood", false)
            .answers::<SeatMap>(200, "the map; `ETag` is strong")
            .answers_raw(304, "nothing has changed", "")
            .refuses(&[&SCHEDULE_NOT_FOUND, &SEATS_NOT_READY, &WRONG_QUEUE, &SCHEDULE_CANCELLED]),
        catalog::seat_map,
    )
}

/// What a user does.
fn paying(api: Api<App>) -> Api<App> {
    let api = holding(api);
    let api = spending(api);
    // The users' money.
    api.route(
        user(Endpoint::get("/v1/points", "The balance")).answers::<Balance>(200, "a new user has 0"),
        points::balance,
    )
    .route(
        keyed(user(Endpoint::post("/v1/points/charges", "Charge points")), Need::Required)
            .body::<points::ChargeBody>()
            .answers::<Moved>(201, "charged; `balance` after it")
            .refuses(&[&INVALID_AMOUNT, &codes::BALANCE_LIMIT_REACHED]),
        points::charge,
    )
    .route(
        keyed(user(Endpoint::post("/v1/points/uses", "Use points")), Need::Required)
            .body::<points::UseBody>()
            .answers::<Moved>(201, "used; `balance` after it")
            .refuses(&[&INVALID_AMOUNT, &INSUFFICIENT_POINTS]),
        points::use_points,
    )
    .route(
        user(Endpoint::get("/v1/points/history", "The ledger"))
            .query("kind", "only `charge`, `use`, `payment` or `refund`")
            .query("from", "first day, YYYY-MM-DD, UTC")
            .query("to", "last day, inclusive")
            .answers_page::<LedgerEntry>("the newest first"),
        points::history,
    )
}

/// Seats for a while.
fn holding(api: Api<App>) -> Api<App> {
    api.route(
        keyed(buyer(Endpoint::post("/v1/reservations", "Hold seats, all or none")), Need::Honoured)
            .body::<ReserveBody>()
            .answers::<Reservation>(201, "held until `expires_at`")
            .refuses(&[
                &SCHEDULE_NOT_FOUND,
                &SEATS_NOT_READY,
                &SALES_CLOSED,
                &UNKNOWN_SEAT,
                &TOO_MANY_SEATS,
                &SEAT_LIMIT_REACHED,
                &SEAT_TAKEN,
                &SEATS_UNAVAILABLE,
            ]),
        holds::place,
    )
    .route(
        user(Endpoint::get("/v1/reservations", "One's own reservations"))
            .query("status", "held, confirmed, expired, cancelled or refunded")
            .answers_page::<Reservation>("the newest first"),
        holds::list,
    )
    .route(
        user(Endpoint::get("/v1/reservations/{id}", "One's own reservation"))
            .answers::<Reservation>(200, "as it stands now")
            .refuses(&[&RESERVATION_NOT_FOUND]),
        holds::get,
    )
    .route(
        user(Endpoint::delete("/v1/reservations/{id}", "Let the seats go"))
            .answers_raw(204, "the seats are free", "")
            .refuses(&[&RESERVATION_NOT_FOUND, &NOT_HELD, &HOLD_EXPIRED]),
        holds::cancel,
    )
    .route(
        user(Endpoint::post("/v1/reservations/{id}/extend", "Hold the seats for longer, once"))
            .answers::<Reservation>(200, "held until the new `expires_at`")
            .refuses(&[
                &RESERVATION_NOT_FOUND,
                &NOT_HELD,
                &HOLD_EXPIRED,
                &EXTENSION_NOT_ALLOWED,
                &ALREADY_EXTENDED,
            ]),
        holds::extend,
    )
}

/// Points for seats, and back.
fn spending(api: Api<App>) -> Api<App> {
    api.route(
        keyed(buyer(Endpoint::post("/v1/payments", "Pay a hold")), Need::Honoured)
            .body::<payments::PayBody>()
            .answers::<Paid>(201, "paid; the entry token has ended")
            .refuses(&[
                &RESERVATION_NOT_FOUND,
                &ALREADY_PAID,
                &NOT_HELD,
                &HOLD_EXPIRED,
                &INSUFFICIENT_POINTS,
            ]),
        payments::pay,
    )
    .route(
        user(Endpoint::get("/v1/payments/{id}", "The receipt"))
            .answers::<Receipt>(200, "the payment, and its refunds")
            .refuses(&[&PAYMENT_NOT_FOUND]),
        payments::receipt,
    )
    .route(
        keyed(user(Endpoint::post("/v1/payments/{id}/refund", "Give tickets back")), Need::Honoured)
            .optional_body::<payments::RefundBody>()
            .answers::<Refunded>(201, "points are back, seats are free")
            .refuses(&[&codes::BALANCE_LIMIT_REACHED])
            .refuses(&[&PAYMENT_NOT_FOUND, &UNKNOWN_SEAT, &ALREADY_REFUNDED, &SHOW_STARTED]),
        payments::refund,
    )
}

/// What operators do.
fn ops() -> Api<App> {
    cancelling(Api::new())
        .route(
            operator(Endpoint::get("/admin/v1/concerts", "All concerts")).answers_page::<Concert>("by age"),
            admin::list_concerts,
        )
        .route(
            operator(Endpoint::post("/admin/v1/concerts", "Make a concert"))
                .body::<ConcertBody>()
                .answers::<Concert>(201, "made"),
            admin::create_concert,
        )
        .route(
            operator(Endpoint::patch("/admin/v1/concerts/{id}", "Change a concert"))
                .body::<ConcertPatch>()
                .answers::<Concert>(200, "changed")
                .refuses(&[&CONCERT_NOT_FOUND]),
            admin::change_concert,
        )
        .route(
            operator(Endpoint::post("/admin/v1/concerts/{id}/schedules", "Make a date, with its seats"))
                .body::<ScheduleBody>()
                .answers::<Schedule>(201, "made")
                .refuses(&[&CONCERT_NOT_FOUND]),
            admin::create_schedule,
        )
        .route(
            operator(Endpoint::get("/admin/v1/concerts/{id}/schedules", "All dates of a concert"))
                .answers_page::<Schedule>("the earliest first, cancelled ones too")
                .refuses(&[&CONCERT_NOT_FOUND]),
            admin::list_schedules,
        )
        .route(
            operator(Endpoint::get("/admin/v1/schedules/{id}", "One date"))
                .answers::<Schedule>(200, "as it stands now")
                .refuses(&[&SCHEDULE_NOT_FOUND]),
            admin::get_schedule,
        )
        .route(
            operator(Endpoint::patch("/admin/v1/schedules/{id}", "Change a date"))
                .body::<SchedulePatch>()
                .answers::<Schedule>(200, "changed")
                .refuses(&[&SCHEDULE_NOT_FOUND, &SCHEDULE_CANCELLED, &SEATS_EXIST]),
            admin::change_schedule,
        )
        .route(
            operator(Endpoint::get("/admin/v1/schedules/{id}/report", "How a date sells"))
                .answers::<Report>(200, "seats and revenue")
                .refuses(&[&SCHEDULE_NOT_FOUND]),
            admin::report,
        )
        .route(
            operator(Endpoint::get(AUDIT, "The books"))
                .answers::<books::Audit>(200, "whether they are right, and where not"),
            books::http::audit,
        )
}

/// What does not take place.
fn cancelling(api: Api<App>) -> Api<App> {
    api.route(
        operator(Endpoint::post(
            "/admin/v1/concerts/{id}/cancel",
            "Cancel all dates of a concert that are to come",
        ))
        .answers::<CancelledConcert>(200, "no date is sold any more; refunds are under way")
        .refuses(&[&CONCERT_NOT_FOUND]),
        cancellations::cancel_concert,
    )
    .route(
        operator(Endpoint::post("/admin/v1/schedules/{id}/cancel", "Cancel a date"))
            .answers::<Progress>(200, "it is not sold any more; refunds are under way")
            .refuses(&[&SCHEDULE_NOT_FOUND]),
        cancellations::cancel_schedule,
    )
    .route(
        operator(Endpoint::get("/admin/v1/schedules/{id}/cancellation", "How far a cancellation is"))
            .answers::<Progress>(200, "`done` when nothing is held or paid any more")
            .refuses(&[&SCHEDULE_NOT_FOUND, &NOT_CANCELLED]),
        cancellations::progress,
    )
}

//! The booking service's half.

use acceptance::{Answer, Date, PRICE, Side, User, World, eventually};
use serde_json::{Value, json};

use super::{Outcomes, all_of, documented, provoke_general, seen, table};

const CONTRACT: &str = "
    GET /v1/concerts: 200, 422 invalid_request
    GET /v1/concerts/{}: 200, 404 concert_not_found
    GET /v1/concerts/{}/schedules: 200, 401 entry_token_required, 401 entry_token_expired, 401 entry_token_completed, 401 entry_token_revoked, 401 invalid_token, 403 wrong_queue, 404 concert_not_found, 422 invalid_request
    GET /v1/schedules/{}/seats: 200, 304, 401 entry_token_required, 401 entry_token_expired, 401 entry_token_completed, 401 entry_token_revoked, 401 invalid_token, 403 wrong_queue, 404 schedule_not_found, 409 seats_not_ready
    POST /v1/reservations: 201, 401 entry_token_required, 401 entry_token_expired, 401 entry_token_completed, 401 entry_token_revoked, 401 invalid_token, 403 wrong_queue, 404 schedule_not_found, 409 seats_not_ready, 409 sales_closed, 422 unknown_seat, 422 too_many_seats, 409 seat_limit_reached, 409 seat_taken, 409 seats_unavailable, 422 idempotency_key_reused, 409 idempotency_in_flight, 400 invalid_json, 422 invalid_request, 415 unsupported_media_type, 413 body_too_large
    GET /v1/reservations: 200, 401 unauthorized, 401 invalid_token, 422 invalid_request
    GET /v1/reservations/{}: 200, 401 unauthorized, 404 reservation_not_found
    DELETE /v1/reservations/{}: 204, 401 unauthorized, 404 reservation_not_found, 409 not_held, 410 hold_expired
    POST /v1/reservations/{}/extend: 200, 401 unauthorized, 404 reservation_not_found, 409 not_held, 410 hold_expired, 409 extension_not_allowed, 409 already_extended
    POST /v1/payments: 201, 401 entry_token_required, 401 entry_token_expired, 401 entry_token_completed, 401 entry_token_revoked, 401 invalid_token, 403 wrong_queue, 404 reservation_not_found, 409 already_paid, 409 not_held, 410 hold_expired, 402 insufficient_points, 422 idempotency_key_reused
    GET /v1/payments/{}: 200, 401 unauthorized, 404 payment_not_found
    POST /v1/payments/{}/refund: 201, 401 unauthorized, 404 payment_not_found, 422 unknown_seat, 409 already_refunded, 409 show_started
    GET /v1/points: 200, 401 unauthorized, 401 invalid_token
    POST /v1/points/charges: 201, 401 unauthorized, 400 idempotency_key_required, 422 invalid_amount, 422 idempotency_key_reused, 409 idempotency_in_flight
    POST /v1/points/uses: 201, 401 unauthorized, 400 idempotency_key_required, 422 invalid_amount, 402 insufficient_points, 422 idempotency_key_reused
    GET /v1/points/history: 200, 401 unauthorized, 422 invalid_request
    POST /admin/v1/concerts: 201, 401 unauthorized, 422 invalid_request
    POST /admin/v1/concerts/{}/schedules: 201, 404 concert_not_found, 422 invalid_request
    PATCH /admin/v1/concerts/{}: 200, 404 concert_not_found, 422 invalid_request
    PATCH /admin/v1/schedules/{}: 200, 404 schedule_not_found, 409 schedule_cancelled, 422 invalid_request
    GET /admin/v1/concerts/{}/schedules: 200, 404 concert_not_found, 422 invalid_request
    POST /admin/v1/concerts/{}/cancel: 200, 404 concert_not_found
    POST /admin/v1/schedules/{}/cancel: 200, 404 schedule_not_found
    GET /admin/v1/schedules/{}/cancellation: 200, 404 schedule_not_found, 409 not_cancelled
    GET /admin/v1/schedules/{}/report: 200, 404 schedule_not_found
    GET /admin/v1/audit: 200, 401 unauthorized
";

/// Two requests with one key at the same moment: seen in `idempotency`, and not on demand.
const EXEMPT: [(&str, &str); 5] = [
    ("POST /v1/reservations", "409 idempotency_in_flight"),
    ("POST /v1/payments", "409 idempotency_in_flight"),
    ("POST /v1/payments/{}/refund", "409 idempotency_in_flight"),
    ("POST /v1/points/charges", "409 idempotency_in_flight"),
    ("POST /v1/points/uses", "409 idempotency_in_flight"),
];

#[test]
fn every_documented_answer_of_the_booking_service_is_given_and_no_other() {
    let mut ungated = Outcomes::new();
    World::s1().gated("concerts").run(async |world| {
        let documented = documented(world, Side::Booking).await;
        for path in ["/v1/reservations", "/v1/payments"] {
            world.call(Side::Booking, "POST", path).await.refused(401, "unauthorized");
        }
        let bob = world.user("bob");
        let hold = bob.reserve(world.date(), &[1]).await.ok(201);
        bob.extend(&hold).await.refused(409, "extension_not_allowed");
        ungated = seen(world, &documented, false);
    });
    let gated = World::s1().gated("concerts,dates,seats,reserve,pay");
    let flags = ["--max-charge", "9223372036854775807", "--hold-extension-seconds", "60"];
    gated.booking_flags(&flags).run(async |world| {
        let documented = documented(world, Side::Booking).await;
        all_of(&table(CONTRACT), &documented, &[], "the contract has it, the document has not");
        let ann = rich(world, "ann").await;
        let (held, paid) = successes(world, &ann).await;
        refused_holds(world, &ann).await;
        refused_payments(world, &ann, &paid).await;
        full_account(world).await;
        cancellations(world).await;
        idempotency(world, &ann).await;
        unknown(world, &ann).await;
        let fill = |template: &str| fill(world, template, &held, &paid);
        provoke_general(world, Side::Booking, &documented, fill).await;
        gates(world, &held, &paid).await;
        let mut seen = seen(world, &documented, false);
        for (name, outcomes) in ungated {
            seen.entry(name).or_default().extend(outcomes);
        }
        all_of(&documented, &seen, &EXEMPT, "documented, and not seen here");
        all_of(&seen, &documented, &[], "answered, and not documented");
    });
}

async fn rich<'w>(world: &'w World, name: &str) -> User<'w> {
    let person = world.user(name);
    person.take(world.entry_token(name, "main").await);
    person.charge(100 * PRICE).await.ok(201);
    person
}

fn fill(world: &World, template: &str, held: &Answer, paid: &Answer) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let id = if template.contains("/concerts/") {
        world.concert().id.clone()
    } else if template.contains("/schedules/") {
        world.date().id.clone()
    } else if template.contains("/payments/") {
        text(&paid["payment_id"])
    } else {
        text(&held["reservation_id"])
    };
    template.replace("{}", &id)
}

/// A reservation that is held and a payment that stands.
async fn successes(world: &World, ann: &User<'_>) -> (Answer, Answer) {
    let admin = world.admin();
    for path in ["/v1/concerts".to_owned(), format!("/v1/concerts/{}", world.concert().id)] {
        world.get(Side::Booking, &path).bearer(&ann.entry_token()).await.ok(200);
    }
    ann.dates(world.concert()).await.ok(200);
    let seats = ann.seats(world.date()).await.ok(200);
    let etag = seats.header("etag").unwrap_or_default().to_owned();
    let path = format!("/v1/schedules/{}/seats", world.date().id);
    let again = world.get(Side::Booking, &path).bearer(&ann.entry_token()).header("if-none-match", etag);
    again.await.ok(304);
    let held = ann.reserve(world.date(), &[1]).await.ok(201);
    ann.reservation(&held).await.ok(200);
    ann.reservations("held").await;
    ann.extend(&held).await.ok(200);
    ann.extend(&held).await.refused(409, "already_extended");
    let bought = ann.reserve(world.date(), &[2]).await.ok(201);
    let paid = ann.pay(&bought).await.ok(201);
    ann.receipt(&paid).await.ok(200);
    ann.history().await;
    ann.balance().await;
    ann.use_points(1).await.ok(201);
    admin.change_concert(&world.concert().id, &json!({ "title": "New" })).await.ok(200);
    admin.change_schedule(&world.date().id, &json!({ "max_seats_per_user": 10 })).await.ok(200);
    let other_seats = json!({ "seats": { "count": 5, "price": 1 } });
    admin.change_schedule(&world.date().id, &other_seats).await.refused_somehow();
    let show = admin.call(Side::BookingOps, "GET", &format!("/admin/v1/schedules/{}", world.date().id)).await;
    assert!(matches!(show.status, 200 | 404 | 405), "beside the contract: {show:?}");
    admin.report(world.date()).await.ok(200);
    admin.audit().await.ok(200);
    (held, paid)
}

/// A concert and its date, cancelled.
async fn cancellations(world: &World) {
    let admin = world.admin();
    let concert = world.add_concert("Off", "main").await;
    let date = world.add_date(&concert, 1).await;
    admin.cancellation(&date).await.refused(409, "not_cancelled");
    admin.cancel_schedule(&date).await.ok(200);
    admin.cancel_concert(&concert.id).await.ok(200);
    admin.cancellation(&date).await.ok(200);
    let seats = world.get(Side::Booking, &format!("/v1/schedules/{}/seats", date.id));
    seats.bearer(&world.entry_token("off", "main").await).await.refused(409, "schedule_cancelled");
    admin.change_schedule(&date.id, &json!({})).await.refused(409, "schedule_cancelled");
    let dates = |id: &str| admin.call(Side::BookingOps, "GET", &format!("/admin/v1/concerts/{id}/schedules"));
    assert!(!dates(&concert.id).await.ok(200).list("items")[0]["cancelled_at"].is_null());
    let id = world.unknown_id();
    let unknown = Date { id: id.clone(), concert };
    dates(&id).await.refused(404, "concert_not_found");
    admin.cancel_concert(&id).await.refused(404, "concert_not_found");
    admin.cancel_schedule(&unknown).await.refused(404, "schedule_not_found");
    admin.cancellation(&unknown).await.refused(404, "schedule_not_found");
}

async fn refused_holds(world: &World, ann: &User<'_>) {
    ann.take(world.entry_token("ann", "main").await);
    let bare = world.add_date_with(world.concert(), json!({})).await;
    ann.seats(&bare).await.refused(409, "seats_not_ready");
    ann.reserve(&bare, &[1]).await.refused(409, "seats_not_ready");
    let seats = json!({ "count": 5, "price": 1 });
    let later = json!({ "seats": seats, "sales_open_at": world.in_hours(5) });
    let later = world.add_date_with(world.concert(), later).await;
    ann.reserve(&later, &[1]).await.refused(409, "sales_closed");
    let limited = json!({ "seats": seats, "max_seats_per_user": 1 });
    let limited = world.add_date_with(world.concert(), limited).await;
    ann.reserve(&limited, &[1, 2]).await.refused(409, "seat_limit_reached");
    ann.reserve(world.date(), &[99]).await.refused(422, "unknown_seat");
    ann.reserve(world.date(), &[3, 4, 5, 6, 7]).await.refused(422, "too_many_seats");
    ann.reserve(world.date(), &[1]).await.refused(409, "seat_taken");
    let narrow = json!({ "seats": { "blocks": [
        { "row": "1", "from": 1, "to": 1, "price": 1 }, { "row": "2", "from": 2, "to": 2, "price": 1 },
    ] } });
    let narrow = world.add_date_with(world.concert(), narrow).await;
    let two = json!({ "schedule_id": narrow.id, "count": 2 });
    ann.reserve_json(&two).await.refused(409, "seats_unavailable");
    ann.reserve(world.date(), &[]).await.refused(422, "invalid_request");
    ann.dates_where(world.concert(), "?from=x").await.refused(422, "invalid_request");
    ann.booking("GET", "/v1/reservations?status=x").await.refused(422, "invalid_request");
    ann.booking("GET", "/v1/points/history?limit=0").await.refused(422, "invalid_request");
}

async fn refused_payments(world: &World, ann: &User<'_>, paid: &Answer) {
    let fresh = async || ann.take(world.entry_token("ann", "main").await);
    fresh().await;
    ann.pay(paid).await.refused(409, "already_paid");
    let poor = world.user("poor");
    poor.take(world.entry_token("poor", "main").await);
    let cancelled = poor.reserve(world.date(), &[10]).await.ok(201);
    poor.cancel(&cancelled).await.ok(204);
    poor.cancel(&cancelled).await.refused(409, "not_held");
    poor.extend(&cancelled).await.refused(409, "not_held");
    poor.pay(&cancelled).await.refused(409, "not_held");
    let lapsing = poor.reserve(world.date(), &[11]).await.ok(201);
    poor.pay(&lapsing).await.refused(402, "insufficient_points");
    poor.use_points(5).await.refused(402, "insufficient_points");
    poor.use_points(0).await.refused(422, "invalid_amount");
    poor.charge(0).await.refused(422, "invalid_amount");
    let short = json!({ "seats": { "count": 5, "price": 1 }, "starts_at": world.in_hours(1), "sales_close_at": world.in_hours(1) });
    let short = world.add_date_with(world.concert(), short).await;
    let shown = ann.reserve(&short, &[1]).await.ok(201);
    let shown = ann.pay(&shown).await.ok(201);
    fresh().await;
    let other = ann.reserve(world.date(), &[12]).await.ok(201);
    let refunded = ann.pay(&other).await.ok(201);
    ann.refund_seats(&refunded, &[13]).await.refused(422, "unknown_seat");
    ann.refund_seats(&refunded, &[]).await.refused(422, "invalid_request");
    let path = format!("/v1/payments/{}/refund", refunded.text("payment_id"));
    ann.booking("POST", &path).body("application/json", "{").await.refused(400, "invalid_json");
    ann.booking("POST", &path).body("text/plain", "{}").await.refused(415, "unsupported_media_type");
    ann.refund(&refunded).await.ok(201);
    ann.refund(&refunded).await.refused(409, "already_refunded");
    world.advance_seconds(3700);
    for person in [ann, &poor] {
        person.take(world.entry_token(person.id(), "main").await);
    }
    poor.pay(&lapsing).await.refused(410, "hold_expired");
    poor.cancel(&lapsing).await.refused(410, "hold_expired");
    poor.extend(&lapsing).await.refused(410, "hold_expired");
    ann.refund(&shown).await.refused(409, "show_started");
}

/// What an account that is full cannot take.
async fn full_account(world: &World) {
    let full = rich(world, "full").await;
    let hold = full.reserve(world.date(), &[35]).await.ok(201);
    let paid = full.pay(&hold).await.ok(201);
    full.use_points(full.balance().await).await.ok(201);
    full.charge(i64::MAX).await.ok(201);
    full.charge(1).await.refused(409, "balance_limit_reached");
    full.refund(&paid).await.refused(409, "balance_limit_reached");
}

async fn idempotency(world: &World, ann: &User<'_>) {
    ann.take(world.entry_token("ann", "main").await);
    let row = acceptance::Row::Reserve;
    let seats = |seat: i64| json!({ "schedule_id": world.date().id, "seat_numbers": [seat] });
    let hold = ann.row(row, "POST", "/v1/reservations").json(&seats(20)).key("r").await.ok(201);
    let other = ann.row(row, "POST", "/v1/reservations").json(&seats(21)).key("r").await;
    other.refused(422, "idempotency_key_reused");
    let second = ann.row(row, "POST", "/v1/reservations").json(&seats(22)).await.ok(201);
    let first = ann.pay_call(&hold.text("reservation_id")).key("p").await.ok(201);
    let reused = ann.pay_call(&second.text("reservation_id")).key("p").await;
    reused.refused(422, "idempotency_key_reused");
    for what in ["charges", "uses"] {
        ann.points_call(what, &json!({ "amount": 1, "memo": "x" })).key("k").await.ok(201);
        let other = ann.points_call(what, &json!({ "amount": 2, "memo": "x" })).key("k").await;
        other.refused(422, "idempotency_key_reused");
        let without = ann.points_call(what, &json!({ "amount": 2, "memo": "x" })).await;
        without.refused(400, "idempotency_key_required");
        let odd = ann.points_call(what, &json!({ "amount": 2, "memo": "x" })).key("a b").await;
        odd.refused_somehow();
    }
    let refund = |payment: &Answer| {
        ann.booking("POST", &format!("/v1/payments/{}/refund", payment.text("payment_id")))
    };
    refund(&first).key("f").await.ok(201);
    let large = " ".repeat(64 * 1024 + 1);
    refund(&first).body("application/json", large).await.refused(413, "body_too_large");
    let other_body = refund(&first).key("f").json(&json!({ "other": "body" })).await;
    other_body.refused(422, "idempotency_key_reused");
    refund(&first).key("a b").await.refused_somehow();
}

async fn unknown(world: &World, ann: &User<'_>) {
    ann.take(world.entry_token("ann", "main").await);
    let id = world.unknown_id();
    let date = Date { id: id.clone(), concert: world.concert().clone() };
    for (method, path, code) in [
        ("GET", format!("/v1/concerts/{id}"), "concert_not_found"),
        ("GET", format!("/v1/concerts/{id}/schedules"), "concert_not_found"),
        ("GET", format!("/v1/schedules/{id}/seats"), "schedule_not_found"),
        ("GET", format!("/v1/reservations/{id}"), "reservation_not_found"),
        ("DELETE", format!("/v1/reservations/{id}"), "reservation_not_found"),
        ("POST", format!("/v1/reservations/{id}/extend"), "reservation_not_found"),
        ("GET", format!("/v1/payments/{id}"), "payment_not_found"),
        ("POST", format!("/v1/payments/{id}/refund"), "payment_not_found"),
    ] {
        let call = world.call(Side::Booking, method, &path).bearer(&ann.entry_token());
        call.await.refused(404, code);
    }
    ann.reserve(&date, &[1]).await.refused(404, "schedule_not_found");
    ann.pay_call(&id).await.refused(404, "reservation_not_found");
    let admin = world.admin();
    admin.schedule(&id, &world.date_body()).await.refused(404, "concert_not_found");
    admin.change_concert(&id, &json!({ "title": "x" })).await.refused(404, "concert_not_found");
    admin.change_schedule(&id, &json!({})).await.refused(404, "schedule_not_found");
    admin.report(&date).await.refused(404, "schedule_not_found");
    drop(admin.call(Side::BookingOps, "GET", &format!("/admin/v1/schedules/{id}")).await);
    admin.concert(&json!({ "title": 5, "queue": "main" })).await.refused(422, "invalid_request");
}

/// Each way in which an entry token can be wrong, before each row.
async fn gates(world: &World, held: &Answer, paid: &Answer) {
    let spent = rich(world, "spent").await;
    let bought = spent.reserve(world.date(), &[30]).await.ok(201);
    spent.pay(&bought).await.ok(201);
    let revoked = world.user("revoked");
    revoked.enter().await;
    revoked.leave().await.ok(204);
    let mut old = world.entry_claims("ann", "main").await;
    (old.iat, old.nbf, old.exp) = (old.iat - 700, old.nbf - 700, old.exp - 700);
    world.admin().put_queue("other", &json!({})).await.ok(201);
    let foreign = world.entry_token("ann", "other").await;
    let tokens = [spent.entry_token(), world.sign_entry(&old), foreign, world.user_token("ann")];
    eventually("booking has heard of the revocation", async || {
        let seats = revoked.seats(world.date()).await;
        if seats.code() == Some("entry_token_revoked") { Ok(()) } else { Err(format!("{seats:?}")) }
    })
    .await;
    for token in tokens.iter().chain([&revoked.entry_token()]) {
        for template in [
            "GET /v1/concerts",
            "GET /v1/concerts/{}",
            "GET /v1/concerts/{}/schedules",
            "GET /v1/schedules/{}/seats",
            "POST /v1/reservations",
            "GET /v1/reservations",
            "GET /v1/reservations/{}",
            "DELETE /v1/reservations/{}",
            "POST /v1/reservations/{}/extend",
            "POST /v1/payments",
            "GET /v1/payments/{}",
            "POST /v1/payments/{}/refund",
            "GET /v1/points",
            "POST /v1/points/charges",
            "POST /v1/points/uses",
            "GET /v1/points/history",
        ] {
            let (method, path) = template.split_once(' ').unwrap();
            let path = fill(world, path, held, paid);
            let mut call =
                world.call(Side::Booking, method, &path).bearer(token).key(&uuid::Uuid::new_v4().to_string());
            if path == "/v1/reservations" && method == "POST" {
                call = call.json(&json!({ "schedule_id": world.date().id, "seat_numbers": [40] }));
            } else if path == "/v1/payments" {
                call = call.json(&json!({ "reservation_id": held["reservation_id"] }));
            } else if path.starts_with("/v1/points/") && method == "POST" {
                call = call.json(&json!({ "amount": 1, "memo": "x" }));
            }
            drop(call.await);
        }
    }
}

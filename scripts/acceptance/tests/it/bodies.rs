//! Bodies that no client should send, to every route that takes one: the named problem, nothing changed,
//! never a 5xx (the harness fails at one).

use acceptance::{ADMIN_TOKEN, Answer, Call, SERVICE_TOKEN, Side, User, World};
use serde_json::{Value, json};

/// A route that takes a JSON body, with a good credential and a good body.
struct BodyRoute {
    side: Side,
    method: &'static str,
    path: String,
    token: String,
    good: Value,
}

impl BodyRoute {
    /// With a key of its own, for those that need one.
    fn call<'w>(&self, world: &'w World) -> Call<'w> {
        let call = world.call(self.side, self.method, &self.path).bearer(&self.token);
        call.key(&uuid::Uuid::new_v4().to_string())
    }

    fn limit(&self) -> usize {
        if matches!(self.side, Side::QueueOps | Side::BookingOps) { 1024 * 1024 } else { 64 * 1024 }
    }
}

async fn body_routes(world: &World, ann: &User<'_>) -> Vec<BodyRoute> {
    let entry = world.entry_token(ann.id(), "main").await;
    let route = |side, method, path: &str, token: &str, good: Value| {
        let (path, token) = (path.to_owned(), token.to_owned());
        BodyRoute { side, method, path, token, good }
    };
    let seats = json!({ "schedule_id": world.date().id, "seat_numbers": [1] });
    let unknown = json!({ "reservation_id": world.unknown_id() });
    let (amount, used) = (json!({ "amount": 5 }), json!({ "amount": 5, "memo": "x" }));
    let (users, jtis) = (json!({ "users": 1 }), json!({ "jtis": [] }));
    let titled = json!({ "title": "x", "queue": "main" });
    let concert = format!("/admin/v1/concerts/{}", world.concert().id);
    let dates = format!("{concert}/schedules");
    let schedule = format!("/admin/v1/schedules/{}", world.date().id);
    let completions = "/internal/v1/queues/main/completions";
    vec![
        route(Side::Queue, "POST", "/v1/dev/login", "", json!({ "user_id": "x" })),
        route(Side::Booking, "POST", "/v1/reservations", &entry, seats),
        route(Side::Booking, "POST", "/v1/payments", &entry, unknown),
        route(Side::Booking, "POST", "/v1/points/charges", ann.token(), amount),
        route(Side::Booking, "POST", "/v1/points/uses", ann.token(), used),
        route(Side::QueueOps, "PUT", "/admin/v1/queues/main", ADMIN_TOKEN, json!({})),
        route(Side::QueueOps, "POST", "/admin/v1/queues/main/admit", ADMIN_TOKEN, users),
        route(Side::QueueOps, "POST", completions, SERVICE_TOKEN, jtis),
        route(Side::BookingOps, "POST", "/admin/v1/concerts", ADMIN_TOKEN, titled),
        route(Side::BookingOps, "POST", &dates, ADMIN_TOKEN, world.date_body()),
        route(Side::BookingOps, "PATCH", &concert, ADMIN_TOKEN, json!({})),
        route(Side::BookingOps, "PATCH", &schedule, ADMIN_TOKEN, json!({})),
    ]
}

#[test]
fn what_is_not_json_is_400_everywhere() {
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        let books = world.books(&[&ann]).await;
        for route in body_routes(world, &ann).await {
            for body in ["{", "", "nope", "{\"a\":1}}", "{'a':1}", "[1,", "\u{feff}{}", "{\"a\":01}", "\0"] {
                let answer = route.call(world).body("application/json", body).await;
                assert_eq!(answer.outcome(), "400 invalid_json", "{body:?}: {answer:?}");
            }
            let not_utf8 = route.call(world).body("application/json", b"{\"a\":\"\xff\xfe\"}".to_vec()).await;
            assert_eq!(not_utf8.outcome(), "400 invalid_json", "{not_utf8:?}");
        }
        books.unchanged().await;
    });
}

#[test]
fn json_of_the_wrong_shape_is_422_everywhere() {
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        let books = world.books(&[&ann]).await;
        for route in body_routes(world, &ann).await {
            let members: Vec<Value> = route.good.as_object().unwrap().values().cloned().collect();
            let backwards: Vec<Value> = members.iter().rev().cloned().collect();
            let lists = [json!([]), json!([route.good]), json!(members), json!(backwards)];
            for body in lists.into_iter().chain([json!(null), json!("text"), json!(7), json!(true)]) {
                let answer = route.call(world).json(&body).await;
                assert_eq!(answer.status, 422, "{body}: {answer:?}");
            }
            // Every member in turn has a type that no member has.
            for member in route.good.as_object().unwrap().keys() {
                let mut body = route.good.clone();
                body[member] = json!([{ "wrong": [] }]);
                let answer = route.call(world).json(&body).await;
                assert_eq!(answer.status, 422, "{body}: {answer:?}");
                body.as_object_mut().unwrap().remove(member);
                let optional =
                    matches!(member.as_str(), "memo" | "sales_open_at" | "sales_close_at" | "queue");
                let answer = route.call(world).json(&body).await;
                assert!(answer.status == 422 || optional && answer.status < 500, "{body}: {answer:?}");
            }
        }
        books.unchanged().await;
    });
}

#[test]
fn a_very_deep_document_is_refused() {
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        for route in body_routes(world, &ann).await {
            let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
            let answer = route.call(world).body("application/json", deep.clone()).await;
            assert!(matches!(answer.status, 400 | 422), "{}: {answer:?}", route.path);
            let inside = format!("{{\"deep\":{deep}}}");
            let answer = route.call(world).body("application/json", inside).await;
            assert!(matches!(answer.status, 400 | 422), "{}: {answer:?}", route.path);
        }
    });
}

#[test]
fn a_body_of_another_media_type_is_415() {
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        for route in body_routes(world, &ann).await {
            let text = route.good.to_string();
            for media in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", ""] {
                let answer = route.call(world).body(media, text.clone()).await;
                assert_eq!(answer.outcome(), "415 unsupported_media_type", "{media}: {answer:?}");
            }
        }
        let charset = ann.booking("POST", "/v1/points/charges").key("k");
        charset.body("application/json; charset=utf-8", "{\"amount\":1}").await.ok(201);
    });
}

#[test]
fn a_body_over_the_limit_is_413_however_it_comes() {
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        for route in body_routes(world, &ann).await {
            let limit = route.limit();
            let large = format!("{{\"padding\":\"{}\"}}", "x".repeat(limit));
            let answer = route.call(world).body("application/json", large.clone()).await;
            assert_eq!(answer.outcome(), "413 body_too_large", "{answer:?}");
            let chunked = chunked(world, &route, large.as_bytes()).await;
            assert_eq!(chunked.outcome(), "413 body_too_large", "{}: {chunked:?}", route.path);
            let mut fits = route.good.clone();
            let length = limit - fits.to_string().len() - 100;
            fits["padding"] = json!("x".repeat(length));
            let answer = route.call(world).json(&fits).await;
            assert_ne!(answer.status, 413, "{}", route.path);
        }
    });
}

/// The answer reaches a client that is still writing: the connection is not reset under it.
#[test]
fn a_refused_body_is_answered_every_time() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        let mut lost = Vec::new();
        for (length, token, expected) in [
            (60_000, "rubbish", "401 invalid_token"),
            (64 * 1024 + 1, ann.token(), "413 body_too_large"),
            (100_000, ann.token(), "413 body_too_large"),
            (1_000_000, ann.token(), "413 body_too_large"),
            (4_000_000, ann.token(), "413 body_too_large"),
        ] {
            let mut unanswered = 0;
            for _ in 0..50 {
                let call = world.call(Side::Booking, "POST", "/v1/points/charges").bearer(token).key("large");
                match call.body("application/json", vec![b' '; length]).attempt().await {
                    Ok(answer) => assert_eq!(answer.outcome(), expected, "{answer:?}"),
                    Err(_) => unanswered += 1,
                }
            }
            lost.push((length, unanswered));
        }
        let all: i32 = lost.iter().map(|(_, unanswered)| unanswered).sum();
        assert_eq!(all, 0, "of 50 bodies each, (bytes, without an answer): {lost:?}");
    });
}

/// The answer is readable for a client that writes on, too.
#[test]
fn a_body_far_over_the_limit_is_still_told_so() {
    World::s1().run(async |world| {
        let body = vec![b' '; 8 * 1024 * 1024];
        for side in [Side::Queue, Side::Booking] {
            let path = if side == Side::Queue { "/v1/dev/login" } else { "/v1/points/charges" };
            let head = format!(
                "POST {path} HTTP/1.1\nauthorization: Bearer {}\ncontent-type: application/json\n\
                 idempotency-key: far\ncontent-length: {}",
                world.user("ann").token(),
                body.len()
            );
            let answer = world.raw(side, &head, &body).await.expect("an answer");
            assert_eq!(answer.outcome(), "413 body_too_large", "{answer:?}");
        }
    });
}

async fn chunked(world: &World, route: &BodyRoute, body: &[u8]) -> Answer {
    let head = format!(
        "{} {} HTTP/1.1\nauthorization: Bearer {}\ncontent-type: application/json\n\
         idempotency-key: chunked\ntransfer-encoding: chunked",
        route.method, route.path, route.token
    );
    let mut chunks = Vec::new();
    for chunk in body.chunks(8 * 1024) {
        chunks.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunks.extend(chunk);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n\r\n");
    world.raw(route.side, &head, &chunks).await.expect("an answer")
}

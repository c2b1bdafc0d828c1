//! The queue service's half.

use acceptance::{Side, User, World, eventually};
use serde_json::json;

use super::{all_of, documented, provoke_general, seen, table};

const CONTRACT: &str = "
    POST /v1/queues/{}/tokens: 200, 201, 401 unauthorized, 401 invalid_token, 404 queue_not_found, 409 already_in_queue, 503 queue_closed, 503 queue_draining
    GET /v1/queues/{}/tokens/me: 200, 303, 401 unauthorized, 401 invalid_token, 403 wrong_queue, 404 token_not_found, 410 token_expired, 410 token_left, 410 token_completed, 410 token_replaced, 410 queue_closed
    DELETE /v1/queues/{}/tokens/me: 204, 401 unauthorized, 401 invalid_token, 403 wrong_queue
    GET /v1/queues/{}/tokens/me/events: 200, 401 unauthorized, 401 invalid_token
    GET /v1/queues/{}: 200, 404 queue_not_found
    GET /.well-known/jwks.json: 200
    POST /v1/dev/login: 400 invalid_json
    PUT /admin/v1/queues/{}: 200, 201, 401 unauthorized, 401 invalid_token, 422 invalid_settings
    GET /admin/v1/queues: 200, 401 unauthorized
    GET /admin/v1/queues/{}: 200, 404 queue_not_found
    POST /admin/v1/queues/{}/pause: 200, 404 queue_not_found
    POST /admin/v1/queues/{}/resume: 200, 404 queue_not_found
    POST /admin/v1/queues/{}/drain: 200, 404 queue_not_found
    POST /admin/v1/queues/{}/close: 200, 404 queue_not_found
    POST /admin/v1/queues/{}/admit: 200, 404 queue_not_found, 422 invalid_request
    DELETE /admin/v1/queues/{}/tokens/{}: 204, 404 queue_not_found
    POST /internal/v1/stock: 200, 401 unauthorized, 403 forbidden, 422 invalid_request
    POST /internal/v1/pressure: 200, 401 unauthorized, 403 forbidden, 422 invalid_request
    POST /internal/v1/queues/{}/completions: 200, 401 unauthorized, 404 queue_not_found, 422 invalid_request
    GET /internal/v1/revocations: 200, 401 unauthorized, 401 invalid_token
";

/// Without a development key there is no such login; `identity` shows that.
const EXEMPT: [(&str, &str); 1] = [("POST /v1/dev/login", "404 not_found")];

#[test]
fn every_documented_answer_of_the_queue_service_is_given_and_no_other() {
    World::s0().queue(json!({ "redirect_url": "https://shop.example/" })).run(async |world| {
        let documented = documented(world, Side::Queue).await;
        all_of(&table(CONTRACT), &documented, &[], "the contract has it, the document has not");
        successes(world).await;
        refusals_of_joining(world).await;
        endings(world).await;
        unknown_queues(world).await;
        provoke_general(world, Side::Queue, &documented, fill).await;
        let seen = seen(world, &documented, true);
        all_of(&documented, &seen, &EXEMPT, "documented, and not seen here");
        all_of(&seen, &documented, &[], "answered, and not documented");
    });
}

fn fill(template: &str) -> String {
    let path = template.replacen("/queues/{}", "/queues/main", 1);
    path.replace("{}", "nobody")
}

async fn successes(world: &World) {
    let ann = world.user("success");
    ann.enter().await;
    ann.join().await.ok(200);
    let browser = world.get(Side::Queue, &ann.me("")).bearer(&ann.queue_token());
    browser.header("accept", "text/html").await.ok(303);
    drop(world.get(Side::Queue, &ann.me("/events")).bearer(&ann.queue_token()).stream().await);
    for path in ["/v1/queues/main", "/.well-known/jwks.json", "/openapi.json"] {
        world.get(Side::Queue, path).await.ok(200);
    }
    let login = world.call(Side::Queue, "POST", "/v1/dev/login").json(&json!({ "user_id": "x" })).await;
    assert!(login.status < 300, "{login:?}");
    let login = world.call(Side::Queue, "POST", "/v1/dev/login").json(&json!({ "user_id": 5 })).await;
    login.refused(422, "invalid_request");
    let admin = world.admin();
    admin.put_queue("other", &json!({})).await.ok(201);
    admin.put_queue("other", &json!({})).await.ok(200);
    admin.put_queue("other", &json!({ "x": 1 })).await.refused(422, "invalid_settings");
    admin.call(Side::QueueOps, "GET", "/admin/v1/queues").await.ok(200);
    admin.queue("main").await.ok(200);
    for act in ["pause", "drain", "close", "resume"] {
        admin.call(Side::QueueOps, "POST", &format!("/admin/v1/queues/other/{act}")).await.ok(200);
    }
    admin.admit("other", 1).await.ok(200);
    admin.complete("main", &[]).await.ok(200);
    admin.stock(&json!({ "as_of": world.in_hours(0), "items": [] })).await.ok(200);
    admin.pressure(&json!({ "reporter": "booking" })).await.ok(200);
    admin.revocations("").await.ok(200);
    ann.leave().await.ok(204);
}

async fn refusals_of_joining(world: &World) {
    world.admin().put_queue("strict", &json!({ "rejoin": "reject" })).await.ok(201);
    let ann = world.user("strict").at("strict");
    ann.join().await.ok(201);
    ann.join().await.refused(409, "already_in_queue");
    world.admin().drain("strict").await.ok(200);
    world.user("late").at("strict").join().await.refused(503, "queue_draining");
    world.admin().close("strict").await.ok(200);
    world.user("late").at("strict").join().await.refused(503, "queue_closed");
}

/// Each way in which a place ends, seen by each row that takes its token.
async fn endings(world: &World) {
    let settings = json!({ "rejoin": "requeue", "max_active": 2, "instant_admission": false });
    world.admin().put_queue("end", &settings).await.ok(201);
    let at = |name: &str| world.user(name).at("end");
    let done = at("done");
    done.enter().await;
    world.admin().complete("end", &[done.claims().jti]).await.ok(200);
    ended(world, &done, &done.queue_token(), "token_completed").await;
    world.admin().pause("end").await.ok(200);
    let left = at("left");
    left.join().await.ok(201);
    left.leave().await.ok(204);
    ended(world, &left, &left.queue_token(), "token_left").await;
    let again = at("again");
    again.join().await.ok(201);
    let old = again.queue_token();
    again.join().await.ok(201);
    ended(world, &again, &old, "token_replaced").await;
    let silent = at("silent");
    silent.join().await.ok(201);
    world.advance_seconds(200);
    ended(world, &silent, &silent.queue_token(), "token_expired").await;
    let closed = at("closed");
    closed.join().await.ok(201);
    world.admin().close("end").await.ok(200);
    ended(world, &closed, &closed.queue_token(), "queue_closed").await;
    for (method, tail) in [("GET", ""), ("GET", "/events"), ("DELETE", "")] {
        let path = format!("/v1/queues/main/tokens/me{tail}");
        let call = world.call(Side::Queue, method, &path).bearer(&closed.queue_token());
        call.await.refused(403, "wrong_queue");
        let stranger = world.user("stranger");
        drop(stranger.call(Side::Queue, method, &path).await);
    }
}

async fn ended(world: &World, person: &User<'_>, token: &str, code: &str) {
    for tail in ["", "/events"] {
        eventually("the place has ended", async || {
            let poll = world.get(Side::Queue, &person.me(tail)).bearer(token).await;
            if poll.code() == Some(code) { Ok(()) } else { Err(format!("{poll:?}")) }
        })
        .await;
    }
    drop(world.call(Side::Queue, "DELETE", &person.me("")).bearer(token).await);
}

async fn unknown_queues(world: &World) {
    let ann = world.user("lost");
    for (method, tail) in [
        ("GET", ""),
        ("POST", "/tokens"),
        ("GET", "/tokens/me"),
        ("DELETE", "/tokens/me"),
        ("GET", "/tokens/me/events"),
    ] {
        let path = format!("/v1/queues/nope{tail}");
        ann.call(Side::Queue, method, &path).await.refused(404, "queue_not_found");
    }
    let admin = world.admin();
    for (method, tail) in
        [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/drain"), ("POST", "/close")]
    {
        let path = format!("/admin/v1/queues/nope{tail}");
        admin.call(Side::QueueOps, method, &path).await.refused(404, "queue_not_found");
    }
    admin.admit("nope", 1).await.refused(404, "queue_not_found");
    admin.complete("nope", &[]).await.refused(404, "queue_not_found");
    admin.remove("nope", &ann).await.refused(404, "queue_not_found");
    admin.remove("main", &world.user("success")).await.ok(204);
    let bad = admin.call(Side::QueueOps, "POST", "/admin/v1/queues/main/admit").json(&json!({ "users": -1 }));
    bad.await.refused(422, "invalid_request");
    drop(admin.revocations("limit=0").await);
    drop(admin.put_queue("Not%20A%20Slug", &json!({})).await);
}

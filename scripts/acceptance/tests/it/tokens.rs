//! Credentials that are missing, forged, tampered with or of the wrong kind, in every place.

use acceptance::{
    ADMIN_TOKEN, Answer, Call, Keys, PRICE, SERVICE_TOKEN, Side, World, forged, signature_of_a_stranger,
};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// 53
#[test]
fn no_forged_entry_token_opens_anything() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.charge(PRICE).await.ok(201);
        ann.take(world.entry_token("ann", "main").await);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let genuine = ann.entry_token();
        let books = world.books(&[&ann]).await;
        for (name, token) in bad_entry_tokens(world).await {
            for call in gated(world, &hold) {
                let answer = call.bearer(&token).await;
                assert_eq!(answer.outcome(), "401 invalid_token", "{name}: {answer:?}");
            }
            for call in open_to_users(world) {
                let answer = call.bearer(&token).await;
                assert_eq!(answer.outcome(), "401 invalid_token", "{name}: {answer:?}");
            }
        }
        books.unchanged().await;
        world.get(Side::Booking, "/v1/points").bearer(&genuine).await.ok(200);
    });
}

#[test]
fn an_entry_token_is_refused_from_its_expiry_on() {
    World::s1().run(async |world| {
        let mut claims = world.entry_claims("ann", "main").await;
        (claims.iat, claims.nbf, claims.exp) = (claims.iat - 700, claims.nbf - 700, claims.iat - 100);
        let ann = world.user("ann");
        ann.take(world.sign_entry(&claims));
        ann.seats(world.date()).await.refused(401, "entry_token_expired");
        ann.dates(world.concert()).await.refused(401, "entry_token_expired");
        ann.reserve(world.date(), &[1]).await.refused(401, "entry_token_expired");
        ann.pay_call(&world.unknown_id()).await.refused(401, "entry_token_expired");
        let points = world.get(Side::Booking, "/v1/points").bearer(&ann.entry_token()).await;
        assert_eq!(points.status, 401, "{points:?}");
    });
}

#[test]
fn tokens_of_another_kind_are_no_entry_tokens() {
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        ann.take(world.entry_token("ann", "main").await);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        for token in [ann.token().to_owned(), ann.queue_token()] {
            for call in gated(world, &hold) {
                call.bearer(&token).await.refused(401, "entry_token_required");
            }
        }
    });
}

fn gated<'w>(world: &'w World, hold: &Answer) -> Vec<Call<'w>> {
    let date = world.date();
    let seats = json!({ "schedule_id": date.id, "seat_numbers": [2] });
    let pay = json!({ "reservation_id": hold["reservation_id"] });
    vec![
        world.get(Side::Booking, &format!("/v1/concerts/{}/schedules", date.concert.id)),
        world.get(Side::Booking, &format!("/v1/schedules/{}/seats", date.id)),
        world.call(Side::Booking, "POST", "/v1/reservations").json(&seats),
        world.call(Side::Booking, "POST", "/v1/payments").json(&pay),
    ]
}

fn open_to_users(world: &World) -> Vec<Call<'_>> {
    let amount = json!({ "amount": 5 });
    vec![
        world.get(Side::Booking, "/v1/points"),
        world.call(Side::Booking, "POST", "/v1/points/charges").key("k").json(&amount),
        world.get(Side::Booking, "/v1/reservations"),
    ]
}

/// Each looks like a genuine entry token of ann's but for one thing.
async fn bad_entry_tokens(world: &World) -> Vec<(&'static str, String)> {
    let claims = world.entry_claims("ann", "main").await;
    let genuine = world.sign_entry(&claims);
    let key = world.keys.entry_key();
    let claims = serde_json::to_value(claims).unwrap();
    let with = |member: &str, value: Value| {
        let mut changed = claims.clone();
        changed[member] = value;
        changed
    };
    let without = |member: &str| {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(member);
        changed
    };
    let sign = |claims: &Value| key.sign("entry+jwt", claims).unwrap();
    let now = world.booking_clock().unix_seconds();
    let mut tokens = vec![
        ("meant for somebody else", sign(&with("aud", json!("shop")))),
        ("of another issuer", sign(&with("iss", json!("https://evil.example")))),
        ("not valid yet", sign(&with("nbf", json!(now + 3600)))),
        ("without jti", sign(&without("jti"))),
        ("without sub", sign(&without("sub"))),
        ("without queue", sign(&without("queue"))),
        ("without exp", sign(&without("exp"))),
        ("without aud", sign(&without("aud"))),
        ("with a text as exp", sign(&with("exp", json!("never")))),
        ("by a stranger", Keys::stranger().sign("entry+jwt", &claims).unwrap()),
        ("by the identity provider", world.keys.identity_key().sign("entry+jwt", &claims).unwrap()),
    ];
    tokens.extend(forgeries("entry+jwt", key.kid(), key.jwk()["x"].as_str().unwrap(), &claims));
    tokens.extend(damaged(&genuine));
    tokens
}

/// The classics: no algorithm, the public key as a secret, a known name on an unknown key.
fn forgeries(typ: &str, kid: &str, x: &str, claims: &Value) -> Vec<(&'static str, String)> {
    let header = |alg: &str| json!({ "alg": alg, "typ": typ, "kid": kid });
    let public = URL_SAFE_NO_PAD.decode(x).unwrap();
    let hmac_with = |secret: &[u8], message: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
    };
    let embedded = json!({
        "alg": "EdDSA", "typ": typ, "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x },
        "jku": "http://127.0.0.1:1/keys", "kid": "somebody-else",
    });
    vec![
        ("alg none", forged(&header("none"), claims, |_| Vec::new())),
        ("alg NONE", forged(&header("NoNe"), claims, |_| Vec::new())),
        ("HS256 by the public key", forged(&header("HS256"), claims, |text| hmac_with(&public, text))),
        ("HS256 by its text", forged(&header("HS256"), claims, |text| hmac_with(x.as_bytes(), text))),
        ("our kid, another key", forged(&header("EdDSA"), claims, signature_of_a_stranger)),
        ("brings its own key", forged(&embedded, claims, signature_of_a_stranger)),
        ("no signature", forged(&header("EdDSA"), claims, |_| Vec::new())),
        ("zeros for a signature", forged(&header("EdDSA"), claims, |_| vec![0; 64])),
        ("alg ES256", forged(&header("ES256"), claims, signature_of_a_stranger)),
        ("no claims", forged(&header("EdDSA"), &json!(null), signature_of_a_stranger)),
    ]
}

/// A genuine token, damaged.
fn damaged(genuine: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = genuine.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let other = URL_SAFE_NO_PAD.encode(claims.replace("\"ann\"", "\"bob\""));
    vec![
        ("another sub", format!("{}.{other}.{}", parts[0], parts[2])),
        ("half a signature", genuine[..genuine.len() - 40].to_owned()),
        ("a fourth part", format!("{genuine}.{}", parts[2])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("dots", "..".to_owned()),
        ("a word", "token".to_owned()),
        ("text after it", format!("{genuine} {genuine}")),
    ]
}

#[test]
fn no_forged_user_token_is_anybody() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.charge(500).await.ok(201);
        let books = world.books(&[&ann]).await;
        for (name, token) in bad_user_tokens(world) {
            let calls = [
                world.call(Side::Queue, "POST", "/v1/queues/main/tokens"),
                world.get(Side::Queue, "/v1/queues/main/tokens/me"),
                world.call(Side::Queue, "DELETE", "/v1/queues/main/tokens/me"),
                world.get(Side::Queue, "/v1/queues/main/tokens/me/events"),
            ];
            for call in calls.into_iter().chain(open_to_users(world)) {
                let answer = call.bearer(&token).await;
                assert_eq!(answer.outcome(), "401 invalid_token", "{name}: {answer:?}");
            }
        }
        books.unchanged().await;
    });
}

fn bad_user_tokens(world: &World) -> Vec<(&'static str, String)> {
    let now = world.clock().unix_seconds();
    let claims = json!({ "sub": "ann", "exp": now + 3600 });
    let key = world.keys.identity_key();
    let of = |claims: Value| world.user_token_of(&claims);
    let mut tokens = vec![
        ("expired", of(json!({ "sub": "ann", "exp": now - 1 }))),
        ("without exp", of(json!({ "sub": "ann" }))),
        ("without sub", of(json!({ "exp": now + 3600 }))),
        ("an empty sub", of(json!({ "sub": "", "exp": now + 3600 }))),
        ("a number as sub", of(json!({ "sub": 7, "exp": now + 3600 }))),
        ("null as sub", of(json!({ "sub": null, "exp": now + 3600 }))),
        ("not valid yet", of(json!({ "sub": "ann", "exp": now + 7200, "nbf": now + 3600 }))),
        ("by a stranger", Keys::stranger().sign("JWT", &claims).unwrap()),
        ("by the entry key", world.keys.entry_key().sign("JWT", &claims).unwrap()),
    ];
    tokens.extend(forgeries("JWT", key.kid(), key.jwk()["x"].as_str().unwrap(), &claims));
    tokens.extend(damaged(&of(claims)));
    tokens
}

#[test]
fn no_forged_queue_token_is_a_place() {
    World::s1().paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        let token = ann.queue_token();
        let mut swapped = token.clone().into_bytes();
        let middle = swapped.len() / 2;
        swapped[middle] = if swapped[middle] == b'A' { b'B' } else { b'A' };
        let swapped = String::from_utf8(swapped).unwrap();
        let bad = [
            swapped,
            "qt_".to_owned(),
            "qt_nonsense".to_owned(),
            "qt_....".to_owned(),
            format!("{token}A"),
            token[..token.len() - 1].to_owned(),
            token.replace("qt_", "QT_"),
            token.replace("qt_", ""),
            format!("qt_{}", "A".repeat(4000)),
        ];
        for bad in &bad {
            for (method, tail) in [("GET", ""), ("DELETE", ""), ("GET", "/events")] {
                let call = world.call(Side::Queue, method, &ann.me(tail)).bearer(bad);
                call.await.refused(401, "invalid_token");
            }
        }
        assert_eq!(world.admin().number("waiting").await, 2);
    });
}

#[test]
fn tokens_of_another_kind_open_nothing_at_the_queue() {
    World::s1().run(async |world| {
        world.admin().put_queue("other", &json!({})).await.ok(201);
        let ann = world.user("ann");
        ann.enter().await;
        let (queue_token, entry_token) = (ann.queue_token(), ann.entry_token());
        let join = |token: &str| world.call(Side::Queue, "POST", "/v1/queues/main/tokens").bearer(token);
        join(&queue_token).await.refused(401, "invalid_token");
        join(&entry_token).await.refused(401, "invalid_token");
        for (method, tail) in [("GET", ""), ("DELETE", ""), ("GET", "/events")] {
            let with = |queue: &str, token: &str| {
                let path = format!("/v1/queues/{queue}/tokens/me{tail}");
                world.call(Side::Queue, method, &path).bearer(token)
            };
            with("main", &entry_token).await.refused(401, "invalid_token");
            with("other", &queue_token).await.refused(403, "wrong_queue");
            world.call(Side::Queue, method, &ann.me(tail)).await.refused(401, "unauthorized");
        }
        ann.poll().await.ok(200);
    });
}

#[test]
fn one_credential_per_request_and_none_in_the_url() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        let bob = world.user("bob");
        for (side, path) in [(Side::Booking, "/v1/points"), (Side::Queue, "/v1/queues/main/tokens/me")] {
            let two = ann.call(side, "GET", path).header("authorization", format!("Bearer {}", bob.token()));
            two.await.refused(401, "invalid_token");
            let same = ann.call(side, "GET", path).header("authorization", format!("Bearer {}", ann.token()));
            same.await.refused(401, "invalid_token");
            for odd in
                ["Basic YTpi", "Bearer", "Bearer ", "bearer", "Token x", "", "Bearer a b", "Bearer \u{e9}"]
            {
                let answer = world.get(side, path).header("authorization", odd).await;
                assert_eq!(answer.status, 401, "{odd:?}: {answer:?}");
            }
            for query in ["access_token", "token", "authorization"] {
                let path = format!("{path}?{query}={}", ann.token());
                let answer = world.get(side, &path).await;
                assert_eq!(answer.outcome(), "401 unauthorized", "{answer:?}");
            }
        }
        let lower = world.get(Side::Booking, "/v1/points");
        lower.header("authorization", format!("bearer {}", ann.token())).await.ok(200);
    });
}

#[test]
fn each_secret_of_the_ops_listener_opens_its_own_paths_alone() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        let admin = [
            (Side::QueueOps, "GET", "/admin/v1/queues"),
            (Side::QueueOps, "PUT", "/admin/v1/queues/evil"),
            (Side::QueueOps, "POST", "/admin/v1/queues/main/close"),
            (Side::BookingOps, "GET", "/admin/v1/audit"),
            (Side::BookingOps, "POST", "/admin/v1/concerts"),
        ];
        let internal = [
            (Side::QueueOps, "GET", "/internal/v1/revocations"),
            (Side::QueueOps, "POST", "/internal/v1/queues/main/completions"),
        ];
        let rows = admin.iter().map(|row| (row, SERVICE_TOKEN));
        for ((side, method, path), wrong) in rows.chain(internal.iter().map(|row| (row, ADMIN_TOKEN))) {
            world.call(*side, method, path).await.refused(401, "unauthorized");
            for token in
                [wrong, ann.token(), &ADMIN_TOKEN[1..], &format!("{wrong}2"), &wrong.to_uppercase(), "x"]
            {
                let answer = world.call(*side, method, path).bearer(token).await;
                assert!(matches!(answer.status, 401 | 403), "{token}: {answer:?}");
            }
        }
        assert_eq!(world.admin().queue("main").await.ok(200)["state"], "open");
        world.admin().queue("evil").await.refused(404, "queue_not_found");
    });
}

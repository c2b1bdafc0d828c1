//! Who is believed about users, and keys that come and go.

use acceptance::{AUDIENCE, ISSUER, PRICE, Side, World};
use serde_json::{Value, json};

#[test]
fn tokens_of_the_identity_provider_are_taken_and_there_is_no_login() {
    World::s1().identity_provider().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        let login = world.call(Side::Queue, "POST", "/v1/dev/login").json(&json!({ "user_id": "ann" }));
        login.await.refused(404, "not_found");
    });
}

#[test]
fn issuer_and_audience_are_checked_when_they_are_set() {
    World::s1().identity_provider().run(async |world| {
        let exp = world.clock().unix_seconds() + 3600;
        let token = |iss: Value, aud: Value| {
            world.user_token_of(&json!({ "sub": "ann", "exp": exp, "iss": iss, "aud": aud }))
        };
        let ask = async |token: &str| {
            let points = world.get(Side::Booking, "/v1/points").bearer(token).await.outcome();
            let poll = world.get(Side::Queue, "/v1/queues/main/tokens/me").bearer(token).await.outcome();
            (points, poll)
        };
        let good = ("200".to_owned(), "404 token_not_found".to_owned());
        let bad = ("401 invalid_token".to_owned(), "401 invalid_token".to_owned());
        assert_eq!(ask(&token(json!(ISSUER), json!(AUDIENCE))).await, good);
        assert_eq!(ask(&token(json!(ISSUER), json!(["x", AUDIENCE]))).await, good);
        for (iss, aud) in [
            (json!("https://evil.example/"), json!(AUDIENCE)),
            (json!(null), json!(AUDIENCE)),
            (json!(ISSUER.trim_end_matches('/')), json!(AUDIENCE)),
            (json!(ISSUER), json!("other")),
            (json!(ISSUER), json!(null)),
            (json!(ISSUER), json!([])),
        ] {
            assert_eq!(ask(&token(iss.clone(), aud.clone())).await, bad, "{iss} {aud}");
        }
    });
}

/// The first key signs, all are published, tokens of each are taken.
#[test]
fn keys_of_entry_tokens_can_be_several() {
    World::s1().run(async |world| {
        let (current, other) = (world.keys.entry_key(), world.keys.other_entry_key());
        let jwks = world.get(Side::Queue, "/.well-known/jwks.json").await.ok(200);
        let mut kids: Vec<_> = jwks.list("keys").iter().filter_map(|key| key["kid"].as_str()).collect();
        let mut expected = [current.kid(), other.kid()];
        kids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(kids, expected, "kid is the RFC 7638 thumbprint");
        let ann = world.user("ann");
        ann.enter().await;
        let header = jsonwebtoken::decode_header(ann.entry_token()).unwrap();
        assert_eq!(header.kid.as_deref(), Some(current.kid()));
        let claims = world.entry_claims("bob", "main").await;
        let bob = world.user("bob");
        bob.take(shared::tokens::entry::sign(&claims, &other).unwrap());
        bob.seats(world.date()).await.ok(200);
    });
}

//! Tokens made here: those of the identity provider, and whatever else can be signed with this world's keys.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::tokens::entry::EntryClaims;

use crate::user::User;
use crate::world::World;

/// `iss` of the user tokens.
pub const ISSUER: &str = "https://identity.example/";
/// `aud` of the user tokens.
pub const AUDIENCE: &str = "tickets";
const YEAR_SECONDS: i64 = 365 * 24 * 3600;

impl World {
    /// A user token of the identity provider, good for a year.
    pub fn user_token(&self, id: &str) -> String {
        self.user_token_with(id, json!({}))
    }

    /// As [`World::user_token`], with more claims.
    pub fn user_token_with(&self, id: &str, more: Value) -> String {
        let now = self.clock().unix_seconds();
        let exp = now + YEAR_SECONDS;
        let mut claims = json!({ "sub": id, "iat": now, "exp": exp, "iss": ISSUER, "aud": AUDIENCE });
        if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), more) {
            claims.extend(more);
        }
        self.user_token_of(&claims)
    }

    /// A user token that says just that.
    pub fn user_token_of(&self, claims: &Value) -> String {
        self.keys.identity_key().sign("JWT", claims).expect("a token can be signed")
    }

    /// Claims of an admission that the queue service never gave, good for ten minutes.
    pub async fn entry_claims(&self, user: &str, queue: &str) -> EntryClaims {
        let issuer = self.issuer.get_or_init(|| self.learn_issuer()).await.clone();
        let now = self.booking_clock().unix_seconds();
        EntryClaims {
            iss: issuer,
            aud: shared::tokens::entry::AUDIENCE.to_owned(),
            sub: user.to_owned(),
            queue: queue.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            iat: now,
            nbf: now,
            exp: now + 600,
        }
    }

    /// Signs them as the queue service would.
    pub fn sign_entry(&self, claims: &EntryClaims) -> String {
        shared::tokens::entry::sign(claims, &self.keys.entry_key()).expect("a token can be signed")
    }

    /// A genuine entry token that took no slot.
    pub async fn entry_token(&self, user: &str, queue: &str) -> String {
        self.sign_entry(&self.entry_claims(user, queue).await)
    }

    /// What the queue service calls itself, from an entry token of a queue made for that.
    async fn learn_issuer(&self) -> String {
        let open = json!({ "admission": null, "max_active": null });
        self.admin().put_queue("issuer", &open).await.ok(201);
        let clerk = User::new(self, "issuer-clerk", "issuer");
        clerk.enter().await;
        clerk.claims().iss
    }
}

/// A JWT of any header and claims; `sign` makes the signature, or what shall pass for one.
pub fn forged(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// An Ed25519 signature by a key that nobody has heard of.
pub fn signature_of_a_stranger(message: &[u8]) -> Vec<u8> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key can be made");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a new key can be read");
    pair.sign(message).as_ref().to_vec()
}

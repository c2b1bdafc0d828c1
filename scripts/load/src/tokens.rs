//! What users show: signed here with the keys of the stand, before any clock runs.

use acceptance::Keys;
use anyhow::anyhow;
use serde_json::json;
use shared::clock::Clock;
use shared::tokens::entry::{AUDIENCE, EntryClaims};
use shared::tokens::keys::SigningKey;

const DAY_SECONDS: i64 = 24 * 3600;
/// `iss` of entry tokens: what both services take when nobody says otherwise.
const ISSUER: &str = "queue-service";

/// Signs. About 20 µs each.
#[derive(Debug)]
pub struct Tokens {
    identity: SigningKey,
    entry: SigningKey,
    clock: Clock,
}

impl Tokens {
    pub fn new(keys: &Keys) -> Self {
        shared::tokens::install_crypto();
        Self { identity: keys.identity_key(), entry: keys.entry_key(), clock: Clock::system() }
    }

    /// A user token, good for a day.
    pub fn user(&self, id: &str) -> anyhow::Result<String> {
        let now = self.clock.unix_seconds();
        let claims = json!({ "sub": id, "iat": now, "exp": now + DAY_SECONDS });
        self.identity.sign("JWT", &claims).map_err(|error| anyhow!(error))
    }

    /// An entry token of an admission that never was: it takes no slot. Good for a day.
    pub fn entry(&self, user: &str, queue: &str) -> anyhow::Result<String> {
        self.entry_of(user, queue, &uuid::Uuid::new_v4().to_string())
    }

    /// As [`Tokens::entry`], of the admission `jti`.
    pub fn entry_of(&self, user: &str, queue: &str, jti: &str) -> anyhow::Result<String> {
        let now = self.clock.unix_seconds();
        let claims = EntryClaims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user.to_owned(),
            queue: queue.to_owned(),
            jti: jti.to_owned(),
            iat: now,
            nbf: now,
            exp: now + DAY_SECONDS,
        };
        shared::tokens::entry::sign(&claims, &self.entry).map_err(|error| anyhow!(error))
    }
}

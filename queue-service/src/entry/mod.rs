//! Entry tokens: signed for an admission that was claimed, revoked when it ends before its time.
//!
//! The claims of an admission are fixed in Redis when it is claimed, so every replica signs the
//! same token again at every poll. Whoever must not use a token any more (left, removed, joined
//! anew) is written into `revoked` in the same step; the booking service reads that feed.

pub mod http;
mod store;

use std::path::Path;

use shared::clock::Clock;
use shared::tokens::entry::{AUDIENCE, EntryClaims, sign};
use shared::tokens::keys::SigningKeys;

pub use store::{FeedCursor, Revocation, revocations};

use crate::line::model::Admission;
use crate::queues::QueueId;

/// Signs entry tokens.
pub struct EntryTokens {
    keys: SigningKeys,
    issuer: String,
    clock: Clock,
}

impl EntryTokens {
    /// Reads the keys.
    pub fn load(path: &Path, issuer: String, clock: Clock) -> Result<Self, String> {
        Ok(Self { keys: SigningKeys::load(path)?, issuer, clock })
    }

    /// The token of an admission.
    pub fn sign(&self, queue: &QueueId, user: &str, admission: &Admission) -> Result<String, String> {
        let claims = EntryClaims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user.to_owned(),
            queue: queue.as_str().to_owned(),
            jti: admission.jti.clone(),
            iat: admission.iat,
            nbf: admission.iat,
            exp: admission.exp,
        };
        sign(&claims, self.keys.current())
    }

    /// The public keys, as a JWK set.
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// Whole seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.unix_seconds()
    }
}

//! Entry tokens: signed for an admission that was claimed, revoked when it ends before its time.
//!
//! The claims of an admission are fixed in Redis when it is claimed, so every replica signs the
//! same token again at every poll. Whoever must not use a token any more (left, removed, joined
//! anew) is written into `revoked` in the same step; the booking service reads that feed. Which key
//! signs, and which are published: [`keys`].

pub mod http;
pub mod keys;
mod store;

use shared::clock::Clock;
use shared::tokens::entry::{AUDIENCE, EntryClaims};

pub use store::{FeedCursor, Revocation, revocations};

use self::keys::EntryKeys;
use crate::line::model::Admission;
use crate::queues::QueueId;

/// Signs entry tokens.
pub struct EntryTokens {
    pub keys: EntryKeys,
    issuer: String,
    clock: Clock,
}

impl EntryTokens {
    /// Signs as `issuer`.
    pub fn new(keys: EntryKeys, issuer: String, clock: Clock) -> Self {
        Self { keys, issuer, clock }
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
        self.keys.sign(&claims)
    }

    /// Whole seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.unix_seconds()
    }
}

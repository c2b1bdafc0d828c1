//! The entry token: opens the booking service to one user, for one queue, for a while.
//!
//! `iat`, `exp` and `jti` are fixed when an admission is claimed and kept by the queue service, so
//! every replica signs the same claims again on every retry. The slot in the queue is counted
//! until `exp` + 2 s; verifiers here refuse from `exp` on, so a slow clock of up to two seconds
//! never lets a token outlive its slot.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::keys::SigningKey;
use super::memory::{Memory, fingerprint};
use super::{PublicKeys, Untrusted, check_times, verified};
use crate::clock::Clock;

/// `typ` of the header: no other JWT is ever taken for an entry token.
pub const TYPE: &str = "entry+jwt";
/// `aud` of every entry token.
pub const AUDIENCE: &str = "booking";

/// What an entry token says. Times in whole seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryClaims {
    pub iss: String,
    pub aud: String,
    /// The user.
    pub sub: String,
    /// The queue whose concerts it opens.
    pub queue: String,
    /// One per admission, the same on every retry.
    pub jti: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

/// Signs `claims`.
pub fn sign(claims: &EntryClaims, key: &SigningKey) -> Result<String, String> {
    key.sign(TYPE, claims)
}

/// Whether `token` says of itself that it is an entry token; proves nothing.
pub fn claims_to_be(token: &str) -> bool {
    jsonwebtoken::decode_header(token).is_ok_and(|header| header.typ.as_deref() == Some(TYPE))
}

/// Verifies entry tokens of one issuer.
pub struct EntryVerifier {
    keys: Arc<PublicKeys>,
    issuer: String,
    memory: Memory<EntryClaims>,
    clock: Clock,
}

impl EntryVerifier {
    /// Takes tokens of `issuer`, signed by one of `keys`.
    pub fn new(keys: Arc<PublicKeys>, issuer: String, clock: Clock) -> Self {
        Self { keys, issuer, memory: Memory::default(), clock }
    }

    /// The claims of a token that is genuine and in force. Whether it was spent or revoked since
    /// is not the token's to say.
    pub async fn verify(&self, token: &str) -> Result<Arc<EntryClaims>, Untrusted> {
        let claims =
            verified(token, |typ| typ == Some(TYPE), &self.keys, &self.memory, |claims| claims).await?;
        self.judge(&claims)?;
        Ok(claims)
    }

    /// As [`EntryVerifier::verify`], of a token that was verified before; `None` for any other, and when it
    /// is refused.
    pub fn known(&self, token: &str) -> Option<Arc<EntryClaims>> {
        let claims = self.memory.find(&fingerprint(token)?, &self.keys)?;
        self.judge(&claims).is_ok().then_some(claims)
    }

    fn judge(&self, claims: &EntryClaims) -> Result<(), Untrusted> {
        if claims.iss != self.issuer || claims.aud != AUDIENCE {
            return Err(Untrusted::WrongAudience);
        }
        check_times(claims.exp, Some(claims.nbf), self.clock.unix_seconds())
    }
}

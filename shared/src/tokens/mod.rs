//! Who is who: the tokens that the services make and take. This is THE contract between them.
//!
//! ```text
//!  identity provider ──user token──▶ queue service ──entry token──▶ booking service
//!        (JWKS)                       (JWKS) ▲                          │
//!                                            └───── completions ────────┘
//! ```
//!
//! | token | made by | proves | verified |
//! |---|---|---|---|
//! | user token | the identity provider, or development login | who the caller is | by both services, against its JWKS |
//! | entry token | the queue service, once per admission | that its user may shop for a while | by the booking service, against the queue service's JWKS |
//! | queue token | the queue service | a place in line | by the queue service alone; it lives there |
//!
//! Nothing here asks anybody over the network while it verifies, except for a key it has never
//! seen. What was found genuine once is remembered (`memory.rs`). Times are judged on the [`Clock`](crate::clock::Clock) handed in.

pub mod entry;
pub mod keys;
mod keyset;
mod memory;
#[cfg(test)]
mod tests;
pub mod user;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation};
use serde::de::DeserializeOwned;

pub use keyset::{KeySource, PublicKeys};

use memory::Memory;

/// Why a token was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    #[error("it is not a token of this kind")]
    Malformed,
    #[error("no known key has signed it")]
    UnknownKey,
    #[error("its signature does not match")]
    BadSignature,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it is meant for somebody else")]
    WrongAudience,
    #[error("the keys to verify it with cannot be had now")]
    KeysUnavailable,
}

/// How far ahead of ours the signer's clock may be, in seconds.
const LEEWAY_SECONDS: i64 = 2;

/// Makes the process's choice of cryptography. Call once, first thing; again is harmless.
pub fn install_crypto() {
    if jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().is_err() {
        tracing::debug!("the cryptography was chosen before, by another service in this process");
    }
}

/// Checks a signature and nothing else: claims and times are the caller's. A `memory` is for one
/// kind of token, known by its `typ`, and one set of `keys`; it gets what `gist` leaves of the claims.
async fn verified<C: DeserializeOwned, T>(
    token: &str,
    is_of_kind: impl FnOnce(Option<&str>) -> bool,
    keys: &PublicKeys,
    memory: &Memory<T>,
    gist: impl FnOnce(C) -> T,
) -> Result<Arc<T>, Untrusted> {
    let fingerprint = memory::fingerprint(token);
    if let Some(claims) = fingerprint.and_then(|token| memory.find(&token, keys)) {
        return Ok(claims);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Untrusted::Malformed)?;
    if !is_of_kind(header.typ.as_deref()) {
        return Err(Untrusted::Malformed);
    }
    let key = keys.find(header.kid.as_deref()).await?;
    if header.alg != key.algorithm {
        return Err(Untrusted::BadSignature);
    }
    let decoded = jsonwebtoken::decode::<C>(token, &key.decoding, &signature_only(key.algorithm));
    let claims = Arc::new(decoded.map(|data| gist(data.claims)).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => Untrusted::BadSignature,
        _ => Untrusted::Malformed,
    })?);
    if let Some(token) = fingerprint {
        memory.keep(token, claims.clone(), header.kid, key);
    }
    Ok(claims)
}

fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// Expired exactly from `exp` on; a start in the future is forgiven up to the leeway.
fn check_times(exp: i64, nbf: Option<i64>, now: i64) -> Result<(), Untrusted> {
    if now >= exp {
        return Err(Untrusted::Expired);
    }
    if nbf.is_some_and(|nbf| now + LEEWAY_SECONDS < nbf) {
        return Err(Untrusted::NotYetValid);
    }
    Ok(())
}

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
//! seen. What was found genuine once is remembered (`memory.rs`); of what was not seen before, many are verified together
//! (`together.rs`). Times are judged on the [`Clock`](crate::clock::Clock) handed in.

pub mod entry;
pub mod keys;
mod keyset;
mod memory;
#[cfg(test)]
mod tests;
mod together;
pub mod user;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use jsonwebtoken::{Algorithm, Validation};
use serde::de::DeserializeOwned;

pub use keyset::{KeySource, PublicKeys};

use keyset::Key;
use memory::Memory;
use together::Signed;

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
    let claims = match key.point {
        Some(point) => signed_claims(token, keys, point).await?,
        None => decoded(token, &key)?,
    };
    let claims = Arc::new(gist(claims));
    if let Some(token) = fingerprint {
        memory.keep(token, claims.clone(), header.kid, key);
    }
    Ok(claims)
}

/// The claims of a token by Ed25519, verified together with others.
async fn signed_claims<C: DeserializeOwned>(
    token: &str,
    keys: &PublicKeys,
    key: VerifyingKey,
) -> Result<C, Untrusted> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Untrusted::Malformed);
    let (message, signature) = token.rsplit_once('.').ok_or(Untrusted::Malformed)?;
    let (_, claims) = message.split_once('.').ok_or(Untrusted::Malformed)?;
    let signature = Signature::from_slice(&bytes(signature)?).map_err(|_| Untrusted::BadSignature)?;
    let signed = Signed { message: message.as_bytes().into(), signature, key };
    // Without an answer the process is stopping.
    if !keys.together.verify(signed).await.map_err(|_| Untrusted::KeysUnavailable)? {
        return Err(Untrusted::BadSignature);
    }
    serde_json::from_slice(&bytes(claims)?).map_err(|_| Untrusted::Malformed)
}

fn decoded<C: DeserializeOwned>(token: &str, key: &Key) -> Result<C, Untrusted> {
    let decoded = jsonwebtoken::decode::<C>(token, &key.decoding, &signature_only(key.algorithm));
    decoded.map(|data| data.claims).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => Untrusted::BadSignature,
        _ => Untrusted::Malformed,
    })
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

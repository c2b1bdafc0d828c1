//! Public keys of a signer, from a file or over http(s), by `kid`.
//!
//! Loaded at start where possible, refreshed every few minutes and when a token names a key that
//! is not known (one fetch at a time, and not more often than [`MIN_INTERVAL_SECONDS`]). What was
//! loaded once is served through any outage of the signer: an answer without one key that we could
//! verify with (garbage, another page, an empty set) is a failure and changes nothing. A signer that
//! wants a key dead publishes another one in its place.
//!
//! A key that stays in the set stays the same [`Key`]: that is how the memory of verified tokens knows
//! that it is still good.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

use super::Untrusted;
use super::together::Together;
use crate::clock::Clock;
use crate::lifecycle::Lifecycle;

const MIN_INTERVAL_SECONDS: i64 = 5;
const MIN_INTERVAL_UNLOADED_SECONDS: i64 = 1;
const REFRESH_EVERY: Duration = Duration::from_secs(300);
const RETRY_EVERY: Duration = Duration::from_secs(1);
const FETCH_LIMIT: Duration = Duration::from_secs(3);
/// Of a key set.
const MAX_BYTES: usize = 1 << 20;

/// Where a key set comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    Url(String),
    File(PathBuf),
    /// Keys that are at hand and never change.
    Fixed(serde_json::Value),
}

impl KeySource {
    /// An http(s) URL, else a path.
    pub fn parse(text: &str) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            Self::Url(text.to_owned())
        } else {
            Self::File(text.into())
        }
    }
}

pub(super) struct Key {
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
    /// Of an Ed25519 key.
    pub point: Option<VerifyingKey>,
    jwk: Jwk,
}

type Keys = HashMap<String, Arc<Key>>;

/// A key set that keeps itself fresh.
pub struct PublicKeys {
    source: KeySource,
    clock: Clock,
    http: reqwest::Client,
    keys: ArcSwapOption<Keys>,
    pub(super) together: Together,
    /// When the last fetch began, in seconds; the lock makes fetches single-flight.
    fetched_at: Mutex<i64>,
}

impl PublicKeys {
    /// Not yet loaded.
    pub fn new(source: KeySource, http: reqwest::Client, clock: Clock, lifecycle: &Lifecycle) -> Self {
        let (keys, together) = (ArcSwapOption::empty(), Together::start(lifecycle));
        Self { source, clock, http, keys, together, fetched_at: Mutex::new(0) }
    }

    /// Whether any keys are at hand.
    pub fn is_loaded(&self) -> bool {
        self.keys.load().is_some()
    }

    /// Fetches now; on failure what was there stays.
    pub async fn refresh(&self) -> Result<(), String> {
        let text = match &self.source {
            KeySource::Fixed(set) => set.to_string(),
            KeySource::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|error| format!("{}: {error}", path.display()))?,
            KeySource::Url(url) => fetch(&self.http, url).await.map_err(|error| format!("{url}: {error}"))?,
        };
        let set: Published =
            serde_json::from_str(&text).map_err(|error| format!("not a JWK set: {error}"))?;
        let before = self.keys.load();
        let known = |name: &str| before.as_ref().and_then(|keys| keys.get(name));
        let keys: Keys = set.keys.into_iter().filter_map(|jwk| usable(jwk, known)).collect();
        if keys.is_empty() {
            return Err("a JWK set without a key to verify with".to_owned());
        }
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }

    /// Keeps the set fresh; runs until dropped.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut failing = false;
        loop {
            let outcome = self.refresh().await;
            match &outcome {
                Err(error) if !failing => {
                    tracing::warn!(%error, loaded = self.is_loaded(), "cannot refresh public keys");
                }
                Ok(()) if failing => tracing::info!("public keys are refreshed again"),
                _ => {}
            }
            failing = outcome.is_err();
            tokio::time::sleep(if failing { RETRY_EVERY } else { REFRESH_EVERY }).await;
        }
    }

    /// The key of that name. A token without `kid` is taken when there is just one key.
    pub(super) async fn find(&self, kid: Option<&str>) -> Result<Arc<Key>, Untrusted> {
        match self.at_hand(kid) {
            Some(key) => Ok(key),
            // Boxed: hardly any request waits for this, and every request has room for what it may wait for.
            None => Box::pin(self.find_anew(kid)).await,
        }
    }

    async fn find_anew(&self, kid: Option<&str>) -> Result<Arc<Key>, Untrusted> {
        let mut fetched_at = self.fetched_at.lock().await;
        if let Some(key) = self.at_hand(kid) {
            return Ok(key);
        }
        let pause = if self.is_loaded() { MIN_INTERVAL_SECONDS } else { MIN_INTERVAL_UNLOADED_SECONDS };
        let now = self.clock.unix_seconds();
        if now - *fetched_at >= pause {
            *fetched_at = now;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "cannot fetch public keys");
            }
        }
        match self.at_hand(kid) {
            Some(key) => Ok(key),
            None if self.is_loaded() => Err(Untrusted::UnknownKey),
            None => Err(Untrusted::KeysUnavailable),
        }
    }

    pub(super) fn at_hand(&self, kid: Option<&str>) -> Option<Arc<Key>> {
        named(self.keys.load().as_ref()?, kid).cloned()
    }

    /// Whether this is the key of that name at present.
    pub(super) fn has(&self, kid: Option<&str>, key: &Arc<Key>) -> bool {
        self.keys
            .load()
            .as_ref()
            .and_then(|keys| named(keys, kid))
            .is_some_and(|known| Arc::ptr_eq(known, key))
    }
}

fn named<'k>(keys: &'k Keys, kid: Option<&str>) -> Option<&'k Arc<Key>> {
    match kid {
        Some(kid) => keys.get(kid),
        None if keys.len() == 1 => keys.values().next(),
        None => None,
    }
}

async fn fetch(http: &reqwest::Client, url: &str) -> Result<String, String> {
    let text = |error: reqwest::Error| error.to_string();
    let request =
        http.get(url).timeout(FETCH_LIMIT).send().await.and_then(reqwest::Response::error_for_status);
    let (mut answer, mut body) = (request.map_err(text)?, Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(text)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            return Err(format!("more than {MAX_BYTES} bytes"));
        }
    }
    String::from_utf8(body).map_err(|error| error.to_string())
}

/// A JWK set, of which keys of kinds that we do not know are passed over.
#[derive(serde::Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

fn point(x: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&URL_SAFE_NO_PAD.decode(x).ok()?.try_into().ok()?).ok()
}

/// A key we can verify with, under its name; the one that is `known` where it is the same. The
/// algorithm is the key's, never the token's choice.
fn usable<'k>(
    jwk: serde_json::Value,
    known: impl Fn(&str) -> Option<&'k Arc<Key>>,
) -> Option<(String, Arc<Key>)> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let kid = jwk.common.key_id.clone().unwrap_or_default();
    if let Some(key) = known(&kid).filter(|key| key.jwk == jwk) {
        return Some((kid, key.clone()));
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => match jwk.common.key_algorithm {
            None | Some(KeyAlgorithm::RS256) => Algorithm::RS256,
            Some(KeyAlgorithm::RS384) => Algorithm::RS384,
            Some(KeyAlgorithm::RS512) => Algorithm::RS512,
            Some(KeyAlgorithm::PS256) => Algorithm::PS256,
            Some(_) => return None,
        },
        _ => return None,
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    let point = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) => Some(point(&pair.x)?),
        _ => None,
    };
    Some((kid, Arc::new(Key { algorithm, decoding, point, jwk })))
}

//! Genuine tokens, remembered: a signature is verified once, not at each request.
//!
//! ```text
//!   token ─ SHA-256 ─▶ known, and the key that verified it is still the one of that name?
//!                        yes ─▶ its claims      no ─▶ verify, then remember
//! ```
//!
//! With the memory every answer is what it would be without: only the whole token, signature included,
//! finds its claims; a key that was removed or replaced takes with it what it has verified; times, and
//! whether a token was spent or revoked, are judged anew at each use by those who ask.
//!
//! What is kept is what those who ask will use, a few hundred bytes: an identity provider's token says
//! much more (`user.rs` drops it).
//!
//! Bounded by two halves: the young one fills, then takes the place of the old one. What is in use is
//! carried over, what is not is gone after two turns; nothing has to be searched for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::PublicKeys;
use super::keyset::Key;

/// Tokens of one kind.
const CAPACITY: usize = 65_536;
/// A longer token is verified each time: what it says must not fill the memory.
const LONGEST: usize = 2048;

pub(super) type Fingerprint = [u8; 32];

/// Which token it is; `None` for one that is not remembered.
pub(super) fn fingerprint(token: &str) -> Option<Fingerprint> {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().ok().filter(|_| token.len() <= LONGEST)
}

/// What a token said, and what had verified it.
struct Known<T> {
    claims: Arc<T>,
    kid: Option<String>,
    key: Arc<Key>,
}

/// See the module.
pub(super) struct Memory<T> {
    halves: Mutex<Halves<T>>,
    half: usize,
}

struct Halves<T> {
    young: HashMap<Fingerprint, Known<T>>,
    old: HashMap<Fingerprint, Known<T>>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self::of(CAPACITY)
    }
}

impl<T> Memory<T> {
    fn of(capacity: usize) -> Self {
        let halves = Halves { young: HashMap::new(), old: HashMap::new() };
        Self { halves: Mutex::new(halves), half: capacity / 2 }
    }

    /// The claims of a token that was verified before, by a key that is in `keys` today.
    pub(super) fn find(&self, token: &Fingerprint, keys: &PublicKeys) -> Option<Arc<T>> {
        let still =
            |known: &Known<T>| keys.has(known.kid.as_deref(), &known.key).then(|| known.claims.clone());
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = halves.young.get(token) {
            return still(known);
        }
        let known = halves.old.remove(token)?;
        let claims = still(&known);
        halves.keep(*token, known, self.half);
        claims
    }

    /// Remembers a token that `key` has verified.
    pub(super) fn keep(&self, token: Fingerprint, claims: Arc<T>, kid: Option<String>, key: Arc<Key>) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.keep(token, Known { claims, kid, key }, self.half);
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.young.len() + halves.old.len()
    }
}

impl<T> Halves<T> {
    fn keep(&mut self, token: Fingerprint, known: Known<T>, half: usize) {
        if self.young.len() >= half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::lifecycle::Lifecycle;
    use crate::tokens::KeySource;

    async fn keys() -> PublicKeys {
        let set = serde_json::json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }] });
        let keys = PublicKeys::new(
            KeySource::Fixed(set),
            reqwest::Client::new(),
            Clock::system(),
            &Lifecycle::new(),
        );
        keys.refresh().await.unwrap();
        keys
    }

    #[tokio::test]
    async fn what_is_in_use_stays_and_the_rest_is_bounded() {
        let (memory, keys) = (Memory::of(10), keys().await);
        let key = keys.at_hand(Some("k")).unwrap();
        let keep = |name: &str| {
            memory.keep(fingerprint(name).unwrap(), Arc::new(name.to_owned()), Some("k".into()), key.clone());
        };
        keep("used");
        for number in 0..1000 {
            keep(&number.to_string());
            assert_eq!(*memory.find(&fingerprint("used").unwrap(), &keys).unwrap(), "used");
            assert!(memory.count() <= 10);
        }
        assert!(memory.find(&fingerprint("0").unwrap(), &keys).is_none());
    }

    #[tokio::test]
    async fn what_another_key_of_the_same_name_has_verified_is_not_known() {
        let (memory, keys, others) = (Memory::of(10), keys().await, keys().await);
        memory.keep(
            fingerprint("t").unwrap(),
            Arc::new(()),
            Some("k".into()),
            others.at_hand(Some("k")).unwrap(),
        );
        assert!(memory.find(&fingerprint("t").unwrap(), &keys).is_none());
        assert!(memory.find(&fingerprint("t").unwrap(), &others).is_some());
    }
}

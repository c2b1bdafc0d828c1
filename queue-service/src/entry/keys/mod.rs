//! The keys of the entry tokens, changed without a restart.
//!
//! ```text
//!   file added ──▶ published ──settled──▶ signs ──file removed──▶ published ──last token ended──▶ gone
//!                      │                    ▲  later file settled │   ▲
//!                      └─ no key here has ──┘                     └───┘
//!                         settled: first published signs
//! ```
//!
//! Every replica reads its files again every few seconds and tells the registry in Redis
//! (`P entry_keys`) what it has; the registry tells it what all have (`exchange.lua`).
//!
//! Invariants, and who keeps them:
//!
//! - every replica publishes every key that any replica signs with: a key signs only when it has
//!   been in the registry for as long as two rounds and the life of a cached key set
//!   ([`RotationConfig::settle`]); when no file's key has, the one published first signs, because
//!   tokens must be signed ([`model::signer`]);
//! - a key stays published until the last token that it has signed has ended: [`Tally`] has the
//!   largest `exp`, the registry is told a minute more than that at each round, and at once when a
//!   token reaches beyond what it was told;
//! - nothing is signed with a key whose file is gone: [`Desk::in_use`] chooses among the files;
//! - nobody who can only write to Redis gets a key published, and with it the word of any user: what
//!   the registry says counts when it is vouched for by the secrets of the queue tokens
//!   ([`QueueTokens::vouches`]), which every replica has and renews at each round;
//! - what cannot be read, a file or Redis, changes nothing: signing and publishing go on from memory.
//!
//! A token's claims are the same whichever key signs them, so replicas that change keys some
//! seconds apart do no harm.

mod model;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use shared::clock::Clock;
use shared::tokens::entry::{self, EntryClaims};
use shared::tokens::keys::{SigningKey, SigningKeys, jwk};
use tokio::sync::{Mutex, Notify};

use crate::config::RotationConfig;
use crate::line::token::QueueTokens;
use crate::redis::{Redis, When};
use model::{Published, Registry, signer};
use store::Known;

/// What the registry is told beyond the largest `exp`, in seconds.
const MARGIN_SECONDS: i64 = 60;
/// How long a start waits for the registry.
const PATIENCE: Duration = Duration::from_secs(2);

/// The keys of one replica.
pub struct EntryKeys {
    path: PathBuf,
    rotation: RotationConfig,
    redis: Redis,
    registry: String,
    clock: Clock,
    in_use: ArcSwap<InUse>,
    /// A token was signed that outlives what the registry was told.
    outlived: Notify,
    desk: Mutex<Desk>,
}

/// What signs and what is published, until the next round.
struct InUse {
    key: Arc<SigningKey>,
    tally: Arc<Tally>,
    jwks: Arc<KeySet>,
}

/// The published keys.
pub struct KeySet {
    /// The JWK set.
    pub json: String,
    /// For how long it may be kept, in seconds.
    pub max_age: u64,
    kids: Vec<String>,
}

/// Until when tokens of one key may live, in seconds.
#[derive(Default)]
struct Tally {
    /// The largest `exp` signed here; 0 = none.
    signed: AtomicI64,
    /// What the registry has.
    told: AtomicI64,
}

/// What a round works on.
struct Desk {
    own: SigningKeys,
    registry: Registry,
    /// The time of Redis at the last exchange, ms; 0 = there was none.
    now_ms: i64,
    tallies: BTreeMap<String, Arc<Tally>>,
    complaint: Option<String>,
    /// In the registry, and not by a replica that has our secrets.
    strange: BTreeSet<String>,
    alone: bool,
}

impl EntryKeys {
    /// Reads the files; every one must be good.
    pub fn load(
        path: &Path,
        rotation: RotationConfig,
        redis: Redis,
        registry: String,
        clock: Clock,
    ) -> Result<Self, String> {
        let mut desk = Desk {
            own: SigningKeys::load(path)?,
            registry: Registry::new(),
            now_ms: 0,
            tallies: BTreeMap::new(),
            complaint: None,
            strange: BTreeSet::new(),
            alone: false,
        };
        let in_use = desk.in_use(rotation).ok_or_else(|| format!("{} holds no key", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            rotation,
            redis,
            registry,
            clock,
            in_use: ArcSwap::from_pointee(in_use),
            outlived: Notify::new(),
            desk: Mutex::new(desk),
        })
    }

    /// Signs with the key whose turn it is.
    pub fn sign(&self, claims: &EntryClaims) -> Result<String, String> {
        let in_use = self.in_use.load();
        in_use.tally.signed.fetch_max(claims.exp, Ordering::Relaxed);
        if claims.exp > in_use.tally.told.load(Ordering::Relaxed) {
            self.outlived.notify_one();
        }
        entry::sign(claims, &in_use.key)
    }

    /// The public keys.
    pub fn jwks(&self) -> Arc<KeySet> {
        self.in_use.load().jwks.clone()
    }

    /// The first round, before anybody is served: a key set that lacks retired keys must not be
    /// handed out. Without Redis it is, and the loop mends it.
    pub async fn introduce(&self, secrets: &QueueTokens) {
        if tokio::time::timeout(PATIENCE, self.round(secrets)).await.is_err() {
            tracing::warn!("the registry of keys does not answer; the own keys are used");
        }
        let in_use = self.in_use.load();
        tracing::info!(kid = in_use.key.kid(), published = ?in_use.jwks.kids, "this key signs entry tokens");
    }

    /// Rounds until dropped.
    pub async fn keep_fresh(&self, secrets: &QueueTokens) {
        loop {
            let pause = tokio::time::sleep(self.rotation.reload());
            if self.round(secrets).await {
                tokio::select! {
                    () = pause => {}
                    () = self.outlived.notified() => {}
                }
            } else {
                pause.await;
            }
        }
    }

    /// Reads the files, tells the registry, hears it, chooses. Answers whether Redis did.
    async fn round(&self, secrets: &QueueTokens) -> bool {
        let mut desk = self.desk.lock().await;
        desk.read_files(&self.path).await;
        let known = desk.known(secrets);
        let when = When::now(&self.clock);
        let answer = store::exchange(&self.redis, &self.registry, when, self.rotation.keep(), &known).await;
        drop(known);
        let error = answer.map(|(now_ms, registry)| desk.hear(now_ms, registry, secrets)).err();
        if let Some(error) = error.as_ref().filter(|_| !desk.alone) {
            tracing::warn!(%error, "the registry of keys cannot be reached; the keys stay as they are");
        }
        desk.alone = error.is_some();
        if let Some(next) = desk.in_use(self.rotation) {
            log_changes(&self.in_use.load(), &next);
            self.in_use.store(Arc::new(next));
        }
        error.is_none()
    }
}

impl Desk {
    async fn read_files(&mut self, path: &Path) {
        let (own, path) = (self.own.clone(), path.to_owned());
        let reading = tokio::task::spawn_blocking(move || own.read_again(&path));
        let Ok((own, complaint)) = reading.await else { return };
        self.own = own;
        if let Some(complaint) = complaint.as_ref().filter(|_| complaint != self.complaint) {
            tracing::error!(%complaint, "ENTRY_SIGNING_KEYS: what was good before stays in use");
        }
        self.complaint = complaint;
    }

    /// All that this replica has files of, has signed with or has heard of.
    fn known(&self, secrets: &QueueTokens) -> Vec<Known<'_>> {
        let last_exp = |kid: &str| {
            let heard = self.registry.get(kid).map_or(0, |key| key.last_exp);
            let signed = self.tallies.get(kid).map_or(0, |tally| tally.signed.load(Ordering::Relaxed));
            if signed == 0 { heard } else { heard.max(signed + MARGIN_SECONDS) }
        };
        let own = self.own.iter().map(|key| Known {
            kid: key.kid(),
            x: key.x(),
            first_ms: self.registry.get(key.kid()).map(|key| key.first_ms),
            held_ms: None,
            last_exp: last_exp(key.kid()),
            mac: secrets.vouch(&vouched(key.x())),
        });
        let others = self.registry.iter().filter(|(kid, _)| !self.own.iter().any(|key| key.kid() == **kid));
        let others = others.map(|(kid, key)| Known {
            kid,
            x: &key.x,
            first_ms: Some(key.first_ms),
            held_ms: Some(key.held_ms),
            last_exp: last_exp(kid),
            mac: secrets.vouch(&vouched(&key.x)),
        });
        own.chain(others).collect()
    }

    fn hear(&mut self, now_ms: i64, mut registry: Registry, secrets: &QueueTokens) {
        self.now_ms = now_ms;
        let is_strange = |key: &Published| !secrets.vouches(&vouched(&key.x), &key.mac);
        let strange = registry.iter().filter(|(_, key)| is_strange(key)).map(|(kid, _)| kid.clone());
        let strange: BTreeSet<_> = strange.collect();
        registry.retain(|kid, _| !strange.contains(kid));
        if !strange.is_subset(&self.strange) {
            tracing::warn!(kids = ?strange, "keys in the registry that no replica vouches for; not published");
        }
        self.strange = strange;
        self.tallies.retain(|kid, _| registry.contains_key(kid));
        for (kid, tally) in &self.tallies {
            tally.told.store(registry.get(kid).map_or(0, |key| key.last_exp), Ordering::Relaxed);
        }
        self.registry = registry;
    }

    /// None only without any key, which `SigningKeys` does not let happen.
    fn in_use(&mut self, rotation: RotationConfig) -> Option<InUse> {
        let own: Vec<_> = self.own.iter().collect();
        let kids: Vec<_> = own.iter().map(|key| key.kid()).collect();
        let settle_ms = i64::try_from(rotation.settle().as_millis()).unwrap_or(i64::MAX);
        let key = own[signer(&kids, &self.registry, self.now_ms, settle_ms)?].clone();
        let told = self.registry.get(key.kid()).map_or(0, |key| key.last_exp);
        let new = || Arc::new(Tally { told: told.into(), ..Tally::default() });
        let tally = self.tallies.entry(key.kid().to_owned()).or_insert_with(new).clone();
        let heard = self.registry.iter().map(|(kid, key)| (kid.as_str(), key.x.as_str()));
        let public: BTreeMap<_, _> = own.iter().map(|key| (key.kid(), key.x())).chain(heard).collect();
        let jwks: Vec<_> = public.values().map(|x| jwk(x)).collect();
        let json = serde_json::json!({ "keys": jwks }).to_string();
        let kids = public.into_keys().map(str::to_owned).collect();
        let max_age = if self.now_ms == 0 { 0 } else { rotation.max_age_seconds() };
        Some(InUse { key, tally, jwks: Arc::new(KeySet { json, max_age, kids }) })
    }
}

/// What is vouched for: the public half of a key of entry tokens.
fn vouched(x: &str) -> String {
    format!("entry key {x}")
}

fn log_changes(before: &InUse, now: &InUse) {
    if before.key.kid() != now.key.kid() {
        tracing::info!(kid = now.key.kid(), before = before.key.kid(), "another key signs entry tokens");
    }
    for kid in now.jwks.kids.iter().filter(|kid| !before.jwks.kids.contains(kid)) {
        tracing::info!(%kid, published = ?now.jwks.kids, "a key of entry tokens is published");
    }
    for kid in before.jwks.kids.iter().filter(|kid| !now.jwks.kids.contains(kid)) {
        tracing::info!(%kid, published = ?now.jwks.kids, "a key of entry tokens is retired");
    }
}

//! Who may do what: nothing is sold without a [`Caller`], and only the [`Door`] makes one.
//!
//! ```text
//!  credential ─ genuine? ─ in force? ─ of the kind the row takes? ─ revoked? ─▶ Caller
//!                                                          spent? ─▶ after the idempotency key
//! ```
//!
//! Tokens are verified here, on this machine ([`shared::tokens`]). What a token cannot say of
//! itself, that it was spent or taken back since, is kept in [`EndedEntries`]:
//!
//! - spent: the truth is the table `spent_entries`; holds and payments ask it in their own
//!   transaction. The set in memory only answers sooner; it is filled at once by the replica that
//!   spends and followed by the others (`followers.rs`).
//! - revoked: the truth is the queue service, whose feed is followed.

pub mod followers;
mod http;
mod model;
mod signs;
mod store;

use std::sync::{Arc, PoisonError, RwLock};

use shared::tokens::Untrusted;
use shared::tokens::entry::{self, EntryClaims, EntryVerifier};
use shared::tokens::user::UserTokens;

pub use http::{Admitted, Anyone, Buyer, Guest, Operator, Row, point_to_queue};
pub use model::{Caller, Entry, Gate, Gated};
pub use signs::{Signs, Subject};

use model::Ended;

/// What a queue token begins with.
const QUEUE_TOKEN_PREFIX: &str = "qt_";
const REMEMBERED: usize = 1_000_000;
/// Entries that are added under one lock.
const AT_A_TIME: usize = 500;

/// Why somebody is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no credential")]
    NoCredential,
    #[error("an entry token is needed")]
    EntryRequired,
    #[error("the entry token has expired")]
    EntryExpired,
    #[error("the entry token was revoked")]
    EntryRevoked,
    #[error("the entry token was spent")]
    EntryCompleted,
    #[error("the entry token is of another queue")]
    WrongQueue,
    #[error("the credential is not valid: {0}")]
    Invalid(Untrusted),
    #[error("there are no keys to verify the credential with")]
    NoKeys,
}

/// The tokens that have ended before their `exp`. Clones are the same set.
#[derive(Clone)]
pub struct EndedEntries {
    spent: Arc<RwLock<Ended>>,
    revoked: Arc<RwLock<Ended>>,
}

impl Default for EndedEntries {
    fn default() -> Self {
        let set = || Arc::new(RwLock::new(Ended::new(REMEMBERED)));
        Self { spent: set(), revoked: set() }
    }
}

impl EndedEntries {
    /// Takes note of tokens that were spent.
    pub fn spent<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) {
        add(&self.spent, entries);
    }

    fn revoked<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) {
        add(&self.revoked, entries);
    }

    fn is_spent(&self, jti: &str) -> bool {
        self.spent.read().unwrap_or_else(PoisonError::into_inner).contains(jti)
    }

    fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains(jti)
    }

    /// Forgets the expired; answers how many are left.
    fn forget_expired(&self, now: i64) -> u64 {
        let left = |set: &RwLock<Ended>| {
            let mut set = set.write().unwrap_or_else(PoisonError::into_inner);
            set.forget_expired(now);
            set.count() as u64
        };
        left(&self.spent) + left(&self.revoked)
    }
}

fn add<'a>(set: &RwLock<Ended>, entries: impl IntoIterator<Item = &'a Entry>) {
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        // Everybody who shows a token waits meanwhile.
        let mut set = set.write().unwrap_or_else(PoisonError::into_inner);
        entries.by_ref().take(AT_A_TIME).for_each(|entry| set.insert(&entry.jti, entry.exp));
    }
}

/// Somebody who only looks; with the claims of the entry token, where the gate is closed.
pub struct Visit(Option<Arc<EntryClaims>>);

impl Visit {
    /// The user, where one is known.
    pub fn user(&self) -> Option<&str> {
        self.0.as_ref().map(|claims| claims.sub.as_str())
    }

    /// Whether the visitor may look at what stands behind `queue`.
    pub fn may_enter(&self, queue: &str) -> bool {
        self.0.as_ref().is_none_or(|claims| claims.queue == queue)
    }
}

/// Verifies credentials.
pub struct Door {
    pub users: UserTokens,
    pub entries: EntryVerifier,
    pub gated: Gated,
    pub ended: EndedEntries,
    /// Where people queue.
    pub queue_public_url: String,
    pub signs: Signs,
}

impl Door {
    /// Who shows this credential at this row. Whether the entry token was spent is asked later,
    /// by [`Door::unspent`]: a replay comes before it.
    pub async fn admit(&self, token: Option<&str>, gate: Option<Gate>) -> Result<Caller, Refusal> {
        let closed = gate.is_some_and(|gate| self.gated.closes(gate));
        let Some(token) = token else {
            return Err(if closed { Refusal::EntryRequired } else { Refusal::NoCredential });
        };
        if entry::claims_to_be(token) {
            let (user, entry) = self.entry(token).await?;
            // Any queue's entry token opens the list of concerts.
            let confined = closed && gate != Some(Gate::Concerts);
            return Ok(Caller { user, entry: Some(entry), confined });
        }
        if closed && token.starts_with(QUEUE_TOKEN_PREFIX) {
            return Err(Refusal::EntryRequired);
        }
        match self.users.verify(token).await.map(|user| user.id) {
            Ok(_) | Err(Untrusted::Expired) if closed => Err(Refusal::EntryRequired),
            Ok(user) => Ok(Caller { user: storable(user)?, entry: None, confined: false }),
            Err(Untrusted::KeysUnavailable) => Err(Refusal::NoKeys),
            Err(untrusted) => Err(Refusal::Invalid(untrusted)),
        }
    }

    /// Whoever may look at a row, without waiting: the entry token that was shown, where one is needed. `None`
    /// when there is more to find out, or somebody to refuse.
    pub fn look_in(&self, token: Option<&str>, gate: Gate) -> Option<Visit> {
        if !self.gated.closes(gate) {
            return Some(Visit(None));
        }
        let claims = self.entries.known(token?)?;
        let has_ended = self.ended.is_revoked(&claims.jti) || self.ended.is_spent(&claims.jti);
        let is_storable = [&claims.jti, &claims.queue, &claims.sub].into_iter().all(|text| is_storable(text));
        (!has_ended && is_storable).then_some(Visit(Some(claims)))
    }

    async fn entry(&self, token: &str) -> Result<(String, Entry), Refusal> {
        let claims = self.entries.verify(token).await.map_err(|untrusted| match untrusted {
            Untrusted::Expired => Refusal::EntryExpired,
            Untrusted::KeysUnavailable => Refusal::NoKeys,
            untrusted => Refusal::Invalid(untrusted),
        })?;
        if self.ended.is_revoked(&claims.jti) {
            return Err(Refusal::EntryRevoked);
        }
        let (jti, queue) = (storable(claims.jti.clone())?, storable(claims.queue.clone())?);
        Ok((storable(claims.sub.clone())?, Entry { jti, queue, exp: claims.exp }))
    }

    /// Refuses a caller whose entry token this replica knows to be spent.
    pub fn unspent(&self, caller: &Caller) -> Result<(), Refusal> {
        match caller.entry() {
            Some(entry) if self.ended.is_spent(&entry.jti) => Err(Refusal::EntryCompleted),
            _ => Ok(()),
        }
    }
}

/// Postgres text has no NUL; a signer that puts one into a name is not to be believed.
fn storable(text: String) -> Result<String, Refusal> {
    if is_storable(&text) { Ok(text) } else { Err(Refusal::Invalid(Untrusted::Malformed)) }
}

fn is_storable(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

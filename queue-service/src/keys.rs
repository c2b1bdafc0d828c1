//! Every key in Redis.
//!
//! All keys of a queue share the hash tag `{q:<id>}`, so each script stays in one slot of a
//! cluster and queues spread over shards. `P` is `REDIS_KEY_PREFIX`.
//!
//! | key | type | member or field → score or value | lives |
//! |---|---|---|---|
//! | `P queues` | set | ids of all queues | for ever |
//! | `P entry_keys` | hash | kid → `x\|first ms\|held ms\|exp s\|mac`: `entry/keys/exchange.lua` | while a file or a token needs the key |
//! | `P{q:id}:settings` | hash | one field per setting, `stopped`, `version`, `json` (as the operator sees them), `seed` and `commitment` of a draw | for ever |
//! | `P{q:id}:counters` | hash | `clock`, `called_at`, `epoch`, `revision`, `hold_until`, `recover_until`, `doubt_until`; totals; what pressure and stock said; per lane (`:l` behind the name, none for lane 0) `place` (last handed out), `drawn`, `floor`, `closed_through`, `lost_after`, `lost_through`, `turn` | for ever |
//! | `P{q:id}:waiting`, `…:waiting:l` | sorted set, one a lane | user → number of the place (drawn: see `prelude/line.lua`) | while in line |
//! | `P{q:id}:active` | sorted set | user → end of the lease, ms. The authority on the cap | until collected |
//! | `P{q:id}:admissions` | hash | user → `place\|jti\|admitted_at ms\|iat s\|exp s` | as `active` |
//! | `P{q:id}:jtis` | hash | jti → user | as `active` |
//! | `P{q:id}:window` | sorted set | running total of admissions that the rate counts → moment, ms | the window |
//! | `P{q:id}:pace` | sorted set | running total of all admissions → second, ms | an hour |
//! | `P{q:id}:revoked` | stream | `jti`, `exp` s | until `exp` |
//! | `P{q:id}:departures` | stream | what left the lines, and the slots, call by call (`prelude/answer.lua`) | a minute |
//! | `P{q:id}:log` | stream | the admission log | the last 100,000 entries |
//! | `P{q:id}:followers` | hash | replica → when it last followed, ms | while it follows |
//! | `P{q:id}:pressure` | hash | reporter → when and what it said | a minute |
//! | `P{q:id}:seen:n` | string | four bytes a place: last poll, tenths of seconds since 2025 | until the line has passed |
//! | `P{q:id}:gone:n` | string | a bit a place: it has left its line | until the line has passed |
//! | `P{q:id}:departed:n` | hash | place → why it ended, for one span of ten minutes | 30 minutes |
//!
//! `waiting` and `counters.place` are the truth about the line, `active` and `admissions` about
//! the slots; `gone` says of the line what `waiting` says, in a form that a replica can hold whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::Memory;

/// Places in one string of `seen` and of `gone`; the same number stands in `prelude/line.lua`.
pub const SEEN_CHUNK: u64 = 65_536;
/// What `seen` counts from, ms since 1970; the same number stands in `prelude/line.lua`.
pub const SEEN_EPOCH_MS: i64 = 1_735_689_600_000;
/// Places of one lane; the same number stands in `prelude/line.lua`.
pub const LANE: u64 = 1 << 40;

/// Names keys under one prefix, each queue's once. Clones share what is remembered of the queues.
#[derive(Clone, Debug)]
pub struct Keyspace {
    prefix: String,
    named: Arc<Mutex<HashMap<String, QueueKeys>>>,
}

/// The keys of one queue, and what this replica remembers of them. A clone is the same.
#[derive(Clone, Debug)]
pub struct QueueKeys {
    stem: Arc<str>,
    script_keys: Arc<[String; 12]>,
    memory: Arc<Memory>,
}

const SCRIPT_KEYS: [&str; 12] = [
    "settings",
    "counters",
    "waiting",
    "active",
    "admissions",
    "jtis",
    "window",
    "pace",
    "revoked",
    "departures",
    "log",
    "followers",
];

impl Keyspace {
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), named: Arc::default() }
    }

    /// The set of all queues.
    pub fn queues(&self) -> String {
        format!("{}queues", self.prefix)
    }

    /// The registry of the keys that sign entry tokens.
    pub fn entry_keys(&self) -> String {
        format!("{}entry_keys", self.prefix)
    }

    /// The settings of a queue that may not exist: nothing is remembered of it.
    pub fn settings_of(&self, id: &str) -> String {
        format!("{}{{q:{id}}}:settings", self.prefix)
    }

    /// The keys of the queue `id`, which exists or is being made.
    pub fn queue(&self, id: &str) -> QueueKeys {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = named.get(id) {
            return keys.clone();
        }
        let stem = format!("{}{{q:{id}}}:", self.prefix);
        let script_keys = Arc::new(SCRIPT_KEYS.map(|name| format!("{stem}{name}")));
        let keys = QueueKeys { stem: stem.into(), script_keys, memory: Arc::default() };
        named.insert(id.to_owned(), keys.clone());
        keys
    }
}

impl QueueKeys {
    /// `KEYS` of every script, in the order that the prelude expects.
    pub fn for_scripts(&self) -> &[String; 12] {
        &self.script_keys
    }

    pub fn settings(&self) -> &str {
        &self.script_keys[0]
    }

    pub fn counters(&self) -> &str {
        &self.script_keys[1]
    }

    pub fn waiting(&self) -> &str {
        &self.script_keys[2]
    }

    pub fn revoked(&self) -> &str {
        &self.script_keys[8]
    }

    pub fn log(&self) -> &str {
        &self.script_keys[10]
    }

    /// The string of `seen` that holds chunk `n`.
    pub fn seen(&self, n: u64) -> String {
        format!("{}seen:{n}", self.stem)
    }

    /// The string of `gone` that holds chunk `n`.
    pub fn gone(&self, n: u64) -> String {
        format!("{}gone:{n}", self.stem)
    }

    /// What this replica remembers of the queue.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_queue_share_one_hash_tag() {
        let keys = Keyspace::new("p:").queue("main");
        assert_eq!(keys.settings(), "p:{q:main}:settings");
        assert!(keys.for_scripts().iter().all(|key| key.starts_with("p:{q:main}:")));
        assert_eq!(keys.seen(3), "p:{q:main}:seen:3");
    }

    #[test]
    fn the_prelude_and_this_file_agree() {
        let prelude = crate::redis::PRELUDE;
        assert!(prelude.contains(&format!("local CHUNK = {SEEN_CHUNK} ")));
        assert!(prelude.contains(&format!("local LANE = {LANE}\n")));
        assert!(prelude.contains(&format!("local SEEN_EPOCH_MS = {SEEN_EPOCH_MS} ")));
        let names = SCRIPT_KEYS.map(str::to_uppercase).join(", ");
        assert!(prelude.contains(&format!("local {names} = unpack(KEYS)")));
    }
}

//! Every key in Redis.
//!
//! All keys of a queue share the hash tag `{q:<id>}`, so each script stays in one slot of a
//! cluster and queues spread over shards. `P` is `REDIS_KEY_PREFIX`.
//!
//! | key | type | member or field → score or value | lives |
//! |---|---|---|---|
//! | `P queues` | set | ids of all queues | for ever |
//! | `P entry_keys` | hash | kid → `x\|first ms\|held ms\|exp s\|mac`: `entry/keys/exchange.lua` | while a file or a token needs the key |
//! | `P{q:id}:settings` | hash | one field per setting, `stopped`, `json` (as the operator sees them), `seed` and `commitment` of a draw | for ever |
//! | `P{q:id}:counters` | hash | `clock`, `place` (last handed out), totals, `line_since`, `closed_through`, `seen_floor`, `window_floor`, `pace_floor` | for ever |
//! | `P{q:id}:waiting` | sorted set | user → place (drawn: see `prelude.lua`) | while in line |
//! | `P{q:id}:active` | sorted set | user → end of the lease, ms. The authority on the cap | until collected |
//! | `P{q:id}:admissions` | hash | user → `place\|jti\|admitted_at ms\|iat s\|exp s` | as `active` |
//! | `P{q:id}:jtis` | hash | jti → user | as `active` |
//! | `P{q:id}:window` | sorted set | running total of admissions that the rate counts → moment, ms | the window |
//! | `P{q:id}:pace` | sorted set | running total of all admissions → second, ms | an hour |
//! | `P{q:id}:revoked` | stream | `jti`, `exp` s | until `exp` |
//! | `P{q:id}:seen:n` | string | four bytes a place: last poll, tenths of seconds since 2025; 0 = not in line | until the line has passed |
//! | `P{q:id}:departed:n` | hash | place → why it ended, for one span of ten minutes | 30 minutes |
//!
//! `waiting` and `counters.place` are the truth about the line, `active` and `admissions` about
//! the slots. The rest can be lost without anybody losing a place or the cap being broken.

/// Places in one string of `seen`; the same number stands in `prelude.lua`.
pub const SEEN_CHUNK: u64 = 65_536;
/// What `seen` counts from, ms since 1970; the same number stands in `prelude.lua`.
pub const SEEN_EPOCH_MS: i64 = 1_735_689_600_000;

/// Names keys under one prefix.
#[derive(Clone, Debug)]
pub struct Keyspace {
    prefix: String,
}

/// The keys of one queue, named once.
#[derive(Clone, Debug)]
pub struct QueueKeys {
    stem: String,
    script_keys: [String; 9],
}

const SCRIPT_KEYS: [&str; 9] =
    ["settings", "counters", "waiting", "active", "admissions", "jtis", "window", "pace", "revoked"];

impl Keyspace {
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The set of all queues.
    pub fn queues(&self) -> String {
        format!("{}queues", self.prefix)
    }

    /// The registry of the keys that sign entry tokens.
    pub fn entry_keys(&self) -> String {
        format!("{}entry_keys", self.prefix)
    }

    /// The keys of the queue `id`.
    pub fn queue(&self, id: &str) -> QueueKeys {
        let stem = format!("{}{{q:{id}}}:", self.prefix);
        let script_keys = SCRIPT_KEYS.map(|name| format!("{stem}{name}"));
        QueueKeys { stem, script_keys }
    }
}

impl QueueKeys {
    /// `KEYS` of every script, in the order that the prelude expects.
    pub fn for_scripts(&self) -> &[String; 9] {
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

    /// The string of `seen` that holds chunk `n`.
    pub fn seen(&self, n: u64) -> String {
        format!("{}seen:{n}", self.stem)
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
        let prelude = include_str!("prelude.lua");
        assert!(prelude.contains(&format!("local CHUNK = {SEEN_CHUNK} ")));
        assert!(prelude.contains(&format!("local SEEN_EPOCH_MS = {SEEN_EPOCH_MS} ")));
        let names = SCRIPT_KEYS.map(str::to_uppercase).join(", ");
        assert!(prelude.contains(&format!("local {names} = unpack(KEYS)")));
    }
}

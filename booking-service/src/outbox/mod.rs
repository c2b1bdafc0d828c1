//! The way back to the queue: who is done gives the slot to the next person.
//!
//! ```text
//!   payment's (or hold's) transaction: spent_entries + outbox ─ commit ─▶ wake ─▶ relay
//!   relay, a queue: lease the oldest ─ POST /internal/v1/queues/{queue}/completions ─▶ delete
//!                     ├ not now (no answer, 5xx, 429, 401, 404): the queue rests, longer each time
//!                     └ refused for good: half as many, until one stands alone ─▶ aside, tried rarely
//! ```
//!
//! Invariants, and who keeps them: a token is spent once (primary key of `spent_entries`); spent
//! and told are one (one statement); a dead queue service delays nobody (the relay is a loop of
//! its own, with a connection of its own); a queue delays no other (each has a task and a rest of its own);
//! a message delays no other (`model.rs`); no two replicas tell the same (the lease); telling twice is
//! harmless all the same (the queue service takes completions idempotently). A message goes when it was
//! heard, or when its token expired more than a day ago; else never.

mod model;
mod relay;
mod store;

use std::sync::Arc;

pub use relay::run;
use shared::ids::new_id;
pub(crate) use store::spend_parts;
use tokio::sync::Notify;

use crate::admitted::{EndedEntries, Entry};
use crate::db::{self, Db, Tx};

/// Spends entry tokens. Clones are the same outbox.
#[derive(Clone)]
pub struct Outbox {
    db: Db,
    ended: EndedEntries,
    wake: Arc<Notify>,
}

impl Outbox {
    /// An outbox whose spent tokens this replica remembers in `ended`.
    pub fn new(db: Db, ended: EndedEntries) -> Self {
        Self { db, ended, wake: Arc::default() }
    }

    /// Spends `entries` in the transaction; answers the `jti`s that were not spent before.
    pub async fn spend(&self, tx: &mut Tx, entries: &[Entry]) -> db::Result<Vec<String>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = entries.iter().map(|_| new_id(self.db.clock())).collect();
        store::spend(tx, entries, &ids).await
    }

    /// After the commit: this replica refuses the tokens at once and tells the queue service. Should
    /// this be lost, the followers and the relay's own rounds make up for it.
    pub fn committed(&self, entries: &[Entry]) {
        if !entries.is_empty() {
            self.ended.spent(entries);
            self.wake.notify_one();
        }
    }
}

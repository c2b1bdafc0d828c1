//! Idempotency keys: the same request again has the same answer, for 24 hours, on every replica
//! and across crashes.
//!
//! ```text
//!   find ─▶ answered, same body ─▶ the first answer again
//!     │        answered, other body ─▶ reused
//!     │        running ─▶ in flight
//!     ▼ free
//!   the verb's transaction: claim ─ work ─ remember ─ commit
//! ```
//!
//! Invariants, and who keeps them: one success per key (the primary key of `idempotency`); success
//! and memory of it are one (the same transaction); a refusal leaves no trace (it rolls back);
//! what runs is known to be running (an advisory lock of that transaction, as a courtesy only).

mod http;
mod model;
mod store;

use std::time::Duration;

use serde::Serialize;
use shared::lifecycle::Lifecycle;

pub use http::{KeyHeader, Need};
pub use model::{Intent, Remembered};

use crate::db::{self, Db, Tx};
use crate::rounds;
use store::Known;

/// Why a request with a key is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It was, before; this was the answer.
    #[error("it was carried out before")]
    Again(Remembered),
    #[error("the key was used with another body")]
    Reused,
    #[error("a request with the key is running")]
    InFlight,
    #[error(transparent)]
    Db(#[from] db::Error),
}

/// Looks a key up before anything else is decided.
pub async fn find(db: &Db, intent: &Intent) -> Result<(), Refusal> {
    judge(store::claim(&mut *db.lane().await?, db.offset_ms(), intent).await?, intent)
}

/// First thing in a verb's transaction: the key is this transaction's until it ends.
pub async fn claim(tx: &mut Tx, db: &Db, intent: Option<&Intent>) -> Result<(), Refusal> {
    match intent {
        Some(intent) => judge(store::claim(tx, db.offset_ms(), intent).await?, intent),
        None => Ok(()),
    }
}

fn judge(known: Known, intent: &Intent) -> Result<(), Refusal> {
    match known {
        Known::Free => Ok(()),
        Known::Running => Err(Refusal::InFlight),
        Known::Answered { fingerprint, .. } if fingerprint != intent.fingerprint => Err(Refusal::Reused),
        Known::Answered { remembered, .. } => Err(Refusal::Again(remembered)),
    }
}

/// Last thing in a verb's transaction: remembers the 201 that will be answered.
pub async fn remember<T: Serialize + Sync>(
    tx: &mut Tx,
    db: &Db,
    intent: Option<&Intent>,
    answer: &T,
) -> Result<(), Refusal> {
    let Some(intent) = intent else { return Ok(()) };
    let body = serde_json::to_string(answer).map_err(|error| db::Error::Failed(error.to_string()))?;
    let answer = Remembered { status: 201, body };
    if store::remember(tx, db.offset_ms(), intent, &answer).await? { Ok(()) } else { Err(Refusal::InFlight) }
}

const FORGET_EVERY: Duration = Duration::from_secs(30);
const BATCH: i64 = 2000;

/// Forgets answers older than a day.
pub fn forget_old(lifecycle: &Lifecycle, db: Db) {
    rounds::every(lifecycle, "old idempotency keys", FORGET_EVERY, move || {
        let db = db.clone();
        async move {
            let forgotten = store::forget(&mut *db.lane().await?, db.offset_ms(), BATCH).await?;
            db::Result::Ok(forgotten == BATCH.cast_unsigned())
        }
    });
}

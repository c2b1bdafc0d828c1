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
    let known = store::claim(&mut *db.lane().await?, db.offset_ms(), &[intent]).await?;
    known.into_iter().try_for_each(|known| judge(known, intent))
}

/// First thing in a verb's transaction: the key is this transaction's until it ends.
pub async fn claim(tx: &mut Tx, db: &Db, intent: Option<&Intent>) -> Result<(), Refusal> {
    claim_all(tx, db, &[intent]).await?.into_iter().collect()
}

/// As [`claim`], for many wishes at once, of which no two have the same key; one outcome for each.
pub async fn claim_all(
    tx: &mut Tx,
    db: &Db,
    intents: &[Option<&Intent>],
) -> db::Result<Vec<Result<(), Refusal>>> {
    let given: Vec<&Intent> = intents.iter().flatten().copied().collect();
    if given.is_empty() {
        return Ok(intents.iter().map(|_| Ok(())).collect());
    }
    let mut known = store::claim(tx, db.offset_ms(), &given).await?.into_iter();
    let judged = |intent: Option<&Intent>| match intent {
        Some(intent) => judge(known.next().unwrap_or(Known::Running), intent),
        None => Ok(()),
    };
    Ok(intents.iter().copied().map(judged).collect())
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
    remember_all(tx, db, &[(intent, answer)]).await
}

/// As [`remember`], for many at once: all of them or it fails.
pub async fn remember_all<T: Serialize + Sync>(
    tx: &mut Tx,
    db: &Db,
    answers: &[(Option<&Intent>, &T)],
) -> Result<(), Refusal> {
    let written = |answer: &T| match serde_json::to_string(answer) {
        Ok(body) => Ok(Remembered { status: 201, body }),
        Err(error) => Err(db::Error::Failed(error.to_string())),
    };
    let given = answers.iter().filter_map(|(intent, answer)| Some(((*intent)?, *answer)));
    let given: Vec<_> =
        given.map(|(intent, answer)| Ok((intent, written(answer)?))).collect::<db::Result<_>>()?;
    if given.is_empty() || store::remember(tx, db.offset_ms(), &given).await? == given.len() as u64 {
        Ok(())
    } else {
        Err(Refusal::InFlight)
    }
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

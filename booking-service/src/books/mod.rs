//! The books: what must be true of the data, read back and compared.
//!
//! All checks see one moment (a read-only snapshot). They presume nothing of what the rest of the
//! service keeps: each says in SQL what must not exist. An empty answer is the proof.

mod checks;
pub mod http;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::db::{self, Db};

/// The most violations that one check lists.
const LISTED: i64 = 100;

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Violation {
    /// Which rule is broken.
    pub rule: &'static str,
    /// By what.
    pub detail: String,
}

/// What the accounts come to, the users' and the counter-accounts. Together they come to 0, or a point
/// was lost or made. Sums may be larger than any one number of points.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct TrialBalance {
    /// Σ balances, never negative.
    #[schema(value_type = i64)]
    pub users: i128,
    /// What was charged, negative: it came from there.
    #[schema(value_type = i64)]
    pub funding: i128,
    /// What was used.
    #[schema(value_type = i64)]
    pub spending: i128,
    /// What was paid, less what was paid back.
    #[schema(value_type = i64)]
    pub revenue: i128,
}

/// The outcome of an audit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Audit {
    pub ok: bool,
    /// At most 100 of each rule.
    pub violations: Vec<Violation>,
    pub trial_balance: TrialBalance,
    /// How many rows of each kind were looked at.
    pub checked: BTreeMap<String, i64>,
}

/// The books of this replica. They are read by one at a time: reading them is work for the database.
pub struct Books {
    db: Db,
    turn: Arc<Mutex<()>>,
}

impl Books {
    /// The books in that database; `db` is no pool that the sale waits at.
    pub fn new(db: Db) -> Self {
        Self { db, turn: Arc::default() }
    }

    /// Reads them, as they are when it is the caller's turn. A caller who hangs up after that keeps
    /// the turn until the database is done, and does not set a second one to work.
    pub async fn audit(&self) -> db::Result<Audit> {
        let (turn, db) = (self.turn.clone().lock_owned().await, self.db.clone());
        #[expect(clippy::disallowed_methods, reason = "it ends by itself; it writes nothing")]
        let audited = tokio::spawn(async move {
            let audited = audit(&db).await;
            drop(turn);
            audited
        });
        audited.await.map_err(|error| db::Error::Failed(error.to_string()))?
    }
}

/// Reads the books.
pub async fn audit(db: &Db) -> db::Result<Audit> {
    let mut tx = db.snapshot().await?;
    store::without_time_limit(&mut tx).await?;
    let mut violations = Vec::new();
    for (rule, sql) in checks::ALL {
        let details = store::broken(&mut tx, sql, db.offset_ms(), LISTED).await?;
        violations.extend(details.into_iter().map(|detail| Violation { rule, detail }));
    }
    let trial_balance = store::trial_balance(&mut tx).await?;
    let checked = store::counts(&mut tx).await?.into_iter().collect();
    tx.commit().await?;
    Ok(Audit { ok: violations.is_empty(), violations, trial_balance, checked })
}

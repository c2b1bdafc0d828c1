//! The books: what must be true of the data, read back and compared.
//!
//! All checks see one moment (a read-only snapshot). They presume nothing of what the rest of the
//! service keeps: each says in SQL what must not exist. An empty answer is the proof.

mod checks;
pub mod http;
mod store;

use std::collections::BTreeMap;

use serde::Serialize;
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

/// The outcome of an audit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Audit {
    pub ok: bool,
    /// At most 100 of each rule.
    pub violations: Vec<Violation>,
    /// How many rows of each kind were looked at.
    pub checked: BTreeMap<String, i64>,
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
    let checked = store::counts(&mut tx).await?.into_iter().collect();
    tx.commit().await?;
    Ok(Audit { ok: violations.is_empty(), violations, checked })
}

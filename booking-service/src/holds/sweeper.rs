//! The loop that writes down what the deadlines have decided.

use std::time::Duration;

use shared::lifecycle::Lifecycle;

use super::store;
use crate::db::{self, Db};
use crate::{metrics, rounds};

const EVERY: Duration = Duration::from_secs(2);
const BATCH: i64 = 500;

/// Starts the sweeper.
pub fn run(lifecycle: &Lifecycle, db: Db) {
    rounds::every(lifecycle, "sweeper of holds", EVERY, move || {
        let db = db.clone();
        async move {
            let swept = store::sweep(&mut *db.lane().await?, db.offset_ms(), BATCH).await?;
            metrics::many(metrics::SWEPT, swept.cast_unsigned());
            db::Result::Ok(swept == BATCH)
        }
    });
}

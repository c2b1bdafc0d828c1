//! The loop that writes down what the deadlines have decided.

use std::time::Duration;

use shared::lifecycle::Lifecycle;

use super::store;
use crate::changes::Changes;
use crate::crash;
use crate::db::{self, Db};
use crate::{metrics, rounds};

const EVERY: Duration = Duration::from_secs(2);
const BATCH: u16 = 500;

/// Starts the sweeper.
pub fn run(lifecycle: &Lifecycle, db: Db, changes: Changes) {
    rounds::every(lifecycle, "sweeper of holds", EVERY, move || {
        let (db, changes) = (db.clone(), changes.clone());
        async move {
            crash::point("sweep.begun")?;
            let swept = store::sweep(&mut *db.lane().await?, db.offset_ms(), i64::from(BATCH)).await?;
            crash::point("sweep.committed")?;
            let count = swept.len();
            metrics::many(metrics::SWEPT, count as u64);
            changes.seats_of(swept);
            db::Result::Ok(count == usize::from(BATCH))
        }
    });
}

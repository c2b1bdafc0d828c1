//! The loop that tells how this process bears up.

use std::sync::Arc;
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::model::PressureReport;
use super::{CALL_LIMIT, FIRST_PAUSE, LONGEST_PAUSE, Unheard, Window};
use crate::db::Db;
use crate::metrics;
use crate::queue_service::QueueService;
use crate::retry::{jittered, longer};
use crate::rounds::Mood;

const PATH: &str = "/internal/v1/pressure";
const EVERY: Duration = Duration::from_secs(1);
/// How long the reporter itself waits for a lane: when nobody gets one, nobody could say so.
const PROBE: Duration = Duration::from_millis(500);

/// Starts the reports of pressure.
pub fn run(lifecycle: &Lifecycle, db: Db, window: Arc<Window>, service: QueueService) {
    let reporter = Reporter { db, window, service, id: Uuid::new_v4() };
    lifecycle.spawn_loop("reports of pressure", reporter.report());
}

struct Reporter {
    db: Db,
    window: Arc<Window>,
    service: QueueService,
    id: Uuid,
}

impl Reporter {
    async fn report(self) {
        let mut mood = Mood::new("reports of pressure to the queue service");
        let mut failures = 0;
        let mut resting_until = Instant::now();
        loop {
            let next = Instant::now() + jittered(EVERY.mul_f64(0.9), EVERY.mul_f64(1.1));
            self.db.try_lane(PROBE).await;
            let waited = self.db.take_longest_wait();
            metrics::amount(metrics::POOL_WAIT, waited.as_secs_f64());
            let reading = self.window.turn(waited);
            if Instant::now() >= resting_until {
                let report = PressureReport { reporter: self.id, reading };
                let told = self.service.tell(PATH, &report, CALL_LIMIT).await.map_err(Unheard::from);
                mood.note(&told);
                if told.is_ok() {
                    failures = 0;
                    metrics::reported("pressure");
                } else {
                    metrics::report_failed("pressure");
                    resting_until = Instant::now() + longer(FIRST_PAUSE, LONGEST_PAUSE, failures);
                    failures = failures.saturating_add(1);
                }
            }
            sleep_until(next).await;
        }
    }
}

//! Every metric of this service. Those of HTTP are in `shared::serve`.
//!
//! | name | kind | unit | meaning |
//! |---|---|---|---|
//! | `queue_admitted_total{queue}` | counter | people | let in by steps of this replica |
//! | `queue_waiting{queue}` | gauge | people | in line at the last step |
//! | `queue_active{queue}` | gauge | people | holding a slot at the last step |
//! | `queue_outflow_ratio{queue}` | gauge | 0 to 1 | share of the rate that is let in, at the last report of pressure |
//! | `queue_polls_total{queue,answered_by}` | counter | polls | by `view` or `store` |

/// Records a step of admission: how many were let in, and how many are waiting and active after it.
pub fn step(queue: &str, admitted: u64, waiting: u64, active: u64) {
    let labels = [("queue", queue.to_owned())];
    if admitted > 0 {
        metrics::counter!("queue_admitted_total", &labels).increment(admitted);
    }
    metrics::gauge!("queue_waiting", &labels).set(as_f64(waiting));
    metrics::gauge!("queue_active", &labels).set(as_f64(active));
}

/// Counts the polls of a queue that are answered by `view` or by `store`.
pub fn polls(queue: &str, answered_by: &'static str) -> metrics::Counter {
    metrics::counter!("queue_polls_total", "queue" => queue.to_owned(), "answered_by" => answered_by)
}

/// Records the share of the rate that is let in.
pub fn outflow(queue: &str, share: f64) {
    metrics::gauge!("queue_outflow_ratio", "queue" => queue.to_owned()).set(share);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^52")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

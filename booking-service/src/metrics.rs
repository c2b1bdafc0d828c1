//! Every metric of this service, with its unit and meaning. Requests are counted by
//! [`shared::serve`] (`http_requests_total`, `http_request_duration_seconds`).

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Holds made, in reservations.
pub const HOLDS: &str = "booking_holds_total";
/// Seats that were held.
pub const SEATS_HELD: &str = "booking_seats_held_total";
/// Payments made.
pub const PAYMENTS: &str = "booking_payments_total";
/// Points that were paid.
pub const POINTS_PAID: &str = "booking_points_paid_total";
/// Refunds made.
pub const REFUNDS: &str = "booking_refunds_total";
/// Holds that ended because their date was cancelled.
pub const CANCELLED_HOLDS: &str = "booking_cancelled_holds_total";
/// Payments refunded because their date was cancelled; also in [`REFUNDS`].
pub const CANCELLED_PAYMENTS: &str = "booking_cancelled_payments_total";
/// Refunds of cancelled dates that could not be made and wait.
pub const REFUNDS_PUT_ASIDE: &str = "booking_refunds_put_aside_total";
/// Refusals, by `verb` and `reason`.
pub const REFUSED: &str = "booking_refused_total";
/// Attempts at a hold that met another one half-way and were made again.
pub const HOLD_COLLISIONS: &str = "booking_hold_collisions_total";
/// Holds that were extended.
pub const EXTENSIONS: &str = "booking_extensions_total";
/// Reservations that the sweeper found past their deadline.
pub const SWEPT: &str = "booking_swept_total";
/// Messages to the queue service that it has heard.
pub const DELIVERED: &str = "booking_outbox_delivered_total";
/// Attempts to tell the queue service that failed, in batches.
pub const DELIVERY_FAILURES: &str = "booking_outbox_failures_total";
/// Messages in line for the queue service; counted up to 100,000.
pub const OUTBOX_WAITING: &str = "booking_outbox_waiting";
/// Messages that stand aside because the queue service refuses them; counted up to 100,000.
pub const OUTBOX_ASIDE: &str = "booking_outbox_aside";
/// Times that a message was put aside.
pub const PUT_ASIDE: &str = "booking_outbox_put_aside_total";
/// Age of the oldest message in line, in seconds; 0 when there is none.
pub const OUTBOX_OLDEST: &str = "booking_outbox_oldest_seconds";
/// How old a message was when the attempt that reached the queue service began, in seconds.
pub const OUTBOX_LAG: &str = "booking_outbox_lag_seconds";
/// Entry tokens this replica knows to be spent or revoked and not yet expired.
pub const ENDED_ENTRIES: &str = "booking_ended_entries";
/// Reports that the queue service has heard, by `about`: `stock` or `pressure`.
pub const REPORTS: &str = "booking_reports_total";
/// Reports that could not be made or were not heard, by `about`.
pub const REPORT_FAILURES: &str = "booking_report_failures_total";
/// How long the counting of seats for a report took, in seconds.
pub const STOCK_COUNT: &str = "booking_stock_count_seconds";
/// The longest wait for a connection to the database within the last second, in seconds.
pub const POOL_WAIT: &str = "booking_pool_wait_seconds";
/// Seats whose state this replica keeps in memory, for seat maps.
pub const MAPPED_SEATS: &str = "booking_mapped_seats";

/// Transactions that were made of what had arrived together, by `verb`.
pub const BATCHES: &str = "booking_batches_total";
/// Requests in them, by `verb`.
pub const BATCHED: &str = "booking_batched_requests_total";
/// Requests that a batch gave back, each to be carried out alone, by `verb`.
pub const ALONE: &str = "booking_alone_requests_total";

/// Gives the recorder the meanings.
pub fn describe() {
    describe_counter!(HOLDS, "holds made, in reservations");
    describe_counter!(SEATS_HELD, "seats that were held");
    describe_counter!(PAYMENTS, "payments made");
    describe_counter!(POINTS_PAID, "points that were paid");
    describe_counter!(REFUNDS, "refunds made");
    describe_counter!(CANCELLED_HOLDS, "holds that ended because their date was cancelled");
    describe_counter!(CANCELLED_PAYMENTS, "payments refunded because their date was cancelled");
    describe_counter!(REFUNDS_PUT_ASIDE, "refunds of cancelled dates that could not be made and wait");
    describe_counter!(REFUSED, "refusals, by verb and reason");
    describe_counter!(HOLD_COLLISIONS, "attempts at a hold that met another half-way and were made again");
    describe_counter!(EXTENSIONS, "holds that were extended");
    describe_counter!(SWEPT, "reservations that the sweeper found past their deadline");
    describe_counter!(DELIVERED, "completions that the queue service has heard");
    describe_counter!(DELIVERY_FAILURES, "batches of completions that could not be told");
    describe_gauge!(OUTBOX_WAITING, "completions in line for the queue service, counted up to 100,000");
    describe_gauge!(OUTBOX_ASIDE, "completions put aside because they are refused, counted up to 100,000");
    describe_counter!(PUT_ASIDE, "times that a completion was put aside");
    describe_gauge!(OUTBOX_OLDEST, metrics::Unit::Seconds, "age of the oldest completion in line");
    describe_histogram!(
        OUTBOX_LAG,
        metrics::Unit::Seconds,
        "from the writing of a completion to the attempt that was heard"
    );
    describe_gauge!(ENDED_ENTRIES, "entry tokens known to be spent or revoked");
    describe_counter!(REPORTS, "reports that the queue service has heard, by what they are about");
    describe_counter!(REPORT_FAILURES, "reports that were not heard, by what they are about");
    describe_histogram!(STOCK_COUNT, metrics::Unit::Seconds, "the counting of seats for a report");
    describe_gauge!(MAPPED_SEATS, "seats whose state is kept in memory, for seat maps");
    describe_counter!(BATCHES, "transactions of what had arrived together, by verb");
    describe_counter!(BATCHED, "requests in them, by verb");
    describe_counter!(ALONE, "requests that a batch gave back to be carried out alone, by verb");
    describe_gauge!(
        POOL_WAIT,
        metrics::Unit::Seconds,
        "the longest wait for a connection within the last second"
    );
}

/// Counts one refusal.
pub fn refused(verb: &'static str, reason: &'static str) {
    counter!(REFUSED, "verb" => verb, "reason" => reason).increment(1);
}

/// Counts one more of `name`.
pub fn one(name: &'static str) {
    many(name, 1);
}

/// Counts `by` more of `name`.
pub fn many(name: &'static str, by: u64) {
    counter!(name).increment(by);
}

/// Sets the gauge `name`; counts are far below where f64 loses units.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub fn level(name: &'static str, value: u64) {
    gauge!(name).set(value as f64);
}

/// Counts one batch of so many requests, of which so many were given back.
pub fn batch(verb: &'static str, requests: u64, alone: u64) {
    counter!(BATCHES, "verb" => verb).increment(1);
    counter!(BATCHED, "verb" => verb).increment(requests);
    counter!(ALONE, "verb" => verb).increment(alone);
}

/// Counts one report that was heard.
pub fn reported(about: &'static str) {
    counter!(REPORTS, "about" => about).increment(1);
}

/// Counts one report that was not.
pub fn report_failed(about: &'static str) {
    counter!(REPORT_FAILURES, "about" => about).increment(1);
}

/// Sets the gauge `name` to what is no count.
pub fn amount(name: &'static str, value: f64) {
    gauge!(name).set(value);
}

/// Records one duration.
pub fn seconds(name: &'static str, value: f64) {
    histogram!(name).record(value);
}

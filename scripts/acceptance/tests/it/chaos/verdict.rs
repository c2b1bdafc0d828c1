//! Whether all that was answered is still true, and nothing else.
//!
//! | what was answered | must be |
//! |---|---|
//! | every charge, use, payment, refund | in its user's ledger once, and nothing else in it; the balance is the sum |
//! | every POST with a key | answered the same again |
//! | every reservation | what became of it, and no other |
//! | every payment | readable; its seats sold, to nobody else, or given back |
//! | every admission | within rate and cap; one at a time for a user; ended by its payment |
//!
//! The audits of the books and of the admission log are the world's own, at its end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use acceptance::{Date, PRICE, Side, World, at_once, within};
use serde_json::Value;

use super::shopper::{Admission, Deed, Shopper};
use super::{LIMITS, REPLICAS};

/// The last holds lapse, and are swept; the relay rests for ten seconds at the most.
const SETTLING: Duration = Duration::from_secs(30);
const LEAST_PAYMENTS: usize = 10;
/// Before a lease ends that has longer to go, the queue has heard of the payment, whoever is killed.
const TELLING_MS: i64 = 25_000;
/// Why a place has ended is known for ten minutes.
const REASON_KNOWN_MS: i64 = 540_000;

pub struct Verdict<'w> {
    pub world: &'w World,
    pub date: &'w Date,
    pub shoppers: Vec<Shopper<'w>>,
}

impl Verdict<'_> {
    /// Fails unless everything is true; else the figures.
    pub async fn reach(&self) -> String {
        self.settled().await;
        for shopper in &self.shoppers {
            self.ledger(shopper).await;
            self.reservations(shopper).await;
        }
        let doubtful: Vec<_> = self
            .deeds()
            .filter(|(_, deed)| deed.was_in_doubt || !deed.path.starts_with("/v1/points/"))
            .collect();
        at_once(doubtful.iter().map(|(shopper, deed)| self.replay(shopper, deed))).await;
        at_once(self.of("/v1/payments").map(|(shopper, deed)| self.receipt(shopper, deed))).await;
        self.seats().await;
        self.money().await;
        self.admissions();
        let heard = self.completions().await;
        let payments = self.of("/v1/payments").count();
        assert!(payments >= LEAST_PAYMENTS, "only {payments} payments");
        let unanswered: usize = self.shoppers.iter().map(|shopper| shopper.unanswered).sum();
        assert!(unanswered > 0, "nobody noticed anything");
        format!(
            "{} deeds, {payments} of them payments, {} refunds, {} in doubt; {} admissions, {heard} ended by their payment; {unanswered} requests without an answer",
            self.deeds().count(),
            self.refunds().count(),
            self.deeds().filter(|(_, deed)| deed.was_in_doubt).count(),
            self.shoppers.iter().map(|shopper| shopper.admissions.len()).sum::<usize>(),
        )
    }

    fn deeds(&self) -> impl Iterator<Item = (&Shopper<'_>, &Deed)> {
        self.shoppers.iter().flat_map(|shopper| shopper.deeds.iter().map(move |deed| (shopper, deed)))
    }

    fn of(&self, path: &str) -> impl Iterator<Item = (&Shopper<'_>, &Deed)> {
        self.deeds().filter(move |(_, deed)| deed.path == path)
    }

    fn refunds(&self) -> impl Iterator<Item = (&Shopper<'_>, &Deed)> {
        self.deeds().filter(|(_, deed)| deed.path.ends_with("/refund"))
    }

    /// Nothing is on its way any more: completions are heard, slots free, forgotten holds lapsed.
    async fn settled(&self) {
        within(SETTLING, "nothing is on its way", async || {
            for replica in 0..REPLICAS {
                let metrics = self.world.get(Side::BookingOps, "/metrics").on(replica).attempt().await?.text;
                for gauge in ["booking_outbox_waiting", "booking_outbox_aside"] {
                    let line = metrics.lines().find(|line| line.starts_with(&format!("{gauge} ")));
                    if line != Some(&format!("{gauge} 0")) {
                        return Err(format!("replica {replica}: {line:?}"));
                    }
                }
            }
            let queue = self.world.admin().queue("main").await.ok(200);
            let date = self.world.admin().report(self.date).await.ok(200);
            let left = [queue.int("active"), queue.int("waiting"), date.int("held")];
            if left == [0, 0, 0] { Ok(()) } else { Err(format!("active, waiting, held: {left:?}")) }
        })
        .await;
    }

    /// Exactly what was answered, each once.
    async fn ledger(&self, shopper: &Shopper<'_>) {
        let mut told: Vec<_> = shopper.deeds.iter().filter_map(movement).collect();
        let rows = shopper.user.history().await;
        let mut written: Vec<_> = rows
            .iter()
            .map(|row| {
                let kind = row["kind"].as_str().unwrap().to_owned();
                let is_points = matches!(kind.as_str(), "charge" | "use");
                let id = &row[if is_points { "entry_id" } else { "payment_id" }];
                (kind, row["amount"].as_i64().unwrap(), id.as_str().unwrap().to_owned())
            })
            .collect();
        told.sort_unstable();
        written.sort_unstable();
        let untrue: Vec<_> = told.iter().filter(|movement| !written.contains(movement)).collect();
        let untold: Vec<_> = written.iter().filter(|movement| !told.contains(movement)).collect();
        let difference =
            format!("answered and not written: {untrue:?}, written and not answered: {untold:?}");
        assert!(told == written, "{}: {difference}", shopper.user.id());
        let balance: i64 = told.iter().map(|(_, amount, _)| amount).sum();
        assert_eq!(shopper.user.balance().await, balance, "{}", shopper.user.id());
    }

    async fn reservations(&self, shopper: &Shopper<'_>) {
        let all = shopper.user.reservations("").await;
        let word = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let written: BTreeMap<_, _> =
            all.iter().map(|item| (word(item, "reservation_id"), word(item, "status"))).collect();
        let told = shopper.reservations.iter().map(|(id, status)| (id.clone(), (*status).to_owned()));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), written, "{}: told, and written", shopper.user.id());
    }

    /// 70: the first answer again, whatever has died since.
    async fn replay(&self, shopper: &Shopper<'_>, deed: &Deed) {
        let token = if deed.path == "/v1/reservations" {
            self.world.entry_token(shopper.user.id(), "main").await
        } else {
            shopper.user.token().to_owned()
        };
        let call = self.world.call(Side::Booking, "POST", &deed.path).bearer(&token);
        let again = call.key(&deed.key).json(&deed.body).await.ok(201);
        assert_eq!(lasting(&again.body), lasting(&deed.answer.body), "{again:?}");
    }

    async fn receipt(&self, shopper: &Shopper<'_>, deed: &Deed) {
        let receipt = shopper.user.receipt(&deed.answer).await.ok(200);
        for member in ["payment_id", "reservation_id", "amount", "paid_at", "seats"] {
            assert_eq!(receipt[member], deed.answer[member], "{receipt:?}");
        }
        let is_refunded =
            self.refunds().any(|(_, other)| other.answer["payment_id"] == receipt["payment_id"]);
        assert_eq!(receipt["refund_id"].is_string(), is_refunded, "{receipt:?}");
    }

    /// What was paid and not given back is sold, to one alone, and nothing else is.
    async fn seats(&self) {
        let refunded: HashSet<_> = self.refunds().map(|(_, deed)| deed.answer.text("payment_id")).collect();
        let mut sold = BTreeSet::new();
        for (shopper, deed) in self.of("/v1/payments") {
            if !refunded.contains(&deed.answer.text("payment_id")) {
                for seat in deed.answer.list("seats") {
                    let number = seat["number"].as_i64().unwrap();
                    assert!(sold.insert(number), "{number} was sold twice, once to {}", shopper.user.id());
                }
            }
        }
        within(SETTLING, "every map shows what is sold", async || {
            let map = self.world.seat_map(self.date).await;
            let shown: BTreeSet<_> = map.sold.into_iter().collect();
            if shown == sold { Ok(()) } else { Err(format!("{shown:?}, not {sold:?}")) }
        })
        .await;
        let report = self.world.admin().report(self.date).await.ok(200);
        let count = i64::try_from(sold.len()).unwrap();
        assert_eq!((report.int("sold"), report.int("revenue")), (count, count * PRICE), "{report:?}");
    }

    /// The accounts come to what was answered.
    async fn money(&self) {
        let audit = self.world.admin().audit().await.ok(200);
        let movements: Vec<_> = self.deeds().filter_map(|(_, deed)| movement(deed)).collect();
        let sum = |kinds: &[&str]| -> i64 {
            movements
                .iter()
                .filter(|(kind, ..)| kinds.contains(&kind.as_str()))
                .map(|(_, amount, _)| amount)
                .sum()
        };
        let balance = &audit["trial_balance"];
        let (funding, spending, revenue) = (-sum(&["charge"]), -sum(&["use"]), -sum(&["payment", "refund"]));
        let told = [-(funding + spending + revenue), funding, spending, revenue];
        let written =
            ["users", "funding", "spending", "revenue"].map(|account| balance[account].as_i64().unwrap());
        assert_eq!(written, told, "{audit:?}");
        assert_eq!(audit["ok"], true, "{audit:?}");
    }

    /// The queue has heard of each payment, and not only its lease has ended; how many of them.
    async fn completions(&self) -> usize {
        let now_ms = self.world.clock().now().timestamp_millis();
        let all = self
            .shoppers
            .iter()
            .flat_map(|shopper| shopper.admissions.iter().map(|admission| (admission, shopper.user.me(""))));
        let paid = all.filter(|(admission, _)| {
            let end_ms = admission.exp * 1000;
            let is_known = now_ms - end_ms < REASON_KNOWN_MS;
            is_known && admission.paid_ms.is_some_and(|paid_ms| end_ms - paid_ms > TELLING_MS)
        });
        let polls = paid.map(async |(admission, path)| {
            let poll = self.world.get(Side::Queue, &path).bearer(&admission.queue_token);
            poll.await.refused(410, "token_completed");
        });
        at_once(polls).await.len()
    }

    /// Rate and cap, by the entry tokens alone; and nobody inside twice.
    fn admissions(&self) {
        let mut all = Vec::new();
        for shopper in &self.shoppers {
            let mut own = shopper.admissions.clone();
            own.sort_by_key(|admission| admission.admitted_ms);
            for pair in own.windows(2) {
                assert!(pair[1].admitted_ms >= pair[0].until_ms, "{} twice: {pair:?}", shopper.user.id());
            }
            all.extend(own);
        }
        all.sort_by_key(|admission| admission.admitted_ms);
        let jtis: HashSet<_> = all.iter().map(|admission| &admission.jti).collect();
        assert_eq!(jtis.len(), all.len(), "two have the same admission");
        for these in all.windows(LIMITS.users + 1) {
            let within_ms = these[LIMITS.users].admitted_ms - these[0].admitted_ms;
            assert!(within_ms >= LIMITS.every_seconds * 1000, "{} within {within_ms} ms", these.len());
        }
        for admission in &all {
            let at_ms = admission.admitted_ms;
            let is_inside = |other: &&Admission| other.admitted_ms <= at_ms && at_ms < other.until_ms;
            let inside: Vec<_> = all.iter().filter(is_inside).collect();
            assert!(inside.len() <= LIMITS.cap, "{} at once: {inside:?}", inside.len());
        }
    }
}

/// Kind, signed amount, and what it is of: what it writes into the ledger.
fn movement(deed: &Deed) -> Option<(String, i64, String)> {
    let (kind, sign, id) = match deed.path.as_str() {
        "/v1/reservations" => return None,
        "/v1/points/charges" => ("charge", 1, "entry_id"),
        "/v1/points/uses" => ("use", -1, "entry_id"),
        "/v1/payments" => ("payment", -1, "payment_id"),
        _ => ("refund", 1, "payment_id"),
    };
    Some((kind.to_owned(), sign * deed.answer.int("amount"), deed.answer.text(id)))
}

/// Without what depends on the moment.
fn lasting(body: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().remove("remaining_seconds");
    body
}

//! When all shoppers are done: whether what they were told is what the service says then.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::people::{RIGHT_AMOUNTS, Shop};
use super::stub::Stub;
use crate::closed;
use crate::crowd::{Kind, Sample, Tallies};
use crate::http::{Answer, get};
use crate::line::KNOWN;
use crate::outcome::{Outcome, used};
use crate::report::grouped;
use crate::shop::{House, ONE_OWNER, number_of};
use crate::tally::Run;
use crate::tokens::person;
use crate::verdict::Verdict;
use crate::work::Work;

/// For everybody's balance, and for completions under way.
pub const AFTERWARDS: Duration = Duration::from_secs(60);

/// Asks for everybody's balance.
struct Balances(Arc<Shop>, Vec<(u64, i64)>);

impl Work for Balances {
    fn ask(&self, n: u64, into: &mut Vec<u8>) -> bool {
        let account = usize::try_from(n).ok().and_then(|at| self.1.get(at));
        let token = account.and_then(|(n, _)| self.0.tokens.user(&person(*n)).ok());
        token.map(|token| into.extend(get("/v1/points", Some(&token)))).is_some()
    }

    fn hear(&self, n: u64, answer: &Answer<'_>) -> Result<(), &'static str> {
        let account = usize::try_from(n).ok().and_then(|at| self.1.get(at));
        let told = number_of(answer.body, "balance");
        let right = told.is_some() && told == account.map(|(_, balance)| *balance);
        self.0.findings.expect(right, RIGHT_AMOUNTS, || format!("{told:?} in the end, and not {account:?}"));
        if right { Ok(()) } else { Err("a wrong balance") }
    }
}

/// Judges, and stops the services.
pub async fn judge(
    shop: &Arc<Shop>,
    mut house: House,
    stub: &Stub,
    tallies: &Tallies,
    took: Duration,
    samples: Vec<(f64, Sample)>,
) -> anyhow::Result<Outcome> {
    let (arguments, counts, mut verdict) = (&shop.arguments, &shop.counts, Verdict::default());
    let work = Arc::new(Balances(shop.clone(), shop.accounts()));
    let Run { tally, .. } = closed::run(house.services[0].public(), 16, AFTERWARDS, &work).await?;
    let (payments, unsure) = (counts.payments.load(Relaxed), counts.unsure.load(Relaxed));
    let patience = Instant::now() + AFTERWARDS / 4;
    while stub.completions() < payments && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for promise in [ONE_OWNER, RIGHT_AMOUNTS, KNOWN] {
        verdict.promise(promise, &shop.findings);
    }
    verdict.equal(
        "balances that were asked for, and shoppers",
        tally.good() + unsure,
        shop.accounts().len() as u64 + unsure,
    );
    let mut sold = 0;
    for hall in &shop.halls {
        let by_answers = hall.owners.count_sold() as u64;
        sold += by_answers;
        if unsure == 0 {
            verdict.equal(
                "seats of a date sold by the answers, and by its report",
                by_answers,
                house.report(&hall.schedule).await?.0,
            );
        }
    }
    if unsure == 0 {
        verdict.equal("live tickets, and seats sold by the answers", house.tickets().await?, sold);
        verdict.equal("completions that the queue heard, and payments", stub.completions(), payments);
    }
    verdict.empty("violations in the books", &house.violations().await?);
    verdict.p99(Kind::Hold, tallies, arguments.hold_p99_ms);
    verdict.p99(Kind::Pay, tallies, arguments.pay_p99_ms);
    verdict.p99(Kind::Map, tallies, arguments.map_p99_ms);
    verdict.errors(tallies, arguments.errors_per_thousand);
    let mut facts = vec![
        ("payments", grouped(payments)),
        ("refunds", grouped(counts.refunds.load(Relaxed))),
        ("seats sold in the end", grouped(sold)),
        ("found nothing", grouped(counts.nothing.load(Relaxed))),
        ("shoppers of whom not all is known", grouped(unsure)),
        ("settings", format!("{arguments:?}")),
    ];
    for service in &house.services {
        facts.push(("booking-service", used(service)?));
    }
    house.close().await?;
    let (title, name) = ("Load test of the booking service", "load-booking");
    Ok(Outcome { title, name, facts, took, samples, verdict })
}

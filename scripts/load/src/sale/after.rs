//! When the sale is over: whether what the answers said is what the stores say, and what they promise.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::people::{FAIR_PRICE, NO_LAPSE, Sale};
use crate::crowd::Sample;
use crate::line::{FROM_ONE, KNOWN, NO_RISE};
use crate::outcome::{Outcome, used};
use crate::report::grouped;
use crate::shop::{House, ONE_OWNER};
use crate::stand::{Service, Stand};
use crate::verdict::Verdict;

/// Judges, and stops the services.
pub async fn judge(
    stand: &Stand,
    sale: &Sale,
    queue: Service,
    mut house: House,
    took: Duration,
    spent: String,
    samples: Vec<(f64, Sample)>,
) -> anyhow::Result<Outcome> {
    let (counts, arguments) = (&sale.counts, &sale.arguments);
    let number = |count: &std::sync::atomic::AtomicU64| count.load(Relaxed);
    let mut verdict = Verdict::default();
    for promise in [NO_RISE, FROM_ONE, NO_LAPSE, ONE_OWNER, FAIR_PRICE, KNOWN] {
        verdict.promise(promise, &sale.findings);
    }
    let sold = number(&counts.seats);
    let (reported, held, revenue) = house.report(&sale.schedule).await?;
    verdict.equal(
        "seats sold by the answers, and by the owners known",
        sold,
        sale.owners.count_sold() as u64,
    );
    verdict.equal("seats sold by the answers, and by the report", sold, reported);
    verdict.equal("seats sold by the answers, and live tickets", sold, house.tickets().await?);
    verdict.equal(
        "revenue, and price of what was sold",
        u64::try_from(revenue)?,
        sold * u64::try_from(arguments.price)?,
    );
    verdict.equal("seats sold, and seats of the hall", sold, arguments.seats.into());
    verdict.equal("seats still held, and none", held, 0);
    let ended = [&counts.told, &counts.turned_away, &counts.buyers, &counts.empty_handed, &counts.lapsed]
        .map(number)
        .iter()
        .sum();
    verdict.equal(
        "people who lost their place because no connection was free, and none",
        number(&counts.lapsed),
        0,
    );
    verdict.equal("requests of which nothing is known, and none", number(&counts.unknown), 0);
    verdict.empty("violations in the books", &house.violations().await?);
    let audit = queue_service::audit_logs(&stand.place.redis_url, "", Some(sale.queue)).await?;
    let violations = if audit.is_violated { audit.words.as_slice() } else { &[] };
    verdict.empty("violations in the admission log", violations);
    verdict.at_most("time", took.as_secs_f64(), arguments.within, "s");
    let facts = vec![
        ("seconds", format!("{:.1}", took.as_secs_f64())),
        ("seats sold", format!("{} of {}", grouped(sold), grouped(arguments.seats.into()))),
        (
            "people",
            format!(
                "{}, in {} s; opens after {} s",
                grouped(arguments.people),
                arguments.joining,
                arguments.opening
            ),
        ),
        ("let in", grouped(number(&counts.let_in))),
        ("buyers", grouped(number(&counts.buyers))),
        ("told in line that it is over", grouped(number(&counts.told))),
        ("turned away at the door", grouped(number(&counts.turned_away))),
        ("let in and found nothing", grouped(number(&counts.empty_handed))),
        ("other ends", grouped(arguments.people.saturating_sub(ended))),
        ("admission log", audit.words.join("; ")),
        ("processor time while it ran", spent),
        ("queue-service", used(&queue)?),
        ("booking-service", used(&house.services[0])?),
        ("settings", format!("{arguments:?}")),
    ];
    house.close().await?;
    queue.stop().await?;
    let (title, name) = ("The sale of a whole hall", "load-sale");
    Ok(Outcome { title, name, facts, took, samples, verdict })
}

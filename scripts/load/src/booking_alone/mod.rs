//! The booking service alone: shoppers come at a rate, with entry tokens of a queue that is a stand-in.
//!
//! ```text
//!   charge ─▶ map? ─▶ hold ─┬─ thinks ─▶ pay ─┬─▶ done
//!               ▲           │                 └─ thinks ─▶ refund (some)
//!               └─── 409 ───┼─▶ release (some)
//!                           └─▶ forgets it: the hold runs out (some)
//! ```
//!
//! | promise | judged by |
//! |---|---|
//! | no seat is two people's at once | [`crate::shop::Owners`], every answer |
//! | amounts and balances | every answer; at the end the balance of everybody, asked for |
//! | every payment is told to the queue | the stand-in's ear, [`stub`] |
//! | the books; the report of each date | the ops listener, at the end |

mod after;
mod arguments;
mod people;
mod stub;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::crowd::{self, Agenda, Doorway, Sample, Tallies, watch};
use crate::shop::{House, Owners, Shown};
use crate::stand::{Place, Service, Stand};
use crate::tokens::person;

pub use arguments::Arguments;
use people::{Hall, Person, Shop};
use stub::Stub;

const QUEUE: &str = "load";

/// The whole test; its report goes into `folder`.
pub async fn run(arguments: Arguments, place: Place, folder: &Path) -> anyhow::Result<ExitCode> {
    let arguments = arguments.sized()?;
    let stand = Stand::new(place);
    let stub = Stub::open().await?;
    let house = House::open(&stand, stub.address, &arguments.terms()).await?;
    let hall = |schedule: &String| Hall {
        schedule: schedule.clone(),
        shown: Shown::default(),
        owners: Owners::new(arguments.seats),
    };
    let (halls, tokens) = (house.schedules.iter().map(hall).collect(), stand.tokens());
    let starts = arguments.arrivals().random(arguments.seats.into());
    let entries = (0..).zip(&starts).map(|(n, _)| tokens.entry(&person(n), QUEUE));
    let entries = entries.collect::<anyhow::Result<Vec<_>>>()?;
    let shop = Arc::new(Shop::new(arguments, halls, stand.tokens()));
    let tallies = Arc::new(Tallies::new());
    let (took, samples) = live(&shop, &house, starts, entries, &tallies).await;
    let outcome = after::judge(&shop, house, &stub, &tallies, took, samples).await?;
    outcome.publish(&tallies, folder)
}

async fn live(
    shop: &Arc<Shop>,
    house: &House,
    starts: Vec<Duration>,
    entries: Vec<String>,
    tallies: &Arc<Tallies>,
) -> (Duration, Vec<(f64, Sample)>) {
    let (begun, halls, arguments) = (tallies.begun(), shop.halls.len(), &shop.arguments);
    let people = starts.into_iter().zip(entries).zip(0..);
    let people = people.map(|((at, entry), n)| (begun + at, Person::new(n, entry, halls)));
    let agenda = Agenda::open(1, people);
    let addresses = house.services.iter().map(Service::public).collect();
    let doorways = [Doorway { addresses, connections: arguments.connections }];
    let mut samples = Vec::new();
    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    let sample = async || {
        let sold: usize = shop.halls.iter().map(|hall| hall.owners.count_sold()).sum();
        vec![("seats sold", sold as f64), ("waiting for a connection", agenda.waiting() as f64)]
    };
    let longest = Duration::from_secs_f64(arguments.seconds * 2.0) + after::AFTERWARDS;
    tokio::select! {
        () = crowd::run(shop, &doorways, &agenda, tallies) => {}
        () = watch(tallies, || agenda.due(), sample, &mut samples) => {}
        () = tokio::time::sleep(longest) => {}
    }
    agenda.stop();
    (Instant::now() - begun, samples)
}

//! The benchmark: how fast the services are, as ratios to baselines that are measured in the same run.
//!
//! ```text
//!   for each group:  prepare ─▶ baseline, target, baseline, target, … (five pairs) ─▶ rows
//!                                                                                      │
//!                     the table on the terminal · bench.json · bench.html ◀────────────┘
//! ```
//!
//! What disturbs one sample (another program, a checkpoint) disturbs its neighbour, too: each pair gives a ratio, and the row
//! is the median of these. Both sides get the same bytes over as many connections from the same
//! generator, on the same processors.
//!
//! | group | rows | baseline |
//! |---|---|---|
//! | [`polls`] | polls with a crowd in line, commands, memory, restart | [`bare`]: axum and a handler that sends the same bytes; a line of 1,000 |
//! | [`joins`] | joins | the same, verifying the same token |
//! | [`turns`] | slot freed → the next person hears of it | – |
//! | [`seats`] | seat maps | the same bytes |
//! | [`holds`], [`payments`] | holds, payments | [`pgbench`]: one a transaction, the same statements, the same database |

mod bare;
mod compare;
mod durable;
mod hall;
mod holds;
mod joins;
mod output;
mod payments;
mod pgbench;
mod polls;
mod row;
mod seats;
mod store;
mod turns;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::report;
use crate::stand::{Place, Stand};

use row::Row;

/// Connections to either side.
const CONNECTIONS: usize = 64;

/// A group of rows that share what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    Polls,
    Joins,
    Turns,
    Seats,
    Holds,
    Payments,
}

/// What the program is told.
#[derive(Clone, Debug, clap::Parser)]
pub struct Arguments {
    /// A tenth of the crowd and shorter samples: to see that it works, not what it is worth.
    #[arg(long)]
    pub quick: bool,
    /// Exit 1 when a row misses its target.
    #[arg(long)]
    pub strict: bool,
    /// Only these groups.
    pub groups: Vec<Group>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// People in the long line.
    pub crowd: u64,
    /// Of one closed-loop sample.
    pub sample: Duration,
    /// Of one open-loop sample.
    pub open_seconds: f64,
    /// Pairs of samples.
    pub pairs: usize,
    /// Seats of a date that is sold in one sample of holds or payments: more than are sold in its seconds.
    pub hall: u32,
    pub selling_seconds: u32,
    /// Slots freed.
    pub turns: usize,
}

impl Size {
    fn of(arguments: &Arguments) -> Self {
        let (full, quick) = (
            Self {
                crowd: 1_000_000,
                sample: Duration::from_millis(1500),
                open_seconds: 3.0,
                pairs: 5,
                hall: 16_000,
                selling_seconds: 2,
                turns: 200,
            },
            Self {
                crowd: 100_000,
                sample: Duration::from_millis(500),
                open_seconds: 1.0,
                pairs: 5,
                hall: 8_000,
                selling_seconds: 1,
                turns: 50,
            },
        );
        if arguments.quick { quick } else { full }
    }
}

/// What every group gets.
pub struct Bench {
    pub stand: Stand,
    pub size: Size,
}

/// Measures, prints, writes; fails when a row could not be measured.
pub async fn run(arguments: Arguments, place: Place, folder: &Path) -> anyhow::Result<ExitCode> {
    let bench = Bench { stand: Stand::new(place), size: Size::of(&arguments) };
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for group in <Group as clap::ValueEnum>::value_variants() {
        if !arguments.groups.is_empty() && !arguments.groups.contains(group) {
            continue;
        }
        match bench.measure(*group).await {
            Ok(found) => rows.extend(found),
            Err(error) => failures.push(format!("{group:?} could not be measured: {error:#}")),
        }
    }
    report::progress("");
    report::say(&output::table(&rows).text());
    output::write(&rows, &failures, &arguments, folder)?;
    for failure in &failures {
        report::say(failure);
    }
    let missed = arguments.strict && rows.iter().any(|row| !row.is_ok());
    Ok(if failures.is_empty() && !missed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Bench {
    /// For who watches.
    fn progress(&self, what: &str, done: usize) {
        report::progress(&format!("{what}: {} of {}", done + 1, self.size.pairs));
    }

    async fn measure(&self, group: Group) -> anyhow::Result<Vec<Row>> {
        report::progress(&format!("preparing {group:?}").to_lowercase());
        match group {
            Group::Polls => polls::measure(self).await,
            Group::Joins => joins::measure(self).await,
            Group::Turns => turns::measure(self).await,
            Group::Seats => seats::measure(self).await,
            Group::Holds => holds::measure(self).await,
            Group::Payments => payments::measure(self).await,
        }
    }
}

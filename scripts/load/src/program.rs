//! What the program does: the benchmark, or one of the load tests.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use crate::outcome::folder;
use crate::stand::{Place, unless_stopped};
use crate::{baseline, bench, booking_alone, queue_alone, sale};

/// Started by `scripts/bench` and `scripts/load-…`, which make the servers that it needs.
#[derive(clap::Parser)]
#[command(name = "load")]
enum Program {
    /// Every row of the table beside a baseline of the same run.
    Bench(bench::Arguments),
    /// The queue service alone.
    Queue(queue_alone::Arguments),
    /// The booking service alone.
    Booking(booking_alone::Arguments),
    /// The sale of a whole hall through both.
    Sale(sale::Arguments),
    /// The bare server that the benchmark compares with; `fixtures`: JSON, what it answers.
    #[command(hide = true)]
    Baseline { address: String, fixtures: PathBuf },
}

/// Does what the command line says.
pub fn start() -> anyhow::Result<ExitCode> {
    let program = Program::try_parse()?;
    // As many threads as the services have for what is compared with them; else one: it shares the
    // processors with what it measures.
    let mut runtime = match program {
        Program::Bench(_) | Program::Baseline { .. } => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    runtime.enable_all().build()?.block_on(run(program))
}

async fn run(program: Program) -> anyhow::Result<ExitCode> {
    if let Program::Baseline { address, fixtures } = program {
        baseline::serve(&address, &fixtures).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::from_environment()?;
    let folder = folder();
    match program {
        Program::Bench(arguments) => unless_stopped(bench::run(arguments, place, &folder)).await,
        Program::Queue(arguments) => unless_stopped(queue_alone::run(arguments, place, &folder)).await,
        Program::Booking(arguments) => unless_stopped(booking_alone::run(arguments, place, &folder)).await,
        Program::Sale(arguments) => unless_stopped(sale::run(arguments, place, &folder)).await,
        Program::Baseline { .. } => Ok(ExitCode::FAILURE),
    }
}

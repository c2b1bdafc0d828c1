//! A load test of the queue service alone. `scripts/load-queue` starts it.

use std::process::ExitCode;

use clap::Parser as _;
use load::outcome::folder;
use load::queue_alone;
use load::stand::{Place, unless_stopped};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One thread: it shares two processors with what it measures, and does not need more.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::boot::end("load-queue", tested().await)
}

async fn tested() -> anyhow::Result<ExitCode> {
    let arguments = queue_alone::Arguments::try_parse()?;
    let place = Place::from_environment()?;
    unless_stopped(queue_alone::run(arguments, place, &folder())).await
}

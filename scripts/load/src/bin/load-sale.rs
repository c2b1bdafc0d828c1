//! The sale of a whole hall through both services. `scripts/load-sale` starts it.

use std::process::ExitCode;

use clap::Parser as _;
use load::outcome::folder;
use load::sale;
use load::stand::{Place, unless_stopped};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One thread: it shares two processors with what it measures, and does not need more.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::boot::end("load-sale", tested().await)
}

async fn tested() -> anyhow::Result<ExitCode> {
    let arguments = sale::Arguments::try_parse()?;
    let place = Place::from_environment()?;
    unless_stopped(sale::run(arguments, place, &folder())).await
}

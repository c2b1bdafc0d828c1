//! The sale of a whole hall through both services. `scripts/load-sale` starts it.

use std::process::ExitCode;

use clap::Parser as _;
use load::sale;
use load::stand::unless_stopped;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One thread: it shares two processors with what it measures, and does not need more.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match sale::Arguments::try_parse() {
        Ok(arguments) => unless_stopped(sale::run(arguments)).await,
        Err(error) => Err(error.into()),
    };
    shared::boot::end("load-sale", outcome)
}

//! A load test of the booking service alone. `scripts/load-booking` starts it.

use std::process::ExitCode;

use clap::Parser as _;
use load::booking_alone;
use load::stand::unless_stopped;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One thread: it shares two processors with what it measures, and does not need more.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match booking_alone::Arguments::try_parse() {
        Ok(arguments) => unless_stopped(booking_alone::run(arguments)).await,
        Err(error) => Err(error.into()),
    };
    shared::boot::end("load-booking", outcome)
}

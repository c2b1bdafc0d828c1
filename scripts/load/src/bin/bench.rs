//! The benchmark: every row of the table is a ratio to a baseline of the same run. `scripts/bench` starts it.

use std::process::ExitCode;

use clap::Parser as _;
use load::bench;
use load::stand::unless_stopped;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = bench::Arguments::parse();
    let outcome = match arguments.command {
        None => unless_stopped(bench::run(arguments)).await,
        // It ends by a signal, and well.
        Some(_) => bench::run(arguments).await,
    };
    shared::boot::end("bench", outcome)
}

//! The benchmark: every row of the table is a ratio to a baseline of the same run. `scripts/bench` starts it.

use std::process::ExitCode;

use clap::Parser as _;
use load::bench;
use load::stand::unless_stopped;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = unless_stopped(bench::run(bench::Arguments::parse())).await;
    shared::boot::end("bench", outcome)
}

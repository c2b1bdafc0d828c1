//! The benchmark and the load tests. One program, so that one is built.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    shared::boot::end("load", load::program::start())
}

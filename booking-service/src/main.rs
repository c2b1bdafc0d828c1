//! The booking service's process.

use std::process::ExitCode;

use booking_service::commands::Command;
use shared::boot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    boot::end("booking-service", run().await)
}

async fn run() -> anyhow::Result<ExitCode> {
    boot::read_dotenv()?;
    Command::parse(std::env::args().collect())?.run().await
}

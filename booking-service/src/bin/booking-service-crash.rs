//! The booking service with crash points: for tests alone, never shipped.

use std::process::ExitCode;

use booking_service::commands::Command;
use shared::boot;

#[tokio::main]
async fn main() -> ExitCode {
    boot::end("booking-service", run().await)
}

async fn run() -> anyhow::Result<ExitCode> {
    boot::read_dotenv()?;
    Command::parse(std::env::args().collect())?.run().await
}

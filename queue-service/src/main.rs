//! The binary: settings, log, and the service's life.

use std::process::ExitCode;

use clap::Parser as _;
use queue_service::{Command, Config};
use shared::{boot, clock::Clock, lifecycle::Lifecycle, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = boot::read_dotenv() {
        return boot::fail(&error);
    }
    let config = Config::parse();
    match config.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(config).await,
        Command::Healthcheck => boot::report(boot::healthcheck(&config.queue_ops_addr).await),
        Command::CheckConfig => {
            boot::report(queue_service::check(&config).await.map(|()| "the settings are good".into()))
        }
        Command::PrintOpenapi => boot::report(Ok(queue_service::openapi().to_string())),
    }
}

async fn serve(config: Config) -> ExitCode {
    if let Err(error) = telemetry::init(&config.telemetry) {
        return boot::fail(&error);
    }
    let (lifecycle, stop) = (Lifecycle::new(), config.lifecycle);
    match queue_service::start(config, Clock::system(), &lifecycle).await {
        Ok(_) => lifecycle.run(stop).await,
        Err(error) => boot::fail(&format!("{error:#}")),
    }
}

//! The queue service's process.

use std::process::ExitCode;

use clap::Parser as _;
use queue_service::{Command, Config};
use shared::{boot, clock::Clock, lifecycle::Lifecycle, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    boot::end("queue-service", run().await)
}

async fn run() -> anyhow::Result<ExitCode> {
    boot::read_dotenv()?;
    let config = Config::try_parse()?;
    match config.command.clone().unwrap_or(Command::Serve) {
        Command::Serve => serve(config).await,
        Command::Healthcheck => boot::healthcheck(&config.queue_ops_addr).await,
        Command::CheckConfig => {
            queue_service::check(&config).await?;
            boot::say("the settings are fine")
        }
        Command::PrintOpenapi => boot::say(&format!("{:#}", queue_service::openapi())),
        Command::Audit { queue } => queue_service::audit(&config, queue.as_deref()).await,
        Command::Draw(args) => boot::say(&queue_service::draw(&args)?.join("\n")),
    }
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::init(&config.telemetry).map_err(anyhow::Error::msg)?;
    let (lifecycle, stop) = (Lifecycle::new(), config.lifecycle);
    queue_service::start(config, Clock::system(), &lifecycle).await?;
    Ok(lifecycle.run(stop).await)
}

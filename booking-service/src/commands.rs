//! What the binary can do, and what it needs to know for each.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};
use secrecy::ExposeSecret as _;
use shared::clock::Clock;
use shared::lifecycle::Lifecycle;
use shared::{boot, telemetry};

use crate::config::{Config, DatabaseConfig};
use crate::db::Db;
use crate::start::{prepare, start};
use crate::{books, routes};

/// Shown below the settings.
pub const HELP: &str = "\
Commands (the first argument; `serve` when there is none):
  serve          run the service
  migrate        apply pending migrations; needs DATABASE_URL alone
  audit          read the books, print them as JSON, fail when they are wrong; needs DATABASE_URL alone
  healthcheck    ask /readyz of the service that runs here; needs BOOKING_OPS_ADDR alone
  check-config   read the settings and say whether they fit each other
  print-openapi  print the OpenAPI document";

/// What was asked for.
pub enum Command {
    Serve(Box<Config>),
    CheckConfig(Box<Config>),
    Migrate(DatabaseConfig),
    Audit(DatabaseConfig),
    Healthcheck(OpsAddress),
    PrintOpenapi,
}

/// Where the ops listener of a running service is.
#[derive(Args)]
pub struct OpsAddress {
    /// Ops listener, host:port.
    #[arg(long, env = "BOOKING_OPS_ADDR", default_value = "0.0.0.0:9081")]
    booking_ops_addr: String,
}

#[derive(Parser)]
struct Only<T: Args> {
    #[command(flatten)]
    needed: T,
}

impl Command {
    /// Reads the arguments and the environment; the refusal is what to print.
    pub fn parse(mut arguments: Vec<String>) -> Result<Self, clap::Error> {
        let named = arguments.get(1).filter(|argument| !argument.starts_with('-')).cloned();
        if named.is_some() {
            arguments.remove(1);
        }
        match named.as_deref() {
            None | Some("serve") => Ok(Self::Serve(Box::new(Config::try_parse_from(arguments)?))),
            Some("check-config") => Ok(Self::CheckConfig(Box::new(Config::try_parse_from(arguments)?))),
            Some("migrate") => Ok(Self::Migrate(only(arguments)?)),
            Some("audit") => Ok(Self::Audit(only(arguments)?)),
            Some("healthcheck") => Ok(Self::Healthcheck(only(arguments)?)),
            Some("print-openapi") => Ok(Self::PrintOpenapi),
            Some(other) => {
                let message = format!("there is no command `{other}`; see --help");
                Err(Config::command().error(clap::error::ErrorKind::InvalidSubcommand, message))
            }
        }
    }

    /// Does it.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve(config) => serve(*config).await,
            Self::CheckConfig(config) => {
                config.check().map_err(anyhow::Error::msg)?;
                boot::say("the settings are fine")
            }
            Self::Migrate(database) => {
                prepare(&database, true).await?;
                boot::say("the database is up to date")
            }
            Self::Audit(database) => audit(&database).await,
            Self::Healthcheck(ops) => boot::healthcheck(&ops.booking_ops_addr).await,
            Self::PrintOpenapi => {
                let (_, _, document) = routes::all();
                boot::say(&serde_json::to_string_pretty(&document.to_json())?)
            }
        }
    }
}

fn only<T: Args>(arguments: Vec<String>) -> Result<T, clap::Error> {
    let matches = Only::<T>::command().try_get_matches_from(arguments)?;
    Only::<T>::from_arg_matches(&matches).map(|only| only.needed)
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::init(&config.telemetry).map_err(anyhow::Error::msg)?;
    let lifecycle = Lifecycle::new();
    let stop = config.lifecycle;
    start(config, Clock::system(), &lifecycle).await?;
    Ok(lifecycle.run(stop).await)
}

async fn audit(database: &DatabaseConfig) -> anyhow::Result<ExitCode> {
    let url = database.database_url.expose_secret();
    let outcome = books::audit(&Db::wholesale(url, 2, Clock::system())?).await?;
    boot::say(&serde_json::to_string_pretty(&outcome)?)?;
    Ok(if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

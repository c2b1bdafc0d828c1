//! Settings of the process, from flags, environment and `.env`, and the relations between them.

use std::path::PathBuf;

use shared::lifecycle::LifecycleConfig;
use shared::limits::LimitsConfig;
use shared::secrets::SecretsConfig;
use shared::serve::ServeConfig;
use shared::telemetry::TelemetryConfig;
use shared::tokens::user::UserTokenConfig;

/// A waiting room: lines in front of sales, admission by rate and cap, signed entry tokens.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "queue-service", version)]
pub struct Config {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Public listener, host:port.
    #[arg(long, env = "QUEUE_ADDR", default_value = "0.0.0.0:8080")]
    pub queue_addr: String,
    /// Ops listener, host:port; must not be reachable from outside.
    #[arg(long, env = "QUEUE_OPS_ADDR", default_value = "0.0.0.0:9080")]
    pub queue_ops_addr: String,
    /// Where Redis is: redis://host:port/, redis+cluster://host:port,host:port,…/ or
    /// redis+sentinel://host:port,host:port,…/master-name; rediss… for TLS.
    #[arg(long, env = "REDIS_URL", default_value = "redis://127.0.0.1:6379/", hide_env_values = true)]
    pub redis_url: String,
    /// Put in front of every key in Redis; without { and }.
    #[arg(long, env = "REDIS_KEY_PREFIX", default_value = "")]
    pub redis_key_prefix: String,
    /// Multiplexed connections to Redis.
    #[arg(long, env = "REDIS_LANES", default_value_t = 3)]
    pub redis_lanes: usize,
    /// Directory or file of Ed25519 private keys (PKCS#8 PEM). The first by file name signs.
    #[arg(long, env = "ENTRY_SIGNING_KEYS")]
    pub entry_signing_keys: Option<PathBuf>,
    /// File with one base64 secret of at least 32 bytes a line. The first signs.
    #[arg(long, env = "QUEUE_TOKEN_KEYS")]
    pub queue_token_keys: Option<PathBuf>,
    /// `iss` of the entry tokens.
    #[arg(long, env = "ENTRY_ISSUER", default_value = "queue-service")]
    pub entry_issuer: String,
    #[command(flatten)]
    pub users: UserTokenConfig,
    #[command(flatten)]
    pub secrets: SecretsConfig,
    #[command(flatten)]
    pub limits: LimitsConfig,
    #[command(flatten)]
    pub serve: ServeConfig,
    #[command(flatten)]
    pub lifecycle: LifecycleConfig,
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

/// What the binary is asked to do; serving is what it does unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Serve until a signal (the default).
    Serve,
    /// Ask the ops listener of this machine whether the service is ready; exit 0 or 1.
    Healthcheck,
    /// Check the settings and say what is wrong.
    CheckConfig,
    /// Print the OpenAPI document.
    PrintOpenapi,
}

impl Config {
    /// Refuses settings that contradict each other, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.queue_addr == self.queue_ops_addr && !self.queue_addr.ends_with(":0") {
            return Err(
                "QUEUE_ADDR and QUEUE_OPS_ADDR must differ: the ops listener must not be public".into()
            );
        }
        if self.redis_key_prefix.contains(['{', '}']) {
            return Err("REDIS_KEY_PREFIX must not contain { or }: they choose the slot in a cluster".into());
        }
        self.secrets.check(self.users.dev_identity_key.is_some())
    }
}

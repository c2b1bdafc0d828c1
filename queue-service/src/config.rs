//! Settings of the process, from flags, environment and `.env`, and the relations between them.

use std::path::PathBuf;
use std::time::Duration;

use crate::audit::DrawArgs;
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
    /// After every restart or failover of Redis let nobody in until each entry token that may exist has ended,
    /// also when no replica remembers anything that Redis has forgotten.
    #[arg(long, env = "HOLD_AFTER_REDIS_RESTART", default_value_t = false, action = clap::ArgAction::Set)]
    pub hold_after_redis_restart: bool,
    /// Multiplexed connections to Redis.
    #[arg(long, env = "REDIS_LANES", default_value_t = 3)]
    pub redis_lanes: usize,
    /// Directory or file of Ed25519 private keys (PKCS#8 PEM). The last by file name that has
    /// been published long enough signs.
    #[arg(long, env = "ENTRY_SIGNING_KEYS")]
    pub entry_signing_keys: Option<PathBuf>,
    /// File with one base64 secret of at least 32 bytes a line. The first that has been
    /// known long enough signs.
    #[arg(long, env = "QUEUE_TOKEN_KEYS")]
    pub queue_token_keys: Option<PathBuf>,
    #[command(flatten)]
    pub rotation: RotationConfig,
    /// `iss` of the entry tokens.
    #[arg(long, env = "ENTRY_ISSUER", default_value = "queue-service")]
    pub entry_issuer: String,
    /// Claim of the user token that names the lane its user may stand in.
    #[arg(long, env = "USER_LANE_CLAIM", default_value = "lane")]
    pub user_lane_claim: String,
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

/// How keys change while the service runs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RotationConfig {
    /// Seconds between two looks at the files of keys.
    #[arg(long, env = "KEY_RELOAD_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub key_reload_seconds: u32,
    /// Seconds that verifiers may go on with an old set of public keys: a new key signs that much
    /// later than every replica has had it.
    #[arg(long, env = "ENTRY_KEY_SETTLE_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub entry_key_settle_seconds: u32,
}

impl RotationConfig {
    /// Between two rounds.
    pub fn reload(self) -> Duration {
        Duration::from_secs(self.key_reload_seconds.into())
    }

    /// From when a key is first known to when it may sign: within two rounds every replica knows it.
    pub fn settle(self) -> Duration {
        Duration::from_secs(self.entry_key_settle_seconds.into()) + 2 * self.reload()
    }

    /// For how long a key set may be cached, in seconds.
    pub fn max_age_seconds(self) -> u64 {
        self.entry_key_settle_seconds.min(60).into()
    }

    /// For how long a key is kept when no replica says any more that it has its file.
    pub fn keep(self) -> Duration {
        Duration::from_secs(60) + 3 * self.reload()
    }
}

/// What the binary is asked to do; serving is what it does unasked.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Serve until a signal (the default).
    Serve,
    /// Ask the ops listener of this machine whether the service is ready; exit 0 or 1.
    Healthcheck,
    /// Check the settings and say what is wrong.
    CheckConfig,
    /// Print the OpenAPI document.
    PrintOpenapi,
    /// Check the admission logs: nobody twice, in order, never above rate and cap; exit 0 or 1.
    Audit {
        /// Only this queue.
        #[arg(long)]
        queue: Option<String>,
    },
    /// Recompute the order of a lottery from what is published of it.
    Draw(DrawArgs),
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

//! Settings, from the environment or flags, and the relations between them that must hold.

use clap::Parser;
use secrecy::{ExposeSecret as _, SecretString};
use shared::lifecycle::LifecycleConfig;
use shared::limits::LimitsConfig;
use shared::secrets::SecretsConfig;
use shared::serve::ServeConfig;
use shared::telemetry::TelemetryConfig;
use shared::tokens::user::UserTokenConfig;

use crate::admitted::{Gate, Gated};
use crate::points::Amount;

/// When the entry token that made a hold is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReleaseOn {
    /// With the payment.
    Payment,
    /// With the hold; payment then takes the user token.
    Hold,
}

/// Where the data is.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseConfig {
    /// Postgres: postgres://user:password@host:port/database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// Connections of this process to Postgres.
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_max_connections: u32,
}

/// What is sold to whom.
#[derive(Clone, Debug, clap::Args)]
pub struct SaleConfig {
    /// Rows that need an entry token: of concerts,dates,seats,reserve,pay; empty = none.
    #[arg(long, env = "GATED", default_value = "dates,seats,reserve,pay")]
    pub gated: Gated,
    /// When the entry token is spent.
    #[arg(long, env = "RELEASE_ON", value_enum, default_value = "payment")]
    pub release_on: ReleaseOn,
    /// Seconds that seats are held.
    #[arg(long, env = "HOLD_TTL_SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub hold_ttl_seconds: u32,
    /// Seconds by which a user may extend a hold, once; 0 = not at all.
    #[arg(long, env = "HOLD_EXTENSION_SECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub hold_extension_seconds: u32,
    /// The most seats of one reservation.
    #[arg(long, env = "MAX_SEATS_PER_RESERVATION", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_seats_per_reservation: u32,
    /// The most points of one charge.
    #[arg(long, env = "MAX_CHARGE", default_value = "100000000")]
    pub max_charge: Amount,
    /// The most points of one use.
    #[arg(long, env = "MAX_USE", default_value_t = Amount::MAX)]
    pub max_use: Amount,
    /// The most points that charges may bring an account to.
    #[arg(long, env = "MAX_BALANCE", default_value_t = Amount::MAX)]
    pub max_balance: Amount,
}

/// Holds seats, takes points for them, and tells the queue service who is done.
///
/// Every setting is an environment variable too (named in brackets); the environment wins over
/// `.env` in the working directory.
#[derive(Clone, Debug, Parser)]
#[command(name = "booking-service", version, after_help = crate::commands::HELP)]
pub struct Config {
    /// Public listener, host:port.
    #[arg(long, env = "BOOKING_ADDR", default_value = "0.0.0.0:8081")]
    pub booking_addr: String,
    /// Ops listener, host:port; not to be reached from outside.
    #[arg(long, env = "BOOKING_OPS_ADDR", default_value = "0.0.0.0:9081")]
    pub booking_ops_addr: String,
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Apply pending migrations at start: true or false.
    #[arg(long, env = "MIGRATE", default_value_t = true, action = clap::ArgAction::Set)]
    pub migrate: bool,
    /// JWK set of the queue service: http(s) URL or file.
    #[arg(long, env = "ENTRY_JWKS_URL")]
    pub entry_jwks_url: String,
    /// Expected `iss` of entry tokens.
    #[arg(long, env = "ENTRY_ISSUER", default_value = "queue-service")]
    pub entry_issuer: String,
    /// Ops listener of the queue service: completions, stock and pressure go there, revocations come
    /// from there.
    #[arg(long, env = "QUEUE_OPS_URL")]
    pub queue_ops_url: String,
    /// Public address of the queue service: where people are sent to queue.
    #[arg(long, env = "QUEUE_PUBLIC_URL")]
    pub queue_public_url: String,
    #[command(flatten)]
    pub sale: SaleConfig,
    #[command(flatten)]
    pub users: UserTokenConfig,
    #[command(flatten)]
    pub secrets: SecretsConfig,
    #[command(flatten)]
    pub limits: LimitsConfig,
    #[command(flatten)]
    pub serve: ServeConfig,
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
    #[command(flatten)]
    pub lifecycle: LifecycleConfig,
}

impl Config {
    /// Refuses settings that conflict, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        self.secrets.check(self.users.dev_identity_key.is_some())?;
        if self.users.user_jwks.is_none() && self.users.dev_identity_key.is_none() {
            return Err("neither USER_JWKS nor DEV_IDENTITY_KEY is set: no user could be known".to_owned());
        }
        if self.sale.release_on == ReleaseOn::Hold && self.sale.gated.closes(Gate::Pay) {
            return Err(
                "RELEASE_ON=hold spends the entry token before the payment: take `pay` out of GATED, \
                        or set RELEASE_ON=payment"
                    .to_owned(),
            );
        }
        for (name, url) in
            [("QUEUE_OPS_URL", &self.queue_ops_url), ("QUEUE_PUBLIC_URL", &self.queue_public_url)]
        {
            check_url(name, url)?;
        }
        if self.entry_jwks_url.is_empty() {
            return Err("ENTRY_JWKS_URL is empty".to_owned());
        }
        let database = self.database.database_url.expose_secret();
        if !["postgres://", "postgresql://"].iter().any(|scheme| database.starts_with(scheme)) {
            return Err("DATABASE_URL must begin with postgres://".to_owned());
        }
        for (name, value) in [
            ("REQUEST_TIMEOUT_SECONDS", self.serve.request_timeout_seconds),
            ("MAX_CONNECTIONS", self.serve.max_connections as u64),
            ("MAX_REQUESTS", self.serve.max_requests as u64),
        ] {
            if value == 0 {
                return Err(format!("{name} is 0: nothing could be answered"));
            }
        }
        Ok(())
    }
}

fn check_url(name: &str, url: &str) -> Result<(), String> {
    match reqwest::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => Ok(()),
        _ => Err(format!("{name} must be an http(s) URL, for example http://127.0.0.1:8080")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: [&str; 7] = [
        "--database-url=postgres://x/y",
        "--entry-jwks-url=http://q/jwks.json",
        "--queue-ops-url=http://q:9080",
        "--queue-public-url=http://q",
        "--user-jwks=users.json",
        "--admin-token=0123456789abcdef",
        "--service-token=0123456789abcdef",
    ];

    /// What is needed, with `flags` instead of those of the same name.
    fn check(flags: &[&str]) -> Result<(), String> {
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
        let given: Vec<String> = flags.iter().map(|flag| name(flag)).collect();
        let rest = NEEDED.iter().filter(|flag| !given.contains(&name(flag)));
        Config::try_parse_from(["booking-service"].iter().chain(flags).chain(rest)).unwrap().check()
    }

    #[test]
    fn settings_that_conflict_are_refused_by_name() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["--gated="]), Ok(()));
        assert_eq!(check(&["--gated=reserve", "--release-on=hold"]), Ok(()));
        for (bad, named) in [
            ("--release-on=hold", "RELEASE_ON"),
            ("--admin-token=dev-admin", "ADMIN_TOKEN"),
            ("--queue-ops-url=nonsense", "QUEUE_OPS_URL"),
            ("--database-url=mysql://x", "DATABASE_URL"),
            ("--max-requests=0", "MAX_REQUESTS"),
        ] {
            let refusal = check(&[bad]).unwrap_err();
            assert!(refusal.contains(named), "{bad}: {refusal}");
        }
    }
}

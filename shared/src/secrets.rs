//! The secrets of the ops listener: `ADMIN_TOKEN` opens `/admin`, `SERVICE_TOKEN` opens `/internal`.

use axum::http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::extract::bearer;
use crate::problem::{Problem, codes};

const MIN_LENGTH: usize = 16;
const DEVELOPMENT_PREFIX: &str = "dev-";

/// Settings of the ops listener's secrets.
#[derive(Clone, Debug, clap::Args)]
pub struct SecretsConfig {
    /// Secret that opens /admin on the ops listener.
    #[arg(long, env = "ADMIN_TOKEN", default_value = "", hide_default_value = true, hide_env_values = true)]
    pub admin_token: SecretString,
    /// Secret that opens /internal on the ops listener; the two services share it.
    #[arg(
        long,
        env = "SERVICE_TOKEN",
        default_value = "",
        hide_default_value = true,
        hide_env_values = true
    )]
    pub service_token: SecretString,
}

impl SecretsConfig {
    /// Refuses empty secrets always, and weak ones outside development.
    pub fn check(&self, development: bool) -> Result<(), String> {
        for (name, secret) in [("ADMIN_TOKEN", &self.admin_token), ("SERVICE_TOKEN", &self.service_token)] {
            let secret = secret.expose_secret();
            if secret.is_empty() {
                return Err(format!("{name} is empty"));
            }
            if !development && (secret.len() < MIN_LENGTH || secret.starts_with(DEVELOPMENT_PREFIX)) {
                return Err(format!(
                    "{name} must have at least {MIN_LENGTH} characters and not begin with \
                     `{DEVELOPMENT_PREFIX}` (only a DEV_IDENTITY_KEY allows weak secrets)"
                ));
            }
        }
        Ok(())
    }
}

/// Whom a path of the ops listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever has `ADMIN_TOKEN`.
    Operator,
    /// Whoever has `SERVICE_TOKEN`.
    Service,
}

impl SecretsConfig {
    /// Lets a request of this role pass; compares in constant time. The other role's secret is a good
    /// credential that is not for this.
    pub fn require(&self, role: Role, headers: &HeaderMap) -> Result<(), Problem> {
        let given = bearer(headers)?;
        let (wanted, other) = match role {
            Role::Operator => (&self.admin_token, &self.service_token),
            Role::Service => (&self.service_token, &self.admin_token),
        };
        if is_same(given, wanted) {
            Ok(())
        } else if is_same(given, other) {
            Err(Problem::new(&codes::FORBIDDEN, "The bearer secret is not for this path."))
        } else {
            Err(Problem::new(&codes::INVALID_TOKEN, "The bearer secret is not one that this listener takes."))
        }
    }
}

fn is_same(given: &str, secret: &SecretString) -> bool {
    let secret = secret.expose_secret().as_bytes();
    aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), secret).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(admin: &str) -> SecretsConfig {
        SecretsConfig { admin_token: admin.into(), service_token: "0123456789abcdef".into() }
    }

    #[test]
    fn weak_secrets_start_only_in_development() {
        assert!(config("").check(true).is_err());
        assert!(config("dev-admin").check(true).is_ok());
        assert!(config("dev-admin").check(false).is_err());
        assert!(config("dev-admin-and-a-long-tail").check(false).is_err());
        assert!(config("sixteen-letters!").check(false).is_ok());
    }
}

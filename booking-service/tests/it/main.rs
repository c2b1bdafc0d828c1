//! The binary as an operator meets it: what `--help` says and how bad settings are refused; what the
//! queue service is told (`reports`, `relay`); holds that meet a transaction half-way (`holds`); how an
//! old database becomes a new one (`migrations`); what an audit finds (`books`). What the service does
//! over HTTP is tested in `scripts/acceptance`.

#[cfg(test)]
mod books;
mod harness;
mod holds;
#[cfg(test)]
mod migrations;
mod relay;
mod reports;

use std::process::{Command, Output};

/// Every variable of the contract that concerns this service.
const VARIABLES: [&str; 28] = [
    "BOOKING_ADDR",
    "BOOKING_OPS_ADDR",
    "DATABASE_URL",
    "DATABASE_MAX_CONNECTIONS",
    "ENTRY_JWKS_URL",
    "ENTRY_ISSUER",
    "QUEUE_OPS_URL",
    "QUEUE_PUBLIC_URL",
    "USER_JWKS",
    "USER_ISSUER",
    "USER_AUDIENCE",
    "DEV_IDENTITY_KEY",
    "ADMIN_TOKEN",
    "SERVICE_TOKEN",
    "GATED",
    "RELEASE_ON",
    "HOLD_TTL_SECONDS",
    "HOLD_EXTENSION_SECONDS",
    "MAX_SEATS_PER_RESERVATION",
    "MAX_CHARGE",
    "MIGRATE",
    "RATE_LIMIT_PER_ADDRESS",
    "RATE_LIMIT_PER_USER",
    "REQUEST_TIMEOUT_SECONDS",
    "MAX_CONNECTIONS",
    "LOG_FORMAT",
    "LOG_FILTER",
    "SHUTDOWN_GRACE_SECONDS",
];

/// Settings that are fine, as far as they can be judged without other services.
const FINE: [(&str, &str); 7] = [
    ("DATABASE_URL", "postgres://postgres@127.0.0.1:1/booking"),
    ("ENTRY_JWKS_URL", "http://127.0.0.1:1/jwks.json"),
    ("QUEUE_OPS_URL", "http://127.0.0.1:1"),
    ("QUEUE_PUBLIC_URL", "http://127.0.0.1:1"),
    ("USER_JWKS", "users.json"),
    ("ADMIN_TOKEN", "0123456789abcdef"),
    ("SERVICE_TOKEN", "fedcba9876543210"),
];

/// Runs the binary with these settings and nothing else around it.
fn run(arguments: &[&str], settings: &[(&str, &str)]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_booking-service"));
    command.args(arguments).env_clear().envs(settings.iter().copied());
    command.current_dir(std::env::temp_dir()).output()
}

/// What the binary says to these settings: one line, and a failing exit code.
fn refusal(settings: &[(&str, &str)]) -> std::io::Result<String> {
    let output = run(&["check-config"], settings)?;
    assert!(!output.status.success(), "{settings:?} were taken");
    assert!(output.stdout.is_empty());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told.trim_end().lines().count(), 1, "{told}");
    Ok(told)
}

#[test]
fn help_names_every_variable() {
    let output = run(&["--help"], &[]).unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for variable in VARIABLES {
        assert!(
            ['=', ']'].iter().any(|end| help.contains(&format!("[env: {variable}{end}"))),
            "{variable} is not in --help"
        );
    }
    for command in ["serve", "migrate", "audit", "healthcheck", "check-config", "print-openapi"] {
        assert!(help.contains(command), "{command} is not in --help");
    }
}

#[test]
fn settings_that_fit_are_said_to_be_fine() {
    let output = run(&["check-config"], &FINE).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn settings_that_do_not_fit_are_refused_in_one_line_that_names_them() {
    for (name, value) in [
        ("RELEASE_ON", "hold"),
        ("RELEASE_ON", "never"),
        ("GATED", "dates,door"),
        ("HOLD_TTL_SECONDS", "0"),
        ("MAX_SEATS_PER_RESERVATION", "0"),
        ("MAX_CHARGE", "0"),
        ("MAX_USE", "0"),
        ("MAX_BALANCE", "9223372036854775808"),
        ("MIGRATE", "perhaps"),
        ("ADMIN_TOKEN", "dev-admin"),
        ("ADMIN_TOKEN", ""),
        ("SERVICE_TOKEN", ""),
        ("QUEUE_PUBLIC_URL", "queue"),
        ("DATABASE_URL", "redis://127.0.0.1"),
    ] {
        let mut settings: Vec<_> = FINE.into_iter().filter(|(other, _)| *other != name).collect();
        settings.push((name, value));
        let told = refusal(&settings).unwrap();
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        assert!(told.contains(name) || told.contains(&flag), "{name}: {told}");
    }
}

#[test]
fn settings_that_are_missing_are_named() {
    let told = refusal(&[]).unwrap();
    for flag in ["--database-url", "--entry-jwks-url", "--queue-ops-url", "--queue-public-url"] {
        assert!(told.contains(flag), "{told}");
    }
}

#[test]
fn the_document_describes_every_route_and_is_openapi_3_1() {
    let output = run(&["print-openapi"], &[]).unwrap();
    assert!(output.status.success());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for path in ["/v1/reservations", "/v1/payments/{id}/refund", "/v1/points/history", "/admin/v1/audit"] {
        assert!(document["paths"][path].is_object(), "{path} is not described");
    }
}

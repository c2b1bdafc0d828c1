//! The binary from outside: its help, its refusals to start. What it serves is tested over HTTP by
//! `scripts/acceptance`.

use std::process::{Command, Output};

/// Runs the binary with just these variables.
#[expect(clippy::unwrap_used, reason = "a test")]
fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_queue-service"));
    command.args(args).env_clear().envs(variables.iter().copied()).current_dir(std::env::temp_dir());
    command.output().unwrap()
}

#[test]
fn help_lists_every_variable_of_the_contract() {
    let help = String::from_utf8(run(&["--help"], &[]).stdout).unwrap();
    for variable in [
        "QUEUE_ADDR",
        "QUEUE_OPS_ADDR",
        "REDIS_URL",
        "ENTRY_SIGNING_KEYS",
        "QUEUE_TOKEN_KEYS",
        "USER_JWKS",
        "USER_ISSUER",
        "USER_AUDIENCE",
        "DEV_IDENTITY_KEY",
        "ADMIN_TOKEN",
        "SERVICE_TOKEN",
        "RATE_LIMIT_PER_ADDRESS",
        "RATE_LIMIT_PER_USER",
    ] {
        assert!(help.contains(&format!("env: {variable}")), "{variable} is not in --help");
    }
}

#[test]
fn weak_secrets_missing_keys_and_an_unknown_user_are_refused_in_one_sentence() {
    let good = [
        ("ENTRY_SIGNING_KEYS", "/nowhere"),
        ("QUEUE_TOKEN_KEYS", "/nowhere"),
        ("ADMIN_TOKEN", "an-admin-secret-of-length"),
        ("SERVICE_TOKEN", "a-service-secret-of-length"),
    ];
    for (variable, value, sentence) in [
        ("ADMIN_TOKEN", "", "ADMIN_TOKEN is empty"),
        ("ADMIN_TOKEN", "dev-admin", "ADMIN_TOKEN must have at least 16 characters"),
        ("REDIS_URL", "nonsense", "REDIS_URL cannot be used"),
        ("REDIS_URL", "redis+sentinel://a,b", "REDIS_URL cannot be used: after the sentinels"),
        ("REDIS_KEY_PREFIX", "x{y}", "REDIS_KEY_PREFIX must not contain { or }"),
        ("ENTRY_SIGNING_KEYS", "/nowhere", "ENTRY_SIGNING_KEYS: /nowhere"),
    ] {
        let mut variables = good.to_vec();
        variables.push((variable, value));
        let output = run(&["check-config"], &variables);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{variable}={value}");
        assert!(stderr.contains(sentence), "{variable}={value}: {stderr}");
        assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
    }
}

#[test]
fn the_document_can_be_printed_without_settings() {
    let output = run(&["print-openapi"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
}

//! Variables: what the contract names, what the programs know, what scripts and deployments set.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use acceptance::{binary, repository};

const BOTH: [&str; 8] = [
    "USER_JWKS",
    "USER_ISSUER",
    "USER_AUDIENCE",
    "DEV_IDENTITY_KEY",
    "ADMIN_TOKEN",
    "SERVICE_TOKEN",
    "RATE_LIMIT_PER_ADDRESS",
    "RATE_LIMIT_PER_USER",
];
const QUEUE: [&str; 5] =
    ["QUEUE_ADDR", "QUEUE_OPS_ADDR", "REDIS_URL", "ENTRY_SIGNING_KEYS", "QUEUE_TOKEN_KEYS"];
const BOOKING: [&str; 12] = [
    "BOOKING_ADDR",
    "BOOKING_OPS_ADDR",
    "DATABASE_URL",
    "ENTRY_JWKS_URL",
    "QUEUE_OPS_URL",
    "QUEUE_PUBLIC_URL",
    "GATED",
    "RELEASE_ON",
    "HOLD_TTL_SECONDS",
    "MAX_SEATS_PER_RESERVATION",
    "MAX_CHARGE",
    "MIGRATE",
];
/// Names with an underscore that belong to other programs.
const FOREIGN: [&str; 13] = [
    "BASH_",
    "CARGO_",
    "DEBIAN_FRONTEND",
    "GITHUB_",
    "LOAD_",
    "NET_BIND_SERVICE",
    "NO_PROXY",
    "PIP_",
    "POSTGRES_",
    "RUST_",
    "SSL_CERT_",
    "TEST_",
    "XDG_",
];
const WITHOUT_UNDERSCORE: [&str; 2] = ["GATED", "MIGRATE"];

fn help(program: &str) -> String {
    let output = Command::new(binary(program)).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{program} --help: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The variables that `--help` lists.
fn variables(program: &str) -> BTreeSet<String> {
    let help = help(program);
    let parts = help.split("[env: ").skip(1);
    parts.map(|part| part.split(|c: char| !is_word(c)).next().unwrap().to_owned()).collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn help_lists_every_variable_of_the_contract() {
    for (program, own) in [("queue-service", &QUEUE[..]), ("booking-service", &BOOKING[..])] {
        let known = variables(program);
        for name in own.iter().chain(&BOTH) {
            assert!(known.contains(*name), "{program} --help does not list {name}: {known:?}");
        }
    }
}

#[test]
fn help_names_the_commands() {
    assert!(help("booking-service").contains("migrate"), "booking-service migrate");
    for program in ["queue-service", "booking-service"] {
        assert!(help(program).contains("healthcheck"), "{program} healthcheck");
    }
}

/// The stores are separate: neither program can be told of the other's. Requirement 49.
#[test]
fn each_service_knows_its_own_store_alone() {
    assert!(!variables("queue-service").contains("DATABASE_URL"));
    assert!(!variables("booking-service").contains("REDIS_URL"));
}

#[test]
fn secrets_given_by_environment_are_not_shown_by_help() {
    for program in ["queue-service", "booking-service"] {
        let mut command = Command::new(binary(program));
        let command = command.arg("--help").env_clear().env("ADMIN_TOKEN", "a-very-secret-word");
        let output = command.env("SERVICE_TOKEN", "a-very-secret-word").output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("a-very-secret-word"), "{program}");
    }
}

#[test]
fn deployments_and_scripts_set_only_variables_that_a_program_knows() {
    let mut known = variables("queue-service");
    known.extend(variables("booking-service"));
    let mut unknown = Vec::new();
    let mut deployed = BTreeSet::new();
    for file in files(&repository().join("deploy")).into_iter().chain(files(&repository().join("scripts"))) {
        if file.extension().is_some_and(|extension| extension == "rs") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let is_prose = file.extension().is_some_and(|extension| extension == "md");
        let settings: Vec<_> =
            text.lines().map(|line| if is_prose { line } else { uncommented(line) }).collect();
        for name in settings.iter().flat_map(|line| names(line)) {
            if known.contains(name) {
                deployed.insert(name.to_owned());
            } else if !FOREIGN.iter().any(|foreign| name.starts_with(foreign)) {
                unknown.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "no program knows {unknown:#?}");
    for name in QUEUE.iter().chain(&BOOKING[..6]).chain(&["ADMIN_TOKEN", "SERVICE_TOKEN"]) {
        assert!(deployed.contains(*name), "{name} is set nowhere");
    }
}

/// Without what follows a `#` that begins a comment.
fn uncommented(line: &str) -> &str {
    if line.trim_start().starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() }
}

/// Words that look like variables.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c)).filter(|word| {
        let upper = word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let begins = word.starts_with(|c: char| c.is_ascii_uppercase());
        let inside = word.trim_matches('_').contains('_');
        upper && begins && (inside || WITHOUT_UNDERSCORE.contains(word))
    })
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

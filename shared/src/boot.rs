//! The first and last words of a binary: `.env`, one-sentence failures, the health check.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// Reads `.env` of the working directory; what the environment sets already wins.
pub fn read_dotenv() -> Result<(), String> {
    match dotenvy::from_filename(".env") {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(error) => Err(format!(".env cannot be read: {error}")),
    }
}

/// Says on stderr why the process ends, and fails.
pub fn fail(reason: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to tell when stderr is gone.
    drop(writeln!(std::io::stderr(), "error: {reason}"));
    ExitCode::FAILURE
}

/// Prints what a command has to say, or fails.
pub fn report(outcome: anyhow::Result<String>) -> ExitCode {
    match outcome {
        Ok(text) => match writeln!(std::io::stdout(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// Asks the ops listener at `address` of this machine whether the service is ready.
pub async fn healthcheck(address: &str) -> anyhow::Result<String> {
    let port = address.rsplit(':').next().unwrap_or_default();
    let host = match address.strip_suffix(&format!(":{port}")) {
        None | Some("" | "0.0.0.0" | "[::]") => "127.0.0.1",
        Some(host) => host,
    };
    let http = reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?;
    let answer = http.get(format!("http://{host}:{port}/readyz")).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if status.is_success() { Ok("ready".to_owned()) } else { anyhow::bail!("{status}: {text}") }
}

//! The first and last words of a binary: `.env`, refusals in one line, the health check.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;

/// Reads `.env` of the working directory; what the environment sets already wins.
pub fn read_dotenv() -> anyhow::Result<()> {
    match dotenvy::from_filename(".env") {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(error) => anyhow::bail!(".env cannot be read: {error}"),
    }
}

/// Ends the process: with the code, or with the error as one line on stderr.
pub fn end(program: &str, outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| match error.downcast_ref::<clap::Error>() {
        Some(refused) => refuse(program, refused),
        None => complain(program, &format!("{error:#}"), ExitCode::FAILURE),
    })
}

/// A refusal of the arguments in one line; help and version as they are.
fn refuse(program: &str, error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return say(text.trim_end()).unwrap_or(ExitCode::FAILURE);
    }
    let told = text.split("\n\n").next().unwrap_or(&text);
    let line = told.split_whitespace().collect::<Vec<_>>().join(" ");
    complain(program, line.trim_start_matches("error: "), ExitCode::from(2))
}

fn complain(program: &str, text: &str, code: ExitCode) -> ExitCode {
    // Nobody is left to tell when stderr is gone.
    drop(writeln!(std::io::stderr(), "{program}: {text}"));
    code
}

/// Prints what a command has to say.
pub fn say(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the ops listener on this machine whether the service is ready, whatever address it is
/// bound to.
pub async fn healthcheck(address: &str) -> anyhow::Result<ExitCode> {
    let address = match address.parse::<std::net::SocketAddr>() {
        Ok(bound) if bound.ip().is_unspecified() => format!("localhost:{}", bound.port()),
        _ => address.to_owned(),
    };
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build()?;
    let answer = http.get(format!("http://{address}/readyz")).send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    anyhow::ensure!(status.is_success(), "not ready: {body}");
    say(&body)
}

//! The booking service's process.

use std::io::Write as _;
use std::process::ExitCode;

use booking_service::commands::{Command, refusal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        return fail(&format!("booking-service: .env cannot be read: {error}"), ExitCode::FAILURE);
    }
    let command = match Command::parse(std::env::args().collect()) {
        Ok(command) => command,
        Err(error) => {
            let (text, code) = refusal(&error);
            return fail(&text, code);
        }
    };
    match command.run().await {
        Ok(code) => code,
        Err(error) => fail(&format!("booking-service: {error:#}"), ExitCode::FAILURE),
    }
}

/// Says why on the terminal; nobody is left to tell when that fails.
fn fail(text: &str, code: ExitCode) -> ExitCode {
    drop(if code == ExitCode::SUCCESS {
        writeln!(std::io::stdout(), "{text}")
    } else {
        writeln!(std::io::stderr(), "{text}")
    });
    code
}

//! The bare server of a group: a process of its own, with answers that were taken from the real service.

use std::net::SocketAddr;

use anyhow::ensure;

use super::compare::Side;
use crate::baseline::Fixture;
use crate::http::{Client, Failure, get};
use crate::stand::{Place, Program, free_address};

/// What a server adds by itself.
const OF_THE_SERVER: [&str; 4] = ["content-length", "transfer-encoding", "date", "connection"];

/// Running; ends with this.
pub struct Bare {
    program: Program,
    address: SocketAddr,
}

impl Bare {
    /// Serves these.
    pub async fn start(place: &Place, fixtures: &[Fixture]) -> anyhow::Result<Self> {
        let address = free_address()?;
        let file = place.folder.join(format!("fixtures-{}.json", address.port()));
        std::fs::write(&file, serde_json::to_vec(fixtures)?)?;
        let path = std::env::current_exe()?;
        let arguments = ["baseline".to_owned(), address.to_string(), file.display().to_string()];
        let mut program =
            Program::start(path, &arguments.each_ref().map(String::as_str), Vec::new(), &place.folder)?;
        let mut client = Client::new(address);
        for _ in 0..500 {
            // Any answer will do: it listens.
            if !matches!(client.send(&get("/", None)).await, Err(Failure::NotConnected)) {
                return Ok(Self { program, address });
            }
            program.check()?;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        anyhow::bail!("the bare server does not listen")
    }

    pub fn side(&self) -> anyhow::Result<Side> {
        Ok(Side { to: self.address, id: self.program.id()? })
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.program.stop().await
    }
}

/// What the service at `from` answers to `request`, as the answer of `path`.
pub async fn taken(from: SocketAddr, request: &[u8], path: &str) -> anyhow::Result<Fixture> {
    let mut client = Client::new(from);
    let answer = client.send(request).await?;
    ensure!(answer.status < 300, "{path} answers {} {}", answer.status, answer.code());
    let head = String::from_utf8(answer.head.to_vec())?;
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Ok(Fixture {
        method: if request.starts_with(b"POST") { "POST" } else { "GET" }.to_owned(),
        path: path.to_owned(),
        status: answer.status,
        headers: headers.filter(|(name, _)| !OF_THE_SERVER.contains(&name.as_str())).collect(),
        body: String::from_utf8(answer.body.to_vec())?,
        verified_by: None,
    })
}

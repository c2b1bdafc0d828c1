//! A client's connection: HTTP/1.1 in its plainest form, which can hang up where a real client's could.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(12);

/// What became of a request.
pub enum Sent {
    /// Nobody was there to take it.
    Never,
    /// It went out, and no whole answer came back.
    Lost,
    Answered(u16, String),
}

/// A connection to one replica, kept while it lasts.
pub struct Wire {
    address: String,
    stream: Option<TcpStream>,
}

impl Wire {
    /// To `host:port`; connects when first used.
    pub fn to(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    /// Sends a request and reads the answer, or, with `hang_up`, leaves after that time.
    pub async fn exchange(&mut self, request: &str, hang_up: Option<Duration>) -> Sent {
        let stream = match self.stream.take() {
            Some(stream) => Some(stream),
            None => TcpStream::connect(&self.address).await.ok(),
        };
        let Some(mut stream) = stream else { return Sent::Never };
        // It has no effect on what is tested: only on how long an answer takes.
        drop(stream.set_nodelay(true));
        let answered = async {
            stream.write_all(request.as_bytes()).await.ok()?;
            read(&mut stream).await
        };
        match tokio::time::timeout(hang_up.unwrap_or(PATIENCE), answered).await {
            Ok(Some((status, body))) => {
                self.stream = Some(stream);
                Sent::Answered(status, body)
            }
            _ => Sent::Lost,
        }
    }
}

/// One answer; `None` when the connection ends before it does.
async fn read(stream: &mut TcpStream) -> Option<(u16, String)> {
    let mut bytes = Vec::with_capacity(2048);
    let mut known: Option<(usize, u16)> = None;
    loop {
        if known.is_none() {
            known = head(&bytes);
        }
        if let Some((end, status)) = known
            && bytes.len() >= end
        {
            let start = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            return Some((status, String::from_utf8_lossy(&bytes[start..end]).into_owned()));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Where the answer ends, and its status, once its head is there.
fn head(bytes: &[u8]) -> Option<(usize, u16)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.next().map_or(Ok(0), |(_, value)| value.trim().parse::<usize>()).ok()?;
    Some((end + 4 + length, status))
}

//! Requests that no decent client can send, byte by byte.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::answer::Answer;

const LIMIT: Duration = Duration::from_secs(15);

/// Sends `head` (request line and headers, lines ended by `\n`) and `body` as they are, on a
/// connection of their own that the server is asked to close.
pub(crate) async fn send(base: &str, head: &str, body: &[u8]) -> Option<Answer> {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("the service accepts");
    let lines: Vec<&str> = head.trim().lines().map(str::trim).collect();
    let request = format!("{}\r\nhost: {address}\r\nconnection: close\r\n\r\n", lines.join("\r\n"));
    // A server that refuses early may close before it has read everything.
    drop(stream.write_all(request.as_bytes()).await);
    drop(stream.write_all(body).await);
    let mut answer = Vec::new();
    // It may be reset then, after its answer.
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "no end of the answer to: {}", lines[0]);
    parse(lines[0], &answer)
}

fn parse(asked: &str, answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
        })
        .collect();
    let chunked = headers.get("transfer-encoding").is_some();
    let body = if chunked { join_chunks(body) } else { body.to_owned() };
    Some(Answer::new(asked.to_owned(), status, headers, body))
}

fn join_chunks(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || tail.len() < size {
            break;
        }
        whole.push_str(&tail[..size]);
        rest = tail[size..].trim_start_matches("\r\n");
    }
    whole
}

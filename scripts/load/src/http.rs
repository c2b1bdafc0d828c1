//! A small HTTP/1.1 client that costs little, because it shares the processors with what it measures.
//!
//! The bytes of a request are the caller's. One [`Client`] is one connection that is kept; it carries one
//! request at a time. A server that closes is connected to again at the next request; a `GET` on a
//! connection that turns out to be closed is sent once more, anything else is not: it may have been done.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const HEADERS: usize = 32;
const ROOM: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("not connected")]
    NotConnected,
    #[error("connection closed")]
    Closed,
    #[error("time-out")]
    TimedOut,
    #[error("not HTTP")]
    Garbled,
}

/// What the server said; lives until the next request on the connection.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// From the status line to the empty line.
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The `code` of a problem; empty where there is none.
    pub fn code(&self) -> &str {
        self.text_of("code").unwrap_or_default()
    }

    /// The first string member called `name`, as it stands in the body. Cheap; knows no escapes.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        text_of(self.body, name)
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(self.body)?)
    }

    /// The value of a header, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(self.head).ok()?;
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(called, _)| called.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

/// The first string member called `name` in the JSON `body`, without reading the rest.
pub fn text_of<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let body = std::str::from_utf8(body).ok()?;
    let mut places = body.match_indices(name);
    places.find_map(|(at, _)| {
        let tail = body[at + name.len()..].strip_prefix("\":")?.trim_start().strip_prefix('"')?;
        body[..at].ends_with('"').then_some(tail)?.split('"').next()
    })
}

/// The bytes of a request without a body.
pub fn get(path: &str, bearer: Option<&str>) -> Vec<u8> {
    request("GET", path, bearer, &[], None)
}

/// The bytes of a request with a JSON body.
pub fn post(path: &str, bearer: Option<&str>, body: &str) -> Vec<u8> {
    request("POST", path, bearer, &[], Some(body))
}

/// The bytes of any request.
pub fn request(
    method: &str,
    path: &str,
    bearer: Option<&str>,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Vec<u8> {
    let bearer = bearer.map(|bearer| format!("authorization: Bearer {bearer}\r\n")).unwrap_or_default();
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length =
        body.map(|body| format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    let (headers, length, body) = (headers.concat(), length.unwrap_or_default(), body.unwrap_or_default());
    format!("{method} {path} HTTP/1.1\r\nhost: load\r\n{bearer}{headers}{length}\r\n{body}").into_bytes()
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    patience: Duration,
    stream: Option<TcpStream>,
    /// What was read of the present answer.
    read: Vec<u8>,
    /// Its body, where that came in chunks.
    joined: Vec<u8>,
}

/// Where the parts of an answer are.
#[derive(Clone, Copy, Debug)]
struct Frame {
    status: u16,
    retry_after: Option<Duration>,
    head_len: usize,
    body: Body,
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunks,
    UntilClose,
}

impl Client {
    /// Connects with the first request.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, patience: PATIENCE, stream: None, read: Vec::new(), joined: Vec::new() }
    }

    /// Gives up an answer after so long; without this, after 15 s.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sends the request and waits for the answer.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer<'_>, Failure> {
        let answered = tokio::time::timeout(self.patience, self.exchange(request)).await;
        let frame = answered.unwrap_or(Err(Failure::TimedOut))?;
        let (head, tail) = self.read.split_at(frame.head_len);
        let body = match frame.body {
            Body::Length(length) => &tail[..length],
            Body::Chunks => &self.joined[..],
            Body::UntilClose => tail,
        };
        Ok(Answer { status: frame.status, retry_after: frame.retry_after, head, body })
    }

    /// Sends the request; status and JSON of the answer (null without a body).
    pub async fn json(&mut self, request: &[u8]) -> anyhow::Result<(u16, serde_json::Value)> {
        let answer = self.send(request).await?;
        let body = if answer.body.is_empty() { serde_json::Value::Null } else { answer.json()? };
        Ok((answer.status, body))
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Frame, Failure> {
        let repeats = self.stream.is_some() && request.starts_with(b"GET ");
        match self.attempt(request).await {
            Err(Failure::Closed) if repeats => self.attempt(request).await,
            outcome => outcome,
        }
    }

    /// The stream is given back only behind a whole answer: who is cut short leaves none.
    async fn attempt(&mut self, request: &[u8]) -> Result<Frame, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        stream.write_all(request).await.map_err(|_| Failure::Closed)?;
        self.read.clear();
        let frame = loop {
            self.more(&mut stream, ROOM).await?;
            if let Some(frame) = Frame::parse(&self.read)? {
                break frame;
            }
        };
        match frame.body {
            Body::Length(length) => {
                let whole = frame.head_len + length;
                while self.read.len() < whole {
                    let missing = whole - self.read.len();
                    self.more(&mut stream, missing.max(ROOM)).await?;
                }
            }
            Body::Chunks => {
                self.joined.clear();
                let mut at = frame.head_len;
                while !join_chunks(&self.read, &mut at, &mut self.joined)? {
                    self.more(&mut stream, ROOM).await?;
                }
            }
            Body::UntilClose => while self.more(&mut stream, ROOM).await.is_ok() {},
        }
        if !frame.closes && frame.body != Body::UntilClose {
            self.stream = Some(stream);
        }
        Ok(frame)
    }

    async fn more(&mut self, stream: &mut TcpStream, room: usize) -> Result<(), Failure> {
        self.read.reserve(room);
        match stream.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => Err(Failure::Closed),
            Ok(_) => Ok(()),
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address).await.map_err(|_| Failure::NotConnected)?;
    stream.set_nodelay(true).map_err(|_| Failure::NotConnected)?;
    Ok(stream)
}

impl Frame {
    /// `None`: the head is not whole yet.
    fn parse(read: &[u8]) -> Result<Option<Self>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let head_len = match head.parse(read) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Failure::Garbled),
        };
        let status = head.code.ok_or(Failure::Garbled)?;
        let bodiless = matches!(status, 204 | 304);
        let body = if bodiless { Body::Length(0) } else { Body::UntilClose };
        let mut frame = Self { status, retry_after: None, head_len, body, closes: head.version != Some(1) };
        for header in head.headers.iter() {
            frame.hear(header, bodiless)?;
        }
        Ok(Some(frame))
    }

    fn hear(&mut self, header: &httparse::Header<'_>, bodiless: bool) -> Result<(), Failure> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if is("content-length") && !bodiless {
            self.body = Body::Length(value.parse().map_err(|_| Failure::Garbled)?);
        } else if is("transfer-encoding") && !bodiless {
            self.body = Body::Chunks;
        } else if is("connection") {
            self.closes |= value.eq_ignore_ascii_case("close");
        } else if is("retry-after") {
            self.retry_after = value.parse().ok().map(Duration::from_secs);
        }
        Ok(())
    }
}

/// Goes on from `at`; true behind the last chunk.
fn join_chunks(read: &[u8], at: &mut usize, joined: &mut Vec<u8>) -> Result<bool, Failure> {
    loop {
        let (start, size) = match httparse::parse_chunk_size(&read[*at..]) {
            Ok(httparse::Status::Complete((start, size))) => (*at + start, size),
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(_) => return Err(Failure::Garbled),
        };
        let end = start + usize::try_from(size).map_err(|_| Failure::Garbled)?;
        // Behind each chunk, also the last and empty one, comes an empty line: trailers are not known here.
        let Some(behind) = read.get(end..end + 2) else { return Ok(false) };
        if behind != b"\r\n" {
            return Err(Failure::Garbled);
        }
        joined.extend_from_slice(&read[start..end]);
        *at = end + 2;
        if size == 0 {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each request on a connection with the next of these pieces, and closes.
    async fn server(connections: Vec<Vec<Vec<&'static [u8]>>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move {
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                for pieces in answers {
                    let mut request = [0; 1024];
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    for piece in pieces {
                        stream.write_all(piece).await.unwrap();
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            }
        };
        // Ends with the test's runtime.
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(serve);
        tasks.detach_all();
        address
    }

    #[tokio::test]
    async fn a_body_of_known_length_may_come_in_pieces() {
        let pieces: Vec<&[u8]> = vec![b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r\nhe", b"llo"];
        let mut client = Client::new(server(vec![vec![pieces.clone(), pieces]]).await);
        for _ in 0..2 {
            let answer = client.send(&get("/", None)).await.unwrap();
            assert_eq!((answer.status, answer.body), (200, &b"hello"[..]));
            assert_eq!(answer.header("content-length"), Some("5"));
        }
    }

    #[tokio::test]
    async fn chunks_are_joined() {
        let pieces: Vec<&[u8]> = vec![
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhe",
            b"ll\r\n1\r\no\r",
            b"\n0\r\n",
            b"\r\n",
        ];
        let mut client = Client::new(server(vec![vec![pieces]]).await);
        assert_eq!(client.send(&get("/", None)).await.unwrap().body, b"hello");
    }

    #[tokio::test]
    async fn a_refusal_says_its_code_and_when_to_come_back() {
        let pieces: Vec<&[u8]> = vec![
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 39\r\n\r\n",
            b"{\"title\":\"the code\",\"code\":\"overloaded\"}"[..39].as_ref(),
        ];
        let mut client = Client::new(server(vec![vec![pieces]]).await);
        let answer = client.send(&get("/", None)).await.unwrap();
        assert_eq!((answer.code(), answer.retry_after), ("overloaded", Some(Duration::from_secs(7))));
    }

    #[tokio::test]
    async fn a_get_is_sent_again_when_the_server_has_closed_and_a_post_is_not() {
        const EMPTY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
        let once = || vec![vec![EMPTY]];
        let mut client = Client::new(server(vec![once(), once(), once()]).await);
        for _ in 0..2 {
            assert_eq!(client.send(&get("/", None)).await.unwrap().status, 204);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(client.send(&post("/", None, "{}")).await.unwrap_err(), Failure::Closed);
        assert_eq!(client.send(&post("/", None, "{}")).await.unwrap().status, 204);
    }

    #[tokio::test]
    async fn silence_ends() {
        let mut client = Client::new(server(vec![vec![vec![b"HTTP/1.1 200 OK\r\n"], vec![]]]).await)
            .patient(Duration::from_millis(50));
        assert_eq!(client.send(&get("/", None)).await.unwrap_err(), Failure::TimedOut);
    }

    #[test]
    fn members_are_found_by_their_whole_name() {
        let body = br#"{"xcode":"a","text":"code","code": "b"}"#;
        assert_eq!(text_of(body, "code"), Some("b"));
        assert_eq!(text_of(body, "cod"), None);
    }
}

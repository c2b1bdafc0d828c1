//! An accept loop of our own on hyper, for what `axum::serve` lacks: a time-out for slow headers and idle
//! connections, one for clients that do not read, answers without the router, a cap on connections, and a drain that ends (streams are cancelled by the hard stop).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::future::{Either, ready};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use super::idle::Busy;
use super::unsent::Deadlined;
use super::{Answers, Peer, ServeConfig};
use crate::lifecycle::Lifecycle;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between an answer and the whole header of the next request (`idle.rs`). Longer than load balancers keep an idle
/// connection (a minute): they close it, not we, so that no request meets a connection that is being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(75);
/// How a connection begins that speaks HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long bytes may wait for a client that takes none.
const UNSENT_LIMIT: Duration = Duration::from_secs(20);
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// What one connection too many is told, without reading its request.
const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
content-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 164\r\n\r\n\
{\"type\":\"urn:problem:overloaded\",\"title\":\"The service is at its limit\",\"status\":503,\
\"detail\":\"Too many connections are open.\",\"code\":\"overloaded\",\"request_id\":null}";

/// A bound listener, not yet serving.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    pub(super) unsent_limit: Duration,
    pub(super) idle_limit: Duration,
}

/// Binds `address` (`host:port`; port 0 = any free one).
pub async fn bind(address: &str) -> Result<Bound, String> {
    let failed = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address, unsent_limit: UNSENT_LIMIT, idle_limit: IDLE_LIMIT })
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `answers` until the soft stop; connections under way end within the grace.
    pub fn serve(
        self,
        name: &'static str,
        answers: impl Into<Answers>,
        config: &ServeConfig,
        lifecycle: &Lifecycle,
    ) {
        let slots = Arc::new(Semaphore::new(config.max_connections));
        let (answers, lifecycle) = (answers.into(), lifecycle.clone());
        let limits = (self.unsent_limit, self.idle_limit);
        lifecycle.clone().spawn_vital(name, async move {
            loop {
                let accepted = tokio::select! {
                    accepted = self.listener.accept() => accepted,
                    () = lifecycle.soft().cancelled() => return,
                };
                match accepted {
                    Ok((stream, peer)) => {
                        let slot = slots.clone().try_acquire_owned().ok();
                        let (answers, lived) = (answers.clone(), lifecycle.clone());
                        lifecycle.spawn(connection(stream, limits, peer, slot, answers, lived));
                    }
                    Err(error) => {
                        // Out of file handles, mostly: wait for some to be closed.
                        tracing::warn!(listener = name, %error, "cannot accept");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
    }
}

async fn connection(
    mut stream: TcpStream,
    (unsent_limit, idle_limit): (Duration, Duration),
    peer: SocketAddr,
    slot: Option<OwnedSemaphorePermit>,
    answers: Answers,
    lifecycle: Lifecycle,
) {
    let Some(_slot) = slot else {
        // The client may have gone; there is nobody else to tell.
        drop(tokio::time::timeout(HEADER_TIMEOUT, stream.write_all(OVERLOADED)).await);
        return;
    };
    // Of its own, as in [`Lifecycle::spawn`].
    let soft = lifecycle.soft().child_token();
    let begun = tokio::select! {
        begun = tokio::time::timeout(HEADER_TIMEOUT, first_bytes(&stream)) => matches!(begun, Ok(Ok(()))),
        // Nothing was asked: there is nothing to answer before the stop.
        () = soft.cancelled() => false,
    };
    if !begun {
        return;
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let busy = Busy::new();
    let stream = TokioIo::new(Deadlined::new(stream, unsent_limit, busy.clone()));
    let idle = busy.clone().until_idle(idle_limit);
    let service = hyper::service::service_fn(move |request| answer(&answers, &busy, peer, request));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_HEADER_BYTES);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
    let mut served = std::pin::pin!(builder.serve_connection(stream, service));
    let outcome = tokio::select! {
        // In this order: the connection is what wakes this task, the others hardly ever do.
        biased;
        outcome = served.as_mut() => outcome,
        () = soft.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = idle => return,
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}

fn answer(
    answers: &Answers,
    busy: &Busy,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    if let Some(told) = answers.stack.as_ref().and_then(|stack| stack.at_once(&request, peer.ip())) {
        return Either::Left(ready(Ok(told)));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let (under_way, routes) = (busy.begin(), answers.routes.clone());
    Either::Right(Box::pin(async move {
        let _under_way = under_way;
        routes.oneshot(request).await
    }))
}

/// Waits until the client has said which HTTP it speaks: hyper's own time-out begins after that.
async fn first_bytes(stream: &TcpStream) -> std::io::Result<()> {
    let mut begun = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut begun).await?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if length == PREFACE.len() || !PREFACE.starts_with(&begun[..length]) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::AsyncReadExt as _;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::serve::tests::settings;

    const LIMIT: Duration = Duration::from_millis(500);
    const SOON: Duration = Duration::from_secs(20);

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    async fn answered(stream: &mut TcpStream) {
        let mut answer = [0; 4096];
        let length = timeout(SOON, stream.read(&mut answer)).await.expect("soon").unwrap();
        assert!(answer[..length].ends_with(b"done"), "{}", String::from_utf8_lossy(&answer[..length]));
    }

    /// On the real clock: sockets know no other.
    #[tokio::test]
    async fn a_connection_is_closed_when_no_whole_header_comes_and_not_while_a_request_is_worked_on() {
        let slow = get(|| async {
            sleep(LIMIT * 3).await;
            "done"
        });
        let (router, lifecycle) = (Router::new().route("/", get(|| async { "done" })), Lifecycle::new());
        let mut bound = bind("127.0.0.1:0").await.unwrap();
        bound.idle_limit = LIMIT;
        let address = bound.address();
        bound.serve("test", router.route("/slow", slow), &settings(), &lifecycle);

        let mut slow = ask(address, "/slow").await;
        let mut dripping = ask(address, "/").await;
        answered(&mut dripping).await;
        let dripped = async {
            while dripping.write_all(b"G").await.is_ok() {
                sleep(LIMIT / 10).await;
            }
        };
        timeout(SOON, dripped).await.expect("it is kept for ever");
        answered(&mut slow).await;
        let rest = timeout(SOON, slow.read(&mut [0; 16])).await.expect("it is kept for ever").unwrap();
        assert_eq!(rest, 0);
        lifecycle.drain(SOON).await;
    }

    #[test]
    fn the_canned_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(OVERLOADED).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert_eq!(announced.parse::<usize>().unwrap(), body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "overloaded");
    }
}

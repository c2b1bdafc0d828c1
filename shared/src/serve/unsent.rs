//! A connection whose client takes nothing is closed.
//!
//! ```text
//!   write ─ taken ──▶ no deadline
//!         └ pending ─▶ deadline ─ some bytes taken ──▶ no deadline
//!                               └ it passes ─▶ reset: answer and buffers are freed
//! ```
//!
//! Without it a client that asks and never reads keeps its answer in memory for ever. Only who has
//! something to send has a deadline: an event stream may be silent as long as it likes, and a slow
//! reader is served as long as the kernel's buffer gets emptier. HTTP/2 has windows of its own,
//! within which a stream may stand still while the connection does not: that is not seen here.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::idle::Busy;

/// Answers that are written in one piece.
const SMALL: usize = 2048;

/// See the module.
pub struct Deadlined {
    stream: TcpStream,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    busy: Busy,
}

impl Deadlined {
    /// `limit`: how long bytes may wait while none is taken. Whoever takes some is `busy`.
    pub fn new(stream: TcpStream, limit: Duration, busy: Busy) -> Self {
        Self { stream, limit, deadline: None, busy }
    }

    fn judge<T>(&mut self, written: Poll<Result<T>>, context: &mut Context<'_>) -> Poll<Result<T>> {
        if written.is_ready() {
            if self.deadline.is_some() {
                self.deadline = None;
            }
            self.busy.note();
            return written;
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(context));
        // Else the kernel would go on trying to deliver what it has.
        self.stream.set_zero_linger()?;
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncWrite for Deadlined {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let mut room = [0; SMALL];
        let written = match gathered(slices, &mut room) {
            Some(bytes) => Pin::new(&mut self.stream).poll_write(context, bytes),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        };
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // The kernel takes what is written at once: it proves no progress.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The slices as one; `None` when they are too long for the room. To copy so little is cheaper than to have the
/// kernel walk a list.
fn gathered<'a>(slices: &[IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for slice in slices {
        room.get_mut(length..length + slice.len())?.copy_from_slice(slice);
        length += slice.len();
    }
    room.get(..length)
}

impl AsyncRead for Deadlined {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::{mpsc, oneshot};
    use tokio::time::timeout;

    use super::*;
    use crate::lifecycle::Lifecycle;
    use crate::serve::bind;
    use crate::serve::tests::settings;

    const LIMIT: Duration = Duration::from_secs(1);
    const SOON: Duration = Duration::from_secs(20);
    /// More than the buffers of both ends.
    const LARGE: usize = 64 << 20;

    /// A body in memory; `_gone` tells when nothing holds it any more.
    struct Answer {
        bytes: Vec<u8>,
        _gone: oneshot::Sender<()>,
    }

    impl AsRef<[u8]> for Answer {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    /// `/large`, and `/events` as they are sent.
    async fn serve(lifecycle: &Lifecycle) -> (String, oneshot::Receiver<()>, mpsc::Sender<Bytes>) {
        let (told, gone) = oneshot::channel();
        let answer = Bytes::from_owner(Answer { bytes: vec![b'x'; LARGE], _gone: told });
        let answer = Arc::new(Mutex::new(Some(answer)));
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let receiver = Arc::new(Mutex::new(Some(receiver)));
        let large = move || async move {
            Body::from(answer.lock().unwrap_or_else(PoisonError::into_inner).take().expect("asked once"))
        };
        let events = move || async move {
            let receiver = receiver.lock().unwrap().take().expect("asked once");
            Body::from_stream(futures_util::stream::unfold(receiver, async |mut receiver| {
                let event = receiver.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(event), receiver))
            }))
        };
        let router = Router::new().route("/large", get(large)).route("/events", get(events));
        let mut bound = bind("127.0.0.1:0").await.unwrap();
        bound.unsent_limit = LIMIT;
        let address = bound.address().to_string();
        bound.serve("test", router, &settings(), lifecycle);
        (address, gone, sender)
    }

    async fn ask(address: &str, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    async fn read_until(stream: &mut TcpStream, word: &str) {
        let mut read = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&read).contains(word) {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0, "closed before {word}");
            }
        };
        timeout(SOON, reading).await.expect(word);
    }

    #[test]
    fn small_slices_are_one() {
        let slices = [&b"head "[..], b"", b"body"].map(IoSlice::new);
        assert_eq!(gathered(&slices, &mut [0; 9]), Some(&b"head body"[..]));
        assert_eq!(gathered(&slices, &mut [0; 8]), None);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_closed_and_who_has_nothing_to_take_is_not() {
        let lifecycle = Lifecycle::new();
        let (address, gone, events) = serve(&lifecycle).await;
        let mut idle = ask(&address, "/events").await;
        events.send("first".into()).await.unwrap();
        read_until(&mut idle, "first").await;
        // Begun after the last event: its end is the proof that the idle one has outlived the limit.
        let mut stuck = ask(&address, "/large").await;
        timeout(SOON, gone).await.expect("the answer is kept for ever").expect_err("dropped");
        let all = timeout(SOON, tokio::io::copy(&mut stuck, &mut tokio::io::sink())).await.expect("reset");
        assert!(all.is_err(), "{all:?}");
        events.send("second".into()).await.unwrap();
        read_until(&mut idle, "second").await;
        lifecycle.stop();
        drop((idle, events));
        lifecycle.drain(SOON).await;
    }

    #[tokio::test]
    async fn a_slow_reader_gets_all_though_it_takes_longer_than_the_limit() {
        let lifecycle = Lifecycle::new();
        let (address, _gone, _events) = serve(&lifecycle).await;
        let mut stream = ask(&address, "/large").await;
        let mut read = 0;
        let mut buffer = vec![0; 1 << 20];
        while read < LARGE {
            let more = timeout(SOON, stream.read(&mut buffer)).await.expect("soon").unwrap();
            assert!(more > 0, "closed after {read}");
            read += more;
            sleep(LIMIT / 40).await;
        }
        lifecycle.drain(SOON).await;
    }
}

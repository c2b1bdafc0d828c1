//! What a refused request leaves unread.
//!
//! A handler that refuses early (no credential, body too large) drops the body unread. Closing a
//! connection on bytes that were not read makes the kernel reset it, and a client that is still
//! writing never sees the answer. So the rest is read and thrown away first, within limits; past
//! them the reset is the client's own doing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

const MOST_BYTES: usize = 16 * 1024 * 1024;
const LONGEST: Duration = Duration::from_secs(3);

/// A body that comes back when it is dropped before its end.
pub struct Lent {
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

/// Where a lent body comes back to.
pub struct Leftover(oneshot::Receiver<Body>);

/// Lends `body` out.
pub fn lend(body: Body) -> (Lent, Leftover) {
    let (back, leftover) = oneshot::channel();
    (Lent { body: Some(body), back: Some(back) }, Leftover(leftover))
}

impl Leftover {
    /// Reads and forgets what came back, if anything did.
    pub async fn discard(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let all = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > MOST_BYTES {
                    return;
                }
            }
        };
        // Whether the end came or the limit, the answer goes out now.
        drop(tokio::time::timeout(LONGEST, all).await);
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody waits for it when the request was cancelled.
            drop(back.send(body));
        }
    }
}

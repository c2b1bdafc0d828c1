//! A TCP proxy that can be cut and stalled, to stand between a service and what it depends on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes bytes on until told otherwise. Dropping it cuts it for good.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _accepting: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Stalled,
    Cut,
}

impl Proxy {
    /// In front of `target`, `host:port`.
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let state = Arc::new(watch::channel(State::Open).0);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, state.clone()));
        Self { address, state, _accepting: accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and every new one at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Passes nothing on, and ends nothing.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// As at the beginning.
    pub fn mend(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                if *state.borrow() != State::Cut {
                    connections.spawn(connect(near, target.clone(), state.subscribe()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(near: TcpStream, target: String, state: watch::Receiver<State>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ended = Arc::new(AtomicBool::new(false));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(
        pass(near_read, far_write, state.clone(), ended.clone()),
        pass(far_read, near_write, state, ended),
    );
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    ended: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while !ended.load(Ordering::Relaxed) {
        let now = *state.borrow_and_update();
        if now == State::Cut {
            break;
        }
        tokio::select! {
            read = from.read(&mut buffer), if now == State::Open => match read {
                Ok(length @ 1..) if to.write_all(&buffer[..length]).await.is_ok() => {}
                _ => break,
            },
            changed = state.changed() => {
                if changed.is_err() {
                    break;
                }
            }
        }
    }
    ended.store(true, Ordering::Relaxed);
    // The other end may have gone first.
    drop(to.shutdown().await);
}

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

#[derive(Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections that were made before this many silences pass nothing on any more.
    silences: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Stalled,
    Cut,
}

impl Proxy {
    /// In front of `target`, `host:port`.
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let state = Arc::new(watch::channel(State { mode: Mode::Open, silences: 0 }).0);
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
        self.state.send_modify(|state| state.mode = Mode::Cut);
    }

    /// Passes nothing on, and ends nothing.
    pub fn stall(&self) {
        self.state.send_modify(|state| state.mode = Mode::Stalled);
    }

    /// The connections of now pass nothing on, for ever, and do not end; new ones are fine: as when the
    /// other end's machine is gone, or a firewall has forgotten them.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.silences += 1);
    }

    /// As at the beginning.
    pub fn mend(&self) {
        self.state.send_modify(|state| state.mode = Mode::Open);
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                if state.borrow().mode != Mode::Cut {
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
    let born = state.borrow().silences;
    while !ended.load(Ordering::Relaxed) {
        let now = *state.borrow_and_update();
        if now.mode == Mode::Cut {
            break;
        }
        let is_open = now.mode == Mode::Open && now.silences == born;
        tokio::select! {
            read = from.read(&mut buffer), if is_open => match read {
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

//! One replica of one service, in this process or as the real program.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use clap::Parser as _;
use shared::clock::Clock;
use shared::lifecycle::Lifecycle;

use crate::binaries::Program;
use crate::stores::given;

const GRACE: Duration = Duration::from_secs(2);
/// Ports below those that the system gives to the near ends of connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How the services of a world run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// In the test's process, on the world's clock.
    InProcess,
    /// As the real programs, on the real clock; they can be killed and started again.
    Programs,
    /// As those, the booking service with its crash points.
    CrashingPrograms,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Queue,
    Booking,
}

impl Kind {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Queue => "queue-service",
            Self::Booking => "booking-service",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Booking => "booking",
        }
    }
}

pub(crate) struct Service {
    kind: Kind,
    program: &'static str,
    arguments: Vec<String>,
    folder: PathBuf,
    public: SocketAddr,
    ops: SocketAddr,
    running: Mutex<Running>,
}

enum Running {
    Here(Lifecycle),
    Program(Program),
    Dead,
}

impl Service {
    /// Starts it with `arguments`, to which its listeners are added.
    pub(crate) async fn start(
        kind: Kind,
        launch: Launch,
        mut arguments: Vec<String>,
        clock: &Clock,
        folder: &Path,
    ) -> Self {
        let folder = folder.to_owned();
        let any = || SocketAddr::from(([127, 0, 0, 1], 0));
        let (public, ops) = match launch {
            Launch::InProcess => (any(), any()),
            Launch::Programs | Launch::CrashingPrograms => (free_port(), free_port()),
        };
        let program = match (launch, kind) {
            (Launch::CrashingPrograms, Kind::Booking) => "booking-service-crash",
            _ => kind.program(),
        };
        let prefix = kind.prefix();
        arguments.extend([format!("--{prefix}-addr"), public.to_string()]);
        arguments.extend([format!("--{prefix}-ops-addr"), ops.to_string()]);
        if launch != Launch::InProcess {
            let running = Running::Program(Program::start(program, &arguments, &folder));
            return Self { kind, program, arguments, folder, public, ops, running: Mutex::new(running) };
        }
        let lifecycle = Lifecycle::new();
        let (public, ops) = start_here(kind, &arguments, clock.clone(), &lifecycle).await;
        let running = Mutex::new(Running::Here(lifecycle));
        Self { kind, program, arguments, folder, public, ops, running }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.public
    }

    pub(crate) fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Ends it as a power cut would: SIGKILL, or in this process without any grace.
    pub(crate) async fn kill(&self) {
        match self.take() {
            Running::Program(mut program) => program.kill().await,
            Running::Here(lifecycle) => lifecycle.drain(Duration::ZERO).await,
            Running::Dead => {}
        }
    }

    /// Whether it was ended and not started again.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(*self.running.lock().expect("nobody panicked here"), Running::Dead)
    }

    /// Starts a killed program again at its old addresses.
    pub(crate) fn start_again(&self) {
        let program = Program::start(self.program, &self.arguments, &self.folder);
        *self.running.lock().expect("nobody panicked here") = Running::Program(program);
    }

    /// SIGTERM; the program's exit code.
    pub(crate) async fn terminate(&self, limit: Duration) -> Option<i32> {
        match self.take() {
            Running::Program(mut program) => program.terminate(limit).await,
            _ => panic!("only a program can be terminated"),
        }
    }

    /// Whether it has stopped without being told to.
    pub(crate) fn has_ended(&self) -> bool {
        match &mut *self.running.lock().expect("nobody panicked here") {
            Running::Here(lifecycle) => lifecycle.soft().is_cancelled(),
            Running::Program(program) => program.has_ended(),
            Running::Dead => false,
        }
    }

    /// Ends it gently where it runs here, at once where it is a program.
    pub(crate) async fn stop(&self) {
        match self.take() {
            Running::Here(lifecycle) => lifecycle.drain(GRACE).await,
            Running::Program(mut program) => program.kill().await,
            Running::Dead => {}
        }
    }

    /// What a program has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.log", self.program))).unwrap_or_default()
    }

    fn take(&self) -> Running {
        std::mem::replace(&mut *self.running.lock().expect("nobody panicked here"), Running::Dead)
    }
}

async fn start_here(
    kind: Kind,
    arguments: &[String],
    clock: Clock,
    lifecycle: &Lifecycle,
) -> (SocketAddr, SocketAddr) {
    let words = std::iter::once(kind.program().to_owned()).chain(arguments.iter().cloned());
    let failed = |error: &dyn std::fmt::Display| -> ! { panic!("{}: {error:#}", kind.program()) };
    match kind {
        Kind::Queue => {
            let config = queue_service::Config::try_parse_from(words).unwrap_or_else(|error| failed(&error));
            let started = queue_service::start(config, clock, lifecycle).await;
            let addresses = started.unwrap_or_else(|error| failed(&error));
            (addresses.public, addresses.ops)
        }
        Kind::Booking => {
            let config =
                booking_service::Config::try_parse_from(words).unwrap_or_else(|error| failed(&error));
            let started = booking_service::start(config, clock, lifecycle).await;
            let addresses = started.unwrap_or_else(|error| failed(&error));
            (addresses.public, addresses.ops)
        }
    }
}

/// A port that nobody listens on and that no other test of the run is given for a long time: they take turns, by a number
/// in a file that one of them has at a time.
pub(crate) fn free_port() -> SocketAddr {
    let file = PathBuf::from(given("TEST_FOLDER")).join("port");
    let turn = File::options().read(true).write(true).create(true).truncate(false).open(&file);
    let mut turn = turn.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    turn.lock().expect("a file can be locked");
    let mut last = String::new();
    turn.read_to_string(&mut last).expect("a file can be read");
    // Runs side by side begin apart.
    let first =
        || PORTS.start + u16::try_from(std::process::id() % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
    let mut port: u16 = last.parse().unwrap_or_else(|_| first());
    for _ in PORTS {
        port = if PORTS.contains(&(port + 1)) { port + 1 } else { PORTS.start };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            turn.rewind().and_then(|()| write!(turn, "{port}")).expect("a file can be written");
            return address;
        }
    }
    panic!("no port is free");
}

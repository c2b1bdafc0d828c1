//! How a world is to be: one of the five systems of the requirements, and what a test changes in it.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};
use shared::clock::Clock;

use crate::service::Launch;
use crate::world::World;

/// A world to be started.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each set by a method of its own")]
pub struct Builder {
    pub(crate) queue_settings: Map<String, Value>,
    pub(crate) gated: &'static str,
    pub(crate) release_on: &'static str,
    pub(crate) replicas: usize,
    pub(crate) queue_flags: Vec<String>,
    pub(crate) booking_flags: Vec<String>,
    pub(crate) launch: Launch,
    pub(crate) two_clocks: bool,
    pub(crate) paused: bool,
    pub(crate) outages: bool,
    pub(crate) sabotaged: bool,
    pub(crate) provider: bool,
    pub(crate) redis_url: Option<String>,
    pub(crate) postgres_url: Option<String>,
    pub(crate) keys_by_file: bool,
}

impl World {
    /// S0: issue or return, gate, hold, slip.
    pub fn s0() -> Builder {
        Builder::new("dates,seats,reserve", "payment").queue(json!({ "instant_admission": false }))
    }

    /// S1: two tokens, once-a-minute sweep.
    pub fn s1() -> Builder {
        Builder::new("dates,seats,reserve,pay", "payment").queue(json!({ "instant_admission": false }))
    }

    /// S2: flow control by rate only.
    pub fn s2() -> Builder {
        Builder::new("reserve", "payment").queue(json!({ "max_active": null, "instant_admission": false }))
    }

    /// S3: replace, release at the hold, separable queue.
    pub fn s3() -> Builder {
        Builder::new("concerts,seats,reserve", "hold").queue(json!({ "rejoin": "requeue" }))
    }

    /// S4: points with history, heartbeat, cap, both limits.
    pub fn s4() -> Builder {
        Builder::new("dates,seats,reserve,pay", "payment")
            .queue(json!({ "entry_ttl_seconds": 600, "entry_max_lifetime_seconds": 1800 }))
    }
}

impl Builder {
    fn new(gated: &'static str, release_on: &'static str) -> Self {
        Self {
            queue_settings: Map::new(),
            gated,
            release_on,
            replicas: usual_replicas(),
            queue_flags: Vec::new(),
            booking_flags: Vec::new(),
            launch: Launch::InProcess,
            two_clocks: false,
            paused: false,
            outages: false,
            sabotaged: false,
            provider: false,
            redis_url: None,
            postgres_url: None,
            keys_by_file: false,
        }
        .queue(json!({ "admission": { "users": 100, "every_seconds": 1 }, "max_active": 1000 }))
    }

    /// These settings of the queue `main` instead of those so far.
    pub fn queue(mut self, settings: Value) -> Self {
        if let Value::Object(settings) = settings {
            self.queue_settings.extend(settings);
        }
        self
    }

    /// Everybody is let in at once, at the join itself.
    pub fn open_door(self) -> Self {
        self.queue(json!({ "admission": null, "max_active": null, "instant_admission": true }))
    }

    /// The queue `main` is paused before anybody joins.
    pub fn paused(mut self) -> Self {
        self.paused = true;
        self
    }

    /// So many replicas of each service.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// More flags of the queue service.
    pub fn queue_flags(mut self, flags: &[&str]) -> Self {
        self.queue_flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// More flags of the booking service.
    pub fn booking_flags(mut self, flags: &[&str]) -> Self {
        self.booking_flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Another `GATED`.
    pub fn gated(mut self, gated: &'static str) -> Self {
        self.gated = gated;
        self
    }

    /// A clock for the queue service and another for the booking service.
    pub fn two_clocks(mut self) -> Self {
        self.two_clocks = true;
        self
    }

    /// The real programs instead of tasks of this process; time is real then.
    pub fn programs(mut self) -> Self {
        self.launch = Launch::Programs;
        self
    }

    /// As [`Builder::programs`], the booking service with the crash points of `booking_service::crash`.
    pub fn crashing_programs(mut self) -> Self {
        self.launch = Launch::CrashingPrograms;
        self.with_outages()
    }

    /// The booking service reads the keys of entry tokens from a file instead of asking the queue service.
    pub fn entry_keys_by_file(mut self) -> Self {
        self.keys_by_file = true;
        self
    }

    /// Users come from an identity provider with key set, issuer and audience; this is no development.
    pub fn identity_provider(mut self) -> Self {
        self.provider = true;
        self
    }

    /// Proxies stand before Redis, Postgres and the queue's ops listener, and 503 is no failure.
    pub fn with_outages(mut self) -> Self {
        self.outages = true;
        self
    }

    /// The test spoils the database on purpose: nobody looks at the books at the end.
    pub fn sabotaged(mut self) -> Self {
        self.sabotaged = true;
        self
    }

    /// Another Redis than the one that all tests share; no proxy stands before it.
    pub fn redis(mut self, url: String) -> Self {
        self.redis_url = Some(url);
        self
    }

    /// An empty database of another Postgres than the one that all tests share; no proxy stands before it.
    pub fn postgres(mut self, url: String) -> Self {
        self.postgres_url = Some(url);
        self
    }

    /// Starts the world, runs `test` in it, and takes it down; fails when either is not in order.
    pub fn run(self, test: impl AsyncFnOnce(&World)) {
        start_log();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime can be built").block_on(async {
            let world = World::start(self, Clock::system()).await;
            let outcome = AssertUnwindSafe(test(&world)).catch_unwind().await;
            let complaints = match outcome {
                Ok(()) => world.complaints().await,
                Err(_) => world.program_logs(),
            };
            world.dismantle().await;
            match outcome {
                Ok(()) => assert!(complaints.is_empty(), "at the end: {}", complaints.join("; ")),
                Err(panic) => {
                    eprint(&complaints);
                    resume_unwind(panic);
                }
            }
        });
    }
}

/// Of a test that does not say how many: one, or as many as `ACCEPTANCE_REPLICAS` says.
fn usual_replicas() -> usize {
    std::env::var("ACCEPTANCE_REPLICAS")
        .map_or(1, |text| text.parse().expect("ACCEPTANCE_REPLICAS is a number"))
}

#[expect(clippy::print_stderr, reason = "the programs' logs, for whoever reads why a test failed")]
fn eprint(lines: &[String]) {
    for line in lines {
        eprintln!("{line}");
    }
}

/// `ACCEPTANCE_LOG=debug` shows what the services log.
fn start_log() {
    let filter = std::env::var("ACCEPTANCE_LOG").unwrap_or_else(|_| "warn".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let log = tracing_subscriber::fmt().compact().with_env_filter(filter).with_test_writer();
    // Another test of this process may have started it.
    drop(log.try_init());
}

//! A world: both services and everything they need, fresh.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use reqwest::redirect::Policy;
use shared::clock::Clock;
use tokio::sync::{OnceCell, Semaphore};

use crate::admin::Admin;
use crate::answer::Answer;
use crate::builder::Builder;
use crate::call::{Call, Seen, Side};
use crate::keys::Keys;
use crate::patience::within;
use crate::places::{Concert, Date};
use crate::proxy::Proxy;
use crate::service::{Kind, Service};
use crate::stores::Stores;
use crate::user::{Row, User};
use crate::wiring::{behind_proxy, booking_flags, queue_flags};

const IN_FLIGHT: usize = 200;
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const START_LIMIT: Duration = Duration::from_secs(30);
/// 2^64 divided by the golden ratio: its multiples visit all replicas evenly and without a period.
const GOLDEN_RATIO: usize = 0x9E37_79B9_7F4A_7C15;
/// Refusals with a 5xx status that are the queue's business, no failure.
const BUSINESS: [&str; 2] = ["queue_closed", "queue_draining"];

/// Both services, their stores, and everything that is in them. See the crate's documentation.
pub struct World {
    pub keys: Keys,
    /// Before Redis, Postgres and the queue's ops listener, when the test asked for outages.
    pub redis: Option<Proxy>,
    pub postgres: Option<Proxy>,
    pub queue_ops: Option<Proxy>,
    clock: Clock,
    booking_clock: Clock,
    two_clocks: bool,
    outages: bool,
    sabotaged: bool,
    gated: Vec<&'static str>,
    /// Where Redis is without a proxy before it.
    audited_redis: String,
    stores: Stores,
    redis_url: String,
    services: Vec<Service>,
    http: reqwest::Client,
    in_flight: Semaphore,
    turn: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    place: OnceLock<(Concert, Date)>,
    pub(crate) issuer: OnceCell<String>,
}

impl World {
    pub(crate) async fn start(builder: Builder, clock: Clock) -> Self {
        shared::tokens::install_crypto();
        let (settings, paused) = (builder.queue_settings.clone(), builder.paused);
        let world = Self::with_services(builder, clock).await;
        for service in &world.services {
            world.until(service, "readyz").await;
        }
        world.admin().put_queue("main", &settings.into()).await.ok(201);
        if paused {
            world.admin().pause("main").await.ok(200);
        }
        let concert = world.add_concert("The concert", "main").await;
        let date = world.add_date(&concert, 50).await;
        assert!(world.place.set((concert, date)).is_ok(), "a world starts once");
        world
    }

    async fn with_services(builder: Builder, clock: Clock) -> Self {
        let (keys, stores) = (Keys::new(), Stores::new(builder.postgres_url.is_none()).await);
        let (redis, redis_url) = match builder.redis_url.clone() {
            Some(url) => (None, url),
            None => behind_proxy(builder.outages, &stores.redis_url).await,
        };
        let (postgres, database_url) = match (&builder.postgres_url, &stores.database) {
            (None, Some(database)) => behind_proxy(builder.outages, &database.url).await,
            (url, _) => (None, url.clone().unwrap_or_default()),
        };
        let booking_clock = if builder.two_clocks { Clock::system() } else { clock.clone() };
        let folder = keys.folder().to_owned();
        let mut services = Vec::new();
        let flags = queue_flags(&builder, &keys, &redis_url, &stores.redis_prefix);
        for _ in 0..builder.replicas {
            services.push(Service::start(Kind::Queue, builder.launch, flags.clone(), &clock, &folder).await);
        }
        let queue = format!("http://{}", services[0].public());
        let ops_url = format!("http://{}", services[0].ops());
        let (queue_ops, ops_url) = behind_proxy(builder.outages, &ops_url).await;
        let flags = booking_flags(&builder, &keys, &database_url, &queue, ops_url.trim_end_matches('/'));
        for _ in 0..builder.replicas {
            let service =
                Service::start(Kind::Booking, builder.launch, flags.clone(), &booking_clock, &folder).await;
            services.push(service);
        }
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(ANSWER_LIMIT);
        Self {
            keys,
            redis,
            postgres,
            queue_ops,
            clock,
            booking_clock,
            two_clocks: builder.two_clocks,
            outages: builder.outages,
            sabotaged: builder.sabotaged,
            gated: builder.gated.split(',').collect(),
            audited_redis: builder.redis_url.unwrap_or_else(|| stores.redis_url.clone()),
            stores,
            redis_url,
            services,
            http: http.build().expect("a client can be built"),
            in_flight: Semaphore::new(IN_FLIGHT),
            turn: AtomicUsize::new(0),
            seen: Mutex::default(),
            place: OnceLock::new(),
            issuer: OnceCell::new(),
        }
    }

    /// Where the queues' keys are: the URL of Redis, and what stands before each.
    pub fn redis_keys(&self) -> (&str, &str) {
        (&self.audited_redis, &self.stores.redis_prefix)
    }

    /// The URL of the booking service's database, for tests that damage what is in it; not of one of their own.
    pub fn database_url(&self) -> &str {
        self.stores.database.as_ref().map_or("", |database| &database.url)
    }

    /// The queue service's clock, and booking's unless the test asked for two.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The booking service's clock.
    pub fn booking_clock(&self) -> &Clock {
        &self.booking_clock
    }

    /// Time passes for all services.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        if self.two_clocks {
            self.booking_clock.advance(by);
        }
    }

    /// As [`World::advance`], in seconds.
    pub fn advance_seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// The concert that every world has, in the queue `main`.
    pub fn concert(&self) -> &Concert {
        &self.place.get().expect("the world has started").0
    }

    /// Its date of 50 seats at [`crate::PRICE`].
    pub fn date(&self) -> &Date {
        &self.place.get().expect("the world has started").1
    }

    /// A person, unknown to the services so far.
    pub fn user(&self, name: &str) -> User<'_> {
        User::new(self, name, "main")
    }

    /// Many of them: `name-0`, `name-1`, …
    pub fn users(&self, name: &str, count: usize) -> Vec<User<'_>> {
        (0..count).map(|number| self.user(&format!("{name}-{number}"))).collect()
    }

    /// The operator.
    pub fn admin(&self) -> Admin<'_> {
        Admin::new(self)
    }

    /// A request by nobody in particular.
    pub fn call(&self, side: Side, method: &str, path: &str) -> Call<'_> {
        Call::new(self, side, method, path)
    }

    /// `GET`, by nobody in particular.
    pub fn get(&self, side: Side, path: &str) -> Call<'_> {
        self.call(side, "GET", path)
    }

    /// Bytes as they are to a listener; `None` when it closed without an answer.
    pub async fn raw(&self, side: Side, head: &str, body: &[u8]) -> Option<Answer> {
        crate::raw::send(&self.base(side, None), head, body).await
    }

    /// Where a listener of a replica is; without a number, one or another of those that were not killed, in a
    /// pattern without period.
    pub fn base(&self, side: Side, replica: Option<usize>) -> String {
        let mut services = self.all(side);
        if replica.is_none() && services.iter().any(|service| !service.is_dead()) {
            services.retain(|service| !service.is_dead());
        }
        let number = replica.unwrap_or_else(|| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            turn.wrapping_mul(GOLDEN_RATIO) >> 32
        });
        let service = services[number % services.len()];
        let address = match side {
            Side::Queue | Side::Booking => service.public(),
            Side::QueueOps | Side::BookingOps => service.ops(),
        };
        format!("http://{address}")
    }

    /// Kills the first replica of a service.
    pub async fn kill(&self, side: Side) {
        self.first(side).kill().await;
    }

    /// Kills one replica of a service.
    pub async fn kill_replica(&self, side: Side, replica: usize) {
        self.all(side)[replica].kill().await;
    }

    /// Starts one killed replica again and waits until it is live.
    pub async fn start_replica_again(&self, side: Side, replica: usize) {
        let service = self.all(side)[replica];
        service.start_again();
        self.until(service, "livez").await;
    }

    /// Starts one killed replica again as a supervisor does, anew whenever it ends before it is live: what it
    /// needs may be away, or go.
    pub async fn revive_replica(&self, side: Side, replica: usize) {
        let service = self.all(side)[replica];
        service.start_again();
        let url = format!("http://{}/livez", service.ops());
        within(START_LIMIT, "a replica lives again", async || {
            if service.has_ended() {
                service.start_again();
            }
            let answer = self.http.get(&url).send().await.map_err(|error| error.to_string())?;
            if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
    }

    /// Starts a killed program again and waits until it is ready.
    pub async fn start_again(&self, side: Side) {
        self.first(side).start_again();
        self.until(self.first(side), "readyz").await;
    }

    /// Starts a killed program again and waits until it is live: what it depends on may be away.
    pub async fn start_again_unready(&self, side: Side) {
        self.first(side).start_again();
        self.until(self.first(side), "livez").await;
    }

    /// Waits until the first replica of a service has ended by itself.
    pub async fn until_ended(&self, side: Side) {
        let service = self.first(side);
        within(
            START_LIMIT,
            "it has ended",
            async || if service.has_ended() { Ok(()) } else { Err(String::new()) },
        )
        .await;
    }

    /// SIGTERM to the first replica; its exit code.
    pub async fn terminate(&self, side: Side, limit: Duration) -> Option<i32> {
        self.first(side).terminate(limit).await
    }

    /// Everything that was asked and answered so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panicked here").clone()
    }

    /// Where the queue service has its data.
    pub(crate) fn redis_url_and_prefix(&self) -> (&str, &str) {
        (&self.redis_url, &self.stores.redis_prefix)
    }

    pub(crate) fn is_gated(&self, row: Row) -> bool {
        self.gated.contains(&row.word())
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn in_flight(&self) -> &Semaphore {
        &self.in_flight
    }

    pub(crate) fn saw(&self, seen: Seen) {
        self.seen.lock().expect("nobody panicked here").push(seen);
    }

    fn first(&self, side: Side) -> &Service {
        self.all(side).first().copied().expect("every world has both")
    }

    fn all(&self, side: Side) -> Vec<&Service> {
        let kind = if side.is_queue() { Kind::Queue } else { Kind::Booking };
        self.services.iter().filter(|service| service.kind() == kind).collect()
    }

    async fn until(&self, service: &Service, probe: &str) {
        let url = format!("http://{}/{probe}", service.ops());
        let what = format!("/{probe} of {} says yes", service.kind().program());
        within(START_LIMIT, &what, async || match self.http.get(&url).send().await {
            Ok(answer) if answer.status() == 200 => Ok(()),
            Ok(answer) => Err(answer.text().await.unwrap_or_default()),
            Err(error) => {
                assert!(!service.has_ended(), "{what}: it stopped:\n{}", service.log());
                Err(error.to_string())
            }
        })
        .await;
    }

    /// What is not in order at the end of a test.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for service in self.services.iter().filter(|service| service.has_ended()) {
            complaints.push(format!("{} has stopped itself", service.kind().program()));
        }
        let audit = self.admin().audit().await;
        if !self.sabotaged && (audit.status != 200 || audit["ok"] != true) {
            complaints.push(format!("the books are not in order: {audit:?}"));
        }
        match queue_service::audit_logs(&self.audited_redis, &self.stores.redis_prefix, None).await {
            Ok(audit) if audit.is_violated => complaints.extend(audit.words),
            Err(error) if !self.outages => complaints.push(format!("no admission log: {error:#}")),
            _ => {}
        }
        complaints.extend(self.failures());
        complaints
    }

    fn failures(&self) -> HashSet<String> {
        let failed = self.seen().into_iter().filter(|seen| {
            let business = seen.code.as_deref().is_some_and(|code| BUSINESS.contains(&code));
            seen.status == 500 || (seen.status > 500 && !business && !self.outages)
        });
        failed.map(|seen| format!("{seen:?}")).collect()
    }

    /// What the programs of this world have logged.
    pub(crate) fn program_logs(&self) -> Vec<String> {
        self.services.iter().map(Service::log).filter(|log| !log.is_empty()).collect()
    }

    pub(crate) async fn dismantle(&self) {
        for service in self.services.iter().rev() {
            service.stop().await;
        }
        self.stores.remove().await;
    }
}

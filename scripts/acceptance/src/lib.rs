//! The harness of the black-box tests: worlds, actors, answers.
//!
//! A test builds a [`World`] (both services, real Redis, real Postgres, everything in it fresh),
//! and lets actors do things over HTTP. It never looks into a store, but for a queue's admission log
//! and to damage the books, so that the audit has something to find.
//!
//! ```text
//!  World::s1().queue(json!({"max_active": 1})).run(async |world| {
//!      let (ann, bob) = (world.user("ann"), world.user("bob"));
//!      ann.enter().await;                                    // joins, polls until let in
//!      let hold = ann.reserve(world.date(), &[1, 2]).await.ok(201);
//!      bob.pay(&hold).await.refused(404, "reservation_not_found");
//!  });
//! ```
//!
//! What no test has to say, because every answer and every world is checked for it:
//! - an answer ≥ 400 is problem+json with all six members and the request's id; 429 and 503 carry
//!   `Retry-After`; nothing is 5xx unless the test has said [`Builder::with_outages`];
//! - no position rises, is 0 or negative, while a person keeps a place;
//! - at the end the books of the booking service are in order, the admission logs of all queues keep what
//!   was promised (order, rate, cap), and no service has stopped itself.
//!
//! `coverage` holds the services to their own OpenAPI documents, and those to the contract; `tidy` the
//! tree to the habits of the house. `TEST_REDIS_URL` and `TEST_DATABASE_URL` name the servers
//! (`scripts/test` sets both, and `TEST_REDIS_SERVER`, the program, and `TEST_POSTGRES_BIN`, the programs' folder, for
//! those tests that start servers of their own, and `TEST_FOLDER`, where they draw ports), `ACCEPTANCE_LOG=debug` shows what
//! the services log.
//!
//! Time: services read the world's [`Clock`](shared::clock::Clock); [`World::advance`] moves it,
//! and with it every deadline in Redis, Postgres and tokens. Effects that come by themselves (a
//! slot refilled, a completion delivered) are awaited with [`eventually`], never slept for.

#![expect(clippy::expect_used, clippy::panic, reason = "a harness fails by panicking")]

mod admin;
mod answer;
mod binaries;
mod books;
mod builder;
mod call;
mod events;
mod forge;
pub mod histories;
mod keys;
mod log;
mod patience;
mod places;
mod postgres_server;
mod proxy;
mod raw;
mod redis_cluster;
mod redis_sentinel;
mod redis_server;
mod service;
mod stores;
mod user;
mod wiring;
mod world;

pub use admin::Admin;
pub use answer::{Answer, is_uuid_v7};
pub use binaries::{binary, repository, run_to_end};
pub use books::{Books, SeatMap};
pub use builder::Builder;
pub use call::{Call, Seen, Side};
pub use events::{Event, Events};
pub use forge::{AUDIENCE, ISSUER, forged, signature_of_a_stranger};
pub use keys::{ADMIN_TOKEN, Keys, SERVICE_TOKEN, new_secret};
pub use log::Admissions;
pub use patience::{at_once, eventually, pause, within};
pub use places::{Concert, Date, PRICE};
pub use postgres_server::PostgresServer;
pub use proxy::Proxy;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use redis_server::RedisServer;
pub use user::{Row, User, read_claims};
pub use world::World;

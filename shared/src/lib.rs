//! What both services stand on.
//!
//! Entry test for this crate: both services use it today; it names no table, no Redis key and no
//! route of one service; and it is either a contract between the two ([`tokens`]) or plumbing
//! that every HTTP service has. Anything else lives in the service that needs it.
//!
//! | room | holds |
//! |---|---|
//! | [`clock`], [`ids`] | time and identifiers as parameters, so that tests can own them |
//! | [`problem`] | refusals: one [`problem::Code`] per named refusal, answered as problem+json |
//! | [`tokens`] | user tokens and entry tokens: sign, verify, key sets and their rotation |
//! | [`serve`] | listeners, the layer stack, graceful drain |
//! | [`extract`], [`page`], [`api`] | request parts that refuse in problem+json; lists; routes with their OpenAPI text |
//! | [`boot`], [`health`], [`lifecycle`], [`telemetry`] | readiness, start and stop, logs and metrics |
//! | [`limits`], [`secrets`] | rate limits, the secrets of the ops listener |
//! | [`coalesce`] | batching by arrival |

pub mod api;
pub mod boot;
pub mod clock;
pub mod coalesce;
pub mod extract;
pub mod health;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod page;
pub mod problem;
mod request;
pub mod secrets;
pub mod serve;
pub mod telemetry;
pub mod tokens;

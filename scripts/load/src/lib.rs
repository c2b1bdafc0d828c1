//! The load tool: what the load tests of the services and the benchmark are made of.
//!
//! ```text
//!   stand    starts a service, its keys, its settings; reads its memory and time; stops it
//!   tokens   what users show: signed here, before the clock runs
//!                │
//!   Work ──▶ arrivals (open loop: a rate)  ┐
//!    asks    closed   (closed loop: the    ├─▶ http (one connection each) ──▶ the service
//!    judges            most that goes)     ┘
//!                │
//!   tally    latency, outcomes, seconds ──▶ report (terminal, JSON, one HTML page)
//! ```
//!
//! ```text
//! let stand = Stand::new(Place::from_environment()?);
//! let queue = stand.queue(&[]).await?;                      // ready, on ports of its own
//! let polls = Arc::new(Prepared::new(requests));            // what is asked, in turn
//! let most = closed::run(queue.public(), 64, Duration::from_secs(5), &polls).await?;
//! let plan = Plan { connections: 64, ..Plan::new("20s@1000,5s@1000..5000,2s@5000".parse()?) };
//! let run = arrivals::run(queue.public(), &plan, &polls, &Live::default()).await?;
//! run.tally.percentile(99.0); run.rate(); run.tally.outcomes();
//! queue.stop().await?;
//! ```
//!
//! Latency of an open loop is counted from the moment at which the request was to start, also when all
//! connections were busy then: a service that stalls does not make its own test stop asking.

pub mod arrivals;
pub mod baseline;
pub mod bench;
pub mod booking_alone;
pub mod closed;
pub mod crowd;
pub mod http;
pub mod line;
pub mod outcome;
pub mod program;
pub mod queue_alone;
pub mod report;
pub mod sale;
pub mod schedule;
pub mod shop;
pub mod stand;
pub mod tally;
pub mod timeline;
pub mod tokens;
pub mod verdict;
pub mod work;

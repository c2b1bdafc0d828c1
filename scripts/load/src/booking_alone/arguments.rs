//! What the load test of the booking service is told.

use std::time::Duration;

use anyhow::ensure;

use super::QUEUE;
use crate::schedule::{Schedule, Segment};
use crate::shop::Terms;

/// A load test of the booking service alone.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "load-booking")]
pub struct Arguments {
    /// Shoppers who come in a second.
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Seconds in which they come.
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// The rate rises evenly from 0 to twice the mean; without this it stays.
    #[arg(long, conflicts_with = "spike")]
    pub ramp: bool,
    /// In the middle fifth of the time they come so many times as often.
    #[arg(long)]
    pub spike: Option<f64>,
    /// Dates to choose from.
    #[arg(long, default_value_t = 2)]
    pub halls: u32,
    /// Seats of each.
    #[arg(long, default_value_t = 5000)]
    pub seats: u32,
    /// Everybody wants one seat up to so many.
    #[arg(long, default_value_t = 3)]
    pub most_seats: usize,
    /// Share of shoppers who want one of the first seats on the map.
    #[arg(long, default_value_t = 0.1)]
    pub hot: f64,
    /// Share of shoppers who read the map before they choose, and again when they were refused.
    #[arg(long, default_value_t = 0.2)]
    pub map_readers: f64,
    /// Share of holds that are let go.
    #[arg(long, default_value_t = 0.1)]
    pub releases: f64,
    /// Share of holds that run out.
    #[arg(long, default_value_t = 0.05)]
    pub forgets: f64,
    /// Share of payments that are refunded.
    #[arg(long, default_value_t = 0.1)]
    pub refunds: f64,
    /// Before paying, letting go or refunding, in milliseconds on the average.
    #[arg(long, default_value_t = 500)]
    pub think_ms: u64,
    /// How long seats are held.
    #[arg(long, default_value_t = 5)]
    pub hold_seconds: u32,
    /// Of each seat, in points.
    #[arg(long, default_value_t = 10_000)]
    pub price: i64,
    /// Replicas of the service; requests go to them in turn.
    #[arg(long, default_value_t = 1)]
    pub replicas: usize,
    /// Connections to each replica.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Objective: percentile 99 of a hold, in milliseconds.
    #[arg(long, default_value_t = 100.0)]
    pub hold_p99_ms: f64,
    /// Objective: percentile 99 of a payment, in milliseconds.
    #[arg(long, default_value_t = 100.0)]
    pub pay_p99_ms: f64,
    /// Objective: percentile 99 of a seat map, in milliseconds.
    #[arg(long, default_value_t = 250.0)]
    pub map_p99_ms: f64,
    /// Objective: errors (5xx, silence, wrong answers) in a thousand requests.
    #[arg(long, default_value_t = 1.0)]
    pub errors_per_thousand: f64,
    /// A few seconds with small halls: to see that it works.
    #[arg(long)]
    pub quick: bool,
}

impl Arguments {
    /// What everybody charges.
    pub fn points(&self) -> i64 {
        self.price * i64::try_from(self.most_seats).unwrap_or(1)
    }

    pub fn think(&self) -> Duration {
        Duration::from_millis(self.think_ms).mul_f64(rand::random_range(0.5..1.5))
    }

    /// Refuses what cannot be.
    pub fn sized(mut self) -> anyhow::Result<Self> {
        if self.quick {
            (self.seconds, self.seats, self.hold_seconds) = (5.0, 500, 2);
        }
        let shares = [self.hot, self.map_readers, self.releases, self.forgets, self.refunds];
        ensure!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "a share is from 0 to 1");
        ensure!((1..=4).contains(&self.most_seats), "--most-seats is 1 to 4");
        ensure!(
            (1..=100).contains(&self.halls) && (1..=200_000).contains(&self.seats),
            "too many halls or seats"
        );
        ensure!(self.seconds > 0.0 && self.seconds <= 3600.0, "--seconds is up to 3600");
        ensure!((1..=16).contains(&self.replicas), "--replicas is 1 to 16");
        ensure!(
            self.rate > 0.0 && self.rate * self.seconds <= 1e6,
            "--rate for --seconds is up to 1,000,000 shoppers"
        );
        ensure!(self.spike.is_none_or(|times| (0.0..=1000.0).contains(&times)), "--spike is up to 1000");
        ensure!((1..=100_000_000).contains(&self.points()), "--price is out of range");
        Ok(self)
    }

    /// When shoppers come.
    pub fn arrivals(&self) -> Schedule {
        let segment = |share: f64, from: f64, to: f64| Segment {
            seconds: self.seconds * share,
            rate: (self.rate * from, self.rate * to),
        };
        let segments = match self.spike {
            Some(times) => vec![segment(0.4, 1.0, 1.0), segment(0.2, times, times), segment(0.4, 1.0, 1.0)],
            None if self.ramp => vec![segment(1.0, 0.0, 2.0)],
            None => vec![segment(1.0, 1.0, 1.0)],
        };
        Schedule { segments }
    }

    pub fn terms(&self) -> Terms {
        Terms {
            queue: QUEUE,
            halls: self.halls,
            seats: self.seats,
            price: self.price,
            hold_seconds: self.hold_seconds,
            replicas: self.replicas,
        }
    }
}

//! Rate limits per address and per user, in requests per second; 0 turns one off.
//!
//! Each replica counts for itself: the limits shield a process from one greedy client, they are
//! not what keeps the sale fair (that is the queue). A burst of one second's worth is allowed.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use axum::http::HeaderMap;
use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::problem::{Problem, codes};

/// Settings of the limits.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitsConfig {
    /// Requests per second allowed to one client address; 0 = no limit.
    #[arg(long, env = "RATE_LIMIT_PER_ADDRESS", default_value_t = 0)]
    pub rate_limit_per_address: u32,
    /// Requests per second allowed to one user; 0 = no limit.
    #[arg(long, env = "RATE_LIMIT_PER_USER", default_value_t = 0)]
    pub rate_limit_per_user: u32,
    /// How many reverse proxies in front append to X-Forwarded-For and are trusted; 0 = none.
    #[arg(long, env = "TRUSTED_PROXY_HOPS", default_value_t = 0)]
    pub trusted_proxy_hops: usize,
}

/// The counters of one process.
pub struct Limits {
    per_address: Option<DefaultKeyedRateLimiter<IpAddr>>,
    per_user: Option<DefaultKeyedRateLimiter<String>>,
    trusted_proxy_hops: usize,
}

impl Limits {
    /// Counters as configured.
    pub fn new(config: &LimitsConfig) -> Self {
        let quota = |per_second| NonZeroU32::new(per_second).map(Quota::per_second);
        Self {
            per_address: quota(config.rate_limit_per_address).map(RateLimiter::keyed),
            per_user: quota(config.rate_limit_per_user).map(RateLimiter::keyed),
            trusted_proxy_hops: config.trusted_proxy_hops,
        }
    }

    /// Counts a request of the client behind `peer`.
    pub fn check_address(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(limiter) = &self.per_address else { return Ok(()) };
        let client = client_address(peer, headers, self.trusted_proxy_hops);
        check(limiter, &client, "from this address")
    }

    /// Counts a request of `user`.
    pub fn check_user(&self, user: &str) -> Result<(), Problem> {
        let Some(limiter) = &self.per_user else { return Ok(()) };
        check(limiter, &user.to_owned(), "of this user")
    }

    /// Forgets clients that have been quiet; call now and then.
    pub fn forget_quiet(&self) {
        if let Some(limiter) = &self.per_address {
            limiter.retain_recent();
        }
        if let Some(limiter) = &self.per_user {
            limiter.retain_recent();
        }
    }
}

fn check<K: std::hash::Hash + Eq + Clone>(
    limiter: &DefaultKeyedRateLimiter<K>,
    key: &K,
    whose: &str,
) -> Result<(), Problem> {
    limiter.check_key(key).map_err(|until| {
        let wait = until.wait_time_from(governor::clock::DefaultClock::default().now());
        let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Problem::new(&codes::RATE_LIMITED, format!("There are too many requests {whose}."))
            .retry_after(seconds)
    })
}

/// The address to count: the peer, or what the outermost trusted proxy saw. An IPv6 client is its
/// /64, which is what one subscriber is given.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted_hops: usize) -> IpAddr {
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let seen = match trusted_hops {
        0 => None,
        hops => forwarded.len().checked_sub(hops).and_then(|at| address(forwarded[at].trim())),
    };
    match seen.unwrap_or(peer).to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// An address as proxies write it, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|peer: std::net::SocketAddr| peer.ip());
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(forwarded: &str) -> HeaderMap {
        HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), forwarded.parse().unwrap())])
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let forged = headers("6.6.6.6, 203.0.113.9");
        assert_eq!(client_address(peer, &forged, 0), peer);
        assert_eq!(client_address(peer, &forged, 1).to_string(), "203.0.113.9");
        assert_eq!(client_address(peer, &HeaderMap::new(), 1), peer);
        let with_port = headers("6.6.6.6, 203.0.113.9:4711");
        assert_eq!(client_address(peer, &with_port, 1).to_string(), "203.0.113.9");
        assert_eq!(client_address(peer, &headers("6.6.6.6, unknown"), 1), peer);
    }

    #[test]
    fn the_request_past_the_limit_is_refused_and_others_are_not() {
        let limits = Limits::new(&LimitsConfig {
            rate_limit_per_address: 0,
            rate_limit_per_user: 3,
            trusted_proxy_hops: 0,
        });
        assert!((0..3).all(|_| limits.check_user("a").is_ok()));
        assert!(limits.check_user("a").is_err());
        assert!(limits.check_user("b").is_ok());
    }
}

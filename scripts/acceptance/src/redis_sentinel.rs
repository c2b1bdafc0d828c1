//! A master, two replicas, and three sentinels that watch them; each kind with a password of its own.

use std::time::Duration;

use futures_util::future::join_all;
use redis::RedisResult;

use crate::patience::within;
use crate::redis_server::{RedisServer, command};

const LIMIT: Duration = Duration::from_secs(20);
/// With what a URL would be read wrong at.
const PASSWORD: &str = "p@ss:w/rd,1";
const PASSWORD_IN_URL: &str = "p%40ss%3Aw%2Frd%2C1";
const SENTINEL_PASSWORD: &str = "s&p=1";
const SENTINEL_PASSWORD_IN_URL: &str = "s%26p%3D1";

/// Six servers.
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Starts the servers and waits until all know each other.
    pub async fn start() -> Self {
        let settings = [
            ("requirepass", PASSWORD),
            ("masterauth", PASSWORD),
            ("repl-diskless-sync-delay", "0"),
            ("appendonly", "no"),
            ("save", ""),
        ];
        let master = RedisServer::start(&settings).await;
        let replica_of = format!("127.0.0.1 {}", master.port());
        let replicas = join_all((0..2).map(async |_| {
            let mut settings = settings.to_vec();
            settings.push(("replicaof", &replica_of));
            RedisServer::start(&settings).await
        }));
        let mut servers = vec![master];
        servers.extend(replicas.await);
        let configuration = format!(
            "sentinel monitor tickets 127.0.0.1 {} 2\n\
             sentinel auth-pass tickets {PASSWORD}\n\
             sentinel sentinel-pass {SENTINEL_PASSWORD}\n\
             sentinel down-after-milliseconds tickets 1000\n\
             sentinel failover-timeout tickets 6000\n\
             sentinel parallel-syncs tickets 2\n",
            servers[0].port()
        );
        let sentinels = (0..3).map(async |_| {
            RedisServer::sentinel(&configuration, &[("requirepass", SENTINEL_PASSWORD)]).await
        });
        let trio = Self { sentinels: join_all(sentinels).await, servers };
        trio.until_known().await;
        trio
    }

    async fn until_known(&self) {
        for sentinel in &self.sentinels {
            within(LIMIT, "a sentinel knows all others", async || {
                let known: Vec<String> = sentinel.say(&["SENTINEL", "MASTER", "tickets"]).await;
                let number = |name: &str| {
                    let at = known.iter().position(|found| found == name);
                    at.and_then(|at| known.get(at + 1)).map_or("", String::as_str)
                };
                let all = (number("num-slaves"), number("num-other-sentinels"), number("flags"));
                if all == ("2", "2", "master") { Ok(()) } else { Err(format!("{all:?}")) }
            })
            .await;
        }
    }

    /// `REDIS_URL` of the master that the sentinels know.
    pub fn url(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(RedisServer::address).collect();
        let sentinels = sentinels.join(",");
        let password = format!("sentinel_password={SENTINEL_PASSWORD_IN_URL}");
        format!("redis+sentinel://:{PASSWORD_IN_URL}@{sentinels}/tickets/0?{password}")
    }

    /// Waits until the replicas have all that the first master has written up to now.
    pub async fn until_replicated(&self) {
        for replica in &self.servers[1..] {
            replica.catch_up_with(&self.servers[0]).await;
        }
    }

    /// From now on the replicas hear nothing of the first master: it does not know their password any more.
    pub async fn cut_replication(&self) {
        for replica in &self.servers[1..] {
            replica.say::<()>(&["CONFIG", "SET", "masterauth", "forgotten"]).await;
            replica.say::<u64>(&["CLIENT", "KILL", "TYPE", "master"]).await;
            within(LIMIT, "a replica has lost its master", async || {
                let link = replica.info("replication", "master_link_status").await;
                if link == "down" { Ok(()) } else { Err(link) }
            })
            .await;
        }
    }

    /// Ends [`RedisSentinel::cut_replication`], when the first master is dead: who is not promoted follows who is. Else a second
    /// failover, which sentinels on a busy machine try at times, would lose all that came after the first.
    pub async fn mend_replication(&self) {
        for replica in &self.servers[1..] {
            replica.say::<()>(&["CONFIG", "SET", "masterauth", PASSWORD]).await;
        }
    }

    /// Kills the first master.
    pub fn kill_master(&self) {
        self.servers[0].kill();
    }

    /// Stalls the first master.
    pub async fn stall_master(&self) {
        self.servers[0].stall().await;
    }

    /// Lets the sentinels put another in the master's place while it lives; it becomes a replica.
    pub async fn demote_master(&self) {
        within(LIMIT, "a sentinel begins a failover", async || {
            let begun: RedisResult<()> =
                self.sentinels[0].ask(&command(&["SENTINEL", "FAILOVER", "tickets"])).await;
            begun.map_err(|error| error.to_string())
        })
        .await;
        within(LIMIT, "the first master is a replica", async || {
            let role = self.servers[0].info("replication", "role").await;
            if role == "slave" { Ok(()) } else { Err(role) }
        })
        .await;
    }
}

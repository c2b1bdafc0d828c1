//! A Redis Cluster of three masters and three replicas, made by its own commands.

use std::time::Duration;

use futures_util::future::join_all;

use crate::patience::within;
use crate::redis_server::RedisServer;
use crate::service::free_port;

const SLOTS: usize = 16_384;
const MASTERS: usize = 3;
const LIMIT: Duration = Duration::from_secs(20);

/// Six servers: three masters, then a replica of each.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the servers, joins them, and waits until every one is where it belongs.
    pub async fn start() -> Self {
        let nodes = join_all((0..2 * MASTERS).map(async |_| {
            let bus = free_port().port().to_string();
            RedisServer::start(&[
                ("cluster-enabled", "yes"),
                ("cluster-port", &bus),
                ("cluster-node-timeout", "2000"),
                ("cluster-replica-validity-factor", "0"),
                ("cluster-require-full-coverage", "no"),
                ("repl-diskless-sync-delay", "0"),
                ("appendonly", "no"),
                ("save", ""),
            ])
            .await
        }));
        let cluster = Self { nodes: nodes.await };
        cluster.join().await;
        cluster
    }

    async fn join(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            node.say::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
            if number < MASTERS {
                let (first, next) = (number * SLOTS / MASTERS, (number + 1) * SLOTS / MASTERS);
                let range = [first.to_string(), (next - 1).to_string()];
                node.say::<()>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
            }
        }
        let port = self.nodes[0].port().to_string();
        let bus: (String, String) = self.nodes[0].say(&["CONFIG", "GET", "cluster-port"]).await;
        for node in &self.nodes[1..] {
            node.say::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus.1]).await;
        }
        for (number, replica) in self.nodes.iter().enumerate().skip(MASTERS) {
            let master: String = self.nodes[number - MASTERS].say(&["CLUSTER", "MYID"]).await;
            within(LIMIT, "a replica knows its master", async || {
                let command = crate::redis_server::command(&["CLUSTER", "REPLICATE", &master]);
                replica.ask::<()>(&command).await.map_err(|error| error.to_string())
            })
            .await;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            within(LIMIT, "the cluster is whole", async || {
                let known: String = node.say(&["CLUSTER", "NODES"]).await;
                let slaves = known.lines().filter(|line| line.contains("slave")).count();
                let state: String = node.say(&["CLUSTER", "INFO"]).await;
                let linked = number < MASTERS || node.info("replication", "master_link_status").await == "up";
                let whole = linked && slaves == MASTERS && state.contains("cluster_state:ok");
                if whole { Ok(()) } else { Err(format!("{known}{state}")) }
            })
            .await;
        }
    }

    /// `REDIS_URL` of the cluster; one node would do, and the rest is found.
    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().take(2).map(RedisServer::address).collect();
        format!("redis+cluster://{}/", nodes.join(","))
    }

    /// Names of the form `stem-number` whose queues lie on the three masters, so many on each.
    pub async fn names(&self, stem: &str, on_each: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut missing = [on_each; MASTERS];
        for number in 0.. {
            let name = format!("{stem}-{number}");
            let master = self.master_of(&name).await;
            if missing[master] > 0 {
                missing[master] -= 1;
                names.push(name);
            }
            if missing == [0; MASTERS] {
                break;
            }
        }
        names
    }

    /// The number of the master that a queue was on at the beginning.
    pub async fn master_of(&self, queue: &str) -> usize {
        let slot: usize = self.nodes[0].say(&["CLUSTER", "KEYSLOT", &format!("{{q:{queue}}}")]).await;
        (0..MASTERS).rfind(|number| number * SLOTS / MASTERS <= slot).unwrap_or_default()
    }

    /// Moves the slot of a queue to another master as an operator does; `meanwhile` when its keys have gone
    /// over and the slot has not.
    pub async fn move_queue(&self, queue: &str, to: usize, meanwhile: impl AsyncFnOnce()) {
        let slot: usize = self.nodes[0].say(&["CLUSTER", "KEYSLOT", &format!("{{q:{queue}}}")]).await;
        let (slot, from, to) = (slot.to_string(), &self.nodes[self.master_of(queue).await], &self.nodes[to]);
        let (from_id, to_id) = (from.say(&["CLUSTER", "MYID"]).await, to.say(&["CLUSTER", "MYID"]).await);
        let (from_id, to_id): (String, String) = (from_id, to_id);
        to.say::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        from.say::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        let port = to.port().to_string();
        within(LIMIT, "all keys have moved", async || {
            let keys: Vec<String> = from.say(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
            for key in &keys {
                from.say::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
            }
            if keys.is_empty() { Ok(()) } else { Err(format!("{keys:?}")) }
        })
        .await;
        meanwhile().await;
        for node in [to, from].into_iter().chain(&self.nodes[..MASTERS]) {
            node.say::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
        }
    }

    /// One of the six: 0 to 2 the masters, 3 to 5 their replicas.
    pub fn node(&self, number: usize) -> &RedisServer {
        &self.nodes[number]
    }

    /// The replica of that master.
    pub fn replica_of(&self, master: usize) -> &RedisServer {
        &self.nodes[master + MASTERS]
    }
}

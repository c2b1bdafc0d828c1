//! A real Redis Cluster and a real trio of sentinels: everything works on them, and goes on after a
//! master has died; nobody who was replicated is lost, and the limits hold.

use std::time::Duration;

use acceptance::{Answer, Builder, RedisCluster, RedisSentinel, Side, User, World, eventually, within};
use serde_json::{Value, json};

/// A failover takes a few seconds; the machine may be busy.
const FAILOVER: Duration = Duration::from_secs(20);

fn run<T>(start: impl Future<Output = T>, url: impl Fn(&T) -> String, test: impl AsyncFnOnce(&World, &T)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let servers = runtime.unwrap().block_on(start);
    world(url(&servers)).run(async |world| test(world, &servers).await);
}

fn world(url: String) -> Builder {
    World::s1().queue(settings()).replicas(2).with_outages().redis(url)
}

/// Two at a time, nobody silent, nobody let in by a timer of ours.
fn settings() -> Value {
    json!({
        "admission": { "users": 2, "every_seconds": 1 }, "max_active": 2, "instant_admission": false,
        "waiting_ttl_seconds": 0, "claim_window_seconds": 600,
    })
}

/// People in front of one queue, in the order of joining.
struct Crowd<'w> {
    world: &'w World,
    queue: String,
    people: Vec<User<'w>>,
}

impl<'w> Crowd<'w> {
    /// Makes the queue, and a line of six of whom two are let in.
    async fn gather(world: &'w World, queue: &str) -> Self {
        world.admin().put_queue(queue, &settings()).await;
        let people: Vec<_> =
            (0..6).map(|number| world.user(&format!("{queue}-{number}")).at(queue)).collect();
        for person in &people {
            person.join().await.ok(201);
        }
        let crowd = Self { world, queue: queue.to_owned(), people };
        crowd.active(0).await;
        crowd.active(1).await;
        for (number, position) in (2..6).zip(1..) {
            assert_eq!(crowd.people[number].poll().await.ok(200)["position"], position);
        }
        crowd
    }

    /// Waits until that person is let in.
    async fn active(&self, number: usize) {
        self.soon(&format!("{number} is let in"), async || {
            let answer = self.people[number].poll().await;
            if answer["status"] == "active" { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }

    async fn soon<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
        within(FAILOVER, &format!("{}: {what}", self.queue), async || {
            let report = self.world.admin().queue(&self.queue).await;
            assert!(report.status != 200 || report.int("active") <= 2, "too many: {report:?}");
            look().await
        })
        .await
    }

    /// Everything once: completion, leaving, revocation, pause, resume. 2 and 3 are active afterwards,
    /// 4 and 5 are in line, and a newcomer behind them.
    async fn live(&self) {
        let (world, people) = (self.world, &self.people);
        let jti = people[0].claims().jti;
        world.admin().pause(&self.queue).await.ok(200);
        let completed = world.admin().complete(&self.queue, std::slice::from_ref(&jti)).await.ok(200);
        assert_eq!(completed["released"], 1);
        people[0].poll().await.refused(410, "token_completed");
        assert_eq!(people[2].poll().await.ok(200)["status"], "waiting");
        world.admin().resume(&self.queue).await.ok(200);
        self.active(2).await;
        let revoked = people[1].claims().jti;
        people[1].leave().await.ok(204);
        people[1].poll().await.refused(410, "token_left");
        self.active(3).await;
        let feed = world.admin().revocations("limit=200").await.ok(200);
        assert!(feed.list("items").iter().any(|item| item["jti"] == revoked.as_str()), "{feed:?}");
        let late = world.user(&format!("{}-late", self.queue)).at(&self.queue);
        assert_eq!(late.join().await.ok(201)["position"], 3);
        assert_eq!(late.poll_as_user().await.ok(200)["position"], 3);
    }

    /// After a master has died: the same places, the same admissions, and the line moves on.
    async fn go_on(&self) {
        for (number, position) in [(4, 1), (5, 2)] {
            let poll = self.soon("polls are answered", async || answered(self.people[number].poll().await));
            assert_eq!(poll.await["position"], position, "{}", self.queue);
        }
        for number in [2, 3] {
            let claims = self.people[number].claims();
            let poll = self.soon("polls are answered", async || answered(self.people[number].poll().await));
            assert_eq!(poll.await["status"], "active", "{}", self.queue);
            assert_eq!(self.people[number].claims(), claims);
        }
        let newcomer = self.world.user(&format!("{}-new", self.queue)).at(&self.queue);
        let joined = self.soon("joins are answered", async || answered(newcomer.join().await)).await;
        assert_eq!(joined["position"], 4, "{joined:?}");
        let jti = [self.people[2].claims().jti];
        self.soon("a completion is taken", async || {
            answered(self.world.admin().complete(&self.queue, &jti).await)
        })
        .await;
        self.active(4).await;
        assert_eq!(self.people[5].poll().await.ok(200)["status"], "waiting");
    }
}

/// A business answer; else what to wait for the end of.
fn answered(answer: Answer) -> Result<Answer, String> {
    if answer.status == 503 { Err(format!("{answer:?}")) } else { Ok(answer) }
}

async fn readiness(world: &World, status: u16) {
    for replica in 0..2 {
        within(FAILOVER, &format!("readiness is {status}"), async || {
            let ready = world.get(Side::QueueOps, "/readyz").on(replica).await;
            if ready.status == status { Ok(()) } else { Err(format!("{ready:?}")) }
        })
        .await;
    }
}

#[test]
fn queues_of_all_shards_go_on_after_a_master_of_a_cluster_has_died() {
    run(RedisCluster::start(), RedisCluster::url, async |world, cluster| {
        let mut crowds = Vec::new();
        for queue in cluster.names("hall", 1).await {
            crowds.push(Crowd::gather(world, &queue).await);
        }
        for crowd in &crowds {
            crowd.live().await;
        }
        let listed = world.admin().call(Side::QueueOps, "GET", "/admin/v1/queues").await.ok(200);
        assert_eq!(listed.list("items").len(), crowds.len() + 1);
        let dying = cluster.master_of(&crowds[0].queue).await;
        cluster.replica_of(dying).catch_up_with(cluster.node(dying)).await;
        cluster.node(dying).kill();
        for crowd in &crowds {
            crowd.go_on().await;
        }
        readiness(world, 200).await;
        // With the replica its slots are gone, and the cluster was told not to serve without all of them.
        for number in (0..6).filter(|number| *number != dying) {
            let node = cluster.node(number);
            node.say::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "yes"]).await;
        }
        cluster.replica_of(dying).kill();
        readiness(world, 503).await;
    });
}

/// A script needs all keys of its queue in one place, so on their way the queue is unavailable, no more.
#[test]
fn a_queue_is_moved_to_another_master_of_a_cluster() {
    run(RedisCluster::start(), RedisCluster::url, async |world, cluster| {
        let crowd = Crowd::gather(world, "hall").await;
        crowd.live().await;
        let to = (cluster.master_of("hall").await + 1) % 3;
        cluster
            .move_queue("hall", to, async || {
                world.user("stranger").at("hall").join().await.refused(503, "unavailable");
                // Who is in line is answered for, as long as what the replicas know is not too old.
                eventually("what is known is too old to tell", async || {
                    let answer = crowd.people[4].poll().await;
                    if answer.code() == Some("unavailable") { Ok(()) } else { Err(format!("{answer:?}")) }
                })
                .await;
            })
            .await;
        crowd.go_on().await;
    });
}

#[test]
fn the_line_goes_on_after_the_master_of_sentinels_has_died() {
    run(RedisSentinel::start(), RedisSentinel::url, async |world, servers| {
        let crowds = [Crowd::gather(world, "east").await, Crowd::gather(world, "west").await];
        for crowd in &crowds {
            crowd.live().await;
        }
        servers.until_replicated().await;
        servers.kill_master();
        readiness(world, 503).await;
        for crowd in &crowds {
            crowd.go_on().await;
        }
        readiness(world, 200).await;
    });
}

/// As when its machine or its network is gone: nothing is refused, there is only silence
#[test]
fn queues_go_on_after_a_master_of_a_cluster_has_fallen_silent() {
    run(RedisCluster::start(), RedisCluster::url, async |world, cluster| {
        let mut crowds = Vec::new();
        for queue in cluster.names("hall", 1).await {
            crowds.push(Crowd::gather(world, &queue).await);
        }
        for crowd in &crowds {
            crowd.live().await;
        }
        let dying = cluster.master_of(&crowds[0].queue).await;
        cluster.replica_of(dying).catch_up_with(cluster.node(dying)).await;
        cluster.node(dying).stall().await;
        for crowd in &crowds {
            crowd.go_on().await;
        }
    });
}

/// The sentinels put another in its place while it lives and takes commands
#[test]
fn the_line_goes_on_after_the_master_of_sentinels_was_demoted() {
    run(RedisSentinel::start(), RedisSentinel::url, async |world, servers| {
        let crowd = Crowd::gather(world, "east").await;
        crowd.live().await;
        servers.until_replicated().await;
        servers.demote_master().await;
        crowd.go_on().await;
        readiness(world, 200).await;
    });
}

#[test]
fn the_line_goes_on_after_the_master_of_sentinels_has_fallen_silent() {
    run(RedisSentinel::start(), RedisSentinel::url, async |world, servers| {
        let crowd = Crowd::gather(world, "east").await;
        crowd.live().await;
        servers.until_replicated().await;
        servers.stall_master().await;
        crowd.go_on().await;
        readiness(world, 200).await;
    });
}

//! One, two and four replicas, the real programs, one of them killed while people wait, are let in and shop:
//! nobody lost, nobody twice, the order and the limits kept. Requirements 33, 34, 66.

use acceptance::{Side, World, pause};
use serde_json::json;

use crate::crowd::{Crowd, Limits};

const LIMITS: Limits = Limits { users: 4, every_seconds: 1, cap: 10 };

#[test]
fn the_only_replica_dies_and_comes_back() {
    kill_one_of(1);
}

#[test]
fn one_of_two_replicas_dies() {
    kill_one_of(2);
}

#[test]
fn one_of_four_replicas_dies() {
    kill_one_of(4);
}

fn kill_one_of(replicas: usize) {
    let settings = LIMITS.settings(json!({ "entry_ttl_seconds": 2, "waiting_ttl_seconds": 6 }));
    World::s1().queue(settings).replicas(replicas).programs().with_outages().run(async |world| {
        let crowd = Crowd::new(world, LIMITS, 32, replicas);
        crowd
            .live(async {
                crowd.join(28).await;
                crowd.until_let_in(8).await;
                world.kill_replica(Side::Queue, 0).await;
                if replicas > 1 {
                    crowd.join(2).await;
                    crowd.until_let_in(16).await;
                }
                pause(500).await;
                world.start_replica_again(Side::Queue, 0).await;
                crowd.join(32 - if replicas > 1 { 30 } else { 28 }).await;
            })
            .await;
        assert_eq!(crowd.entries().len(), 32);
    });
}

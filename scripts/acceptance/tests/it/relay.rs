//! The way back to the queue, with both services: what it must not delay, and that it arrives once.

use std::time::Duration;

use acceptance::{PRICE, World, at_once, within};
use serde_json::json;

const PEOPLE: usize = 12;

/// A queue service that hangs takes no connection away from those who pay.
#[test]
fn payments_go_on_while_the_queue_service_hangs_and_are_all_told_in_the_end() {
    let world = World::s2().open_door().with_outages();
    world.booking_flags(&["--database-max-connections", "2"]).run(async |world| {
        let people = world.users("person", PEOPLE);
        for person in &people {
            person.enter().await;
            person.charge(PRICE).await.ok(201);
        }
        let queue = world.queue_ops.as_ref().expect("this world has proxies");
        queue.stall();
        let buying = people.iter().zip(1..).map(async |(person, seat)| {
            let hold = person.reserve(world.date(), &[seat]).await.ok(201);
            person.pay(&hold).await.ok(201);
        });
        at_once(buying).await;
        assert_eq!(world.admin().report(world.date()).await.ok(200)["sold"], PEOPLE);
        // Nothing that was told meanwhile can have been heard.
        queue.mend();
        within(Duration::from_secs(30), "all are told", async || {
            let completed = world.admin().queue("main").await;
            let expected = json!(PEOPLE);
            if completed["completed_total"] == expected { Ok(()) } else { Err(format!("{completed:?}")) }
        })
        .await;
    });
}

/// Two replicas of each, and payments from all sides: every slot goes back, none twice.
#[test]
fn replicas_tell_every_payment_once_in_effect() {
    World::s1().open_door().replicas(2).run(async |world| {
        let people = world.users("person", PEOPLE);
        at_once(people.iter().zip(1..).map(async |(person, seat)| {
            person.enter().await;
            person.charge(PRICE).await.ok(201);
            let hold = person.reserve(world.date(), &[seat]).await.ok(201);
            person.pay(&hold).await.ok(201);
        }))
        .await;
        world.admin().until_completed(i64::try_from(PEOPLE).unwrap()).await;
        assert_eq!(world.admin().number("active").await, 0);
    });
}

//! Entry tokens at the booking service when the queue service is away, and tokens that are remembered.

use std::time::Duration;

use acceptance::{PRICE, Side, User, World, within};

const SOON: Duration = Duration::from_secs(20);

/// The service starts without the queue service when its keys are given by file
#[test]
fn with_keys_by_file_booking_starts_and_sells_without_the_queue_service() {
    World::s1().entry_keys_by_file().programs().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        bob.enter().await;
        world.kill(Side::Queue).await;
        world.kill(Side::Booking).await;
        world.start_again(Side::Booking).await; // waits for /readyz
        ann.dates(world.concert()).await.ok(200);
        ann.seats(world.date()).await.ok(200);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        ann.reserve(world.date(), &[2]).await.refused(401, "entry_token_completed");
        let other = bob.reserve(world.date(), &[2]).await.ok(201);
        bob.cancel(&other).await.ok(204);
        assert_eq!(ann.history().await.len(), 2);
        world.start_again(Side::Queue).await;
        within(SOON, "the completion has arrived", async || {
            let queue = world.admin().queue("main").await.ok(200);
            if queue["completed_total"] == 1 { Ok(()) } else { Err(format!("{queue:?}")) }
        })
        .await;
    });
}

/// With keys by URL it starts, says what it lacks, and works when they come
#[test]
fn with_keys_by_url_booking_waits_for_them_and_needs_no_restart() {
    World::s1().programs().with_outages().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        world.kill(Side::Queue).await;
        world.kill(Side::Booking).await;
        world.start_again_unready(Side::Booking).await;
        let ready = world.get(Side::BookingOps, "/readyz").await;
        ready.clone().refused(503, "unavailable");
        assert!(ready.text.contains("entry_keys"), "{ready:?}");
        ann.seats(world.date()).await.refused(503, "unavailable");
        ann.reserve(world.date(), &[1]).await.refused(503, "unavailable");
        // What needs no entry token works.
        ann.charge(PRICE).await.ok(201);
        assert_eq!(ann.balance().await, PRICE);
        world.start_again(Side::Queue).await;
        within(SOON, "the tokens are taken", async || {
            let seats = ann.seats(world.date()).await;
            if seats.status == 200 { Ok(()) } else { Err(format!("{seats:?}")) }
        })
        .await;
        world.get(Side::BookingOps, "/readyz").await.ok(200);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
    });
}

/// A token that both replicas have verified and remembered
async fn opens_everywhere(world: &World, user: &User<'_>) {
    for replica in [0, 1] {
        for _ in 0..2 {
            let path = format!("/v1/schedules/{}/seats", world.date().id);
            world.get(Side::Booking, &path).bearer(&user.entry_token()).on(replica).await.ok(200);
        }
    }
}

async fn refused_everywhere(world: &World, user: &User<'_>, outcome: &str) {
    within(Duration::from_secs(2), &format!("both replicas say {outcome}"), async || {
        for replica in [0, 1] {
            let path = format!("/v1/schedules/{}/seats", world.date().id);
            let answer = world.get(Side::Booking, &path).bearer(&user.entry_token()).on(replica).await;
            if answer.outcome() != outcome {
                return Err(format!("{answer:?}"));
            }
        }
        Ok(())
    })
    .await;
}

#[test]
fn a_remembered_token_is_refused_on_every_replica_once_it_is_spent_revoked_or_expired() {
    World::s1().replicas(2).run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        for person in [&ann, &bob, &cem] {
            person.enter().await;
            person.charge(PRICE).await.ok(201);
            opens_everywhere(world, person).await;
        }
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        for replica in [0, 1] {
            let body = serde_json::json!({ "schedule_id": world.date().id, "seat_numbers": [5] });
            let call = world.call(Side::Booking, "POST", "/v1/reservations").bearer(&ann.entry_token());
            call.on(replica).json(&body).await.refused(401, "entry_token_completed");
        }
        refused_everywhere(world, &ann, "401 entry_token_completed").await;
        bob.leave().await.ok(204);
        refused_everywhere(world, &bob, "401 entry_token_revoked").await;
        opens_everywhere(world, &cem).await;
        world.advance_seconds(601);
        refused_everywhere(world, &cem, "401 entry_token_expired").await;
    });
}

//! A request that its client gives up leaves nothing behind on the connection to the database. Found by
//! `operations_whose_answers_are_lost_have_an_order`; here in its smallest form.

use std::time::Duration;

use acceptance::{Side, User, World, at_once};

const LONG_ENOUGH_TO_BEGIN: Duration = Duration::from_millis(250);

/// With the database held up, requests get as far as `begin` and are given up; when it goes on, the
/// connections carry the next requests.
#[test]
fn what_is_answered_after_others_gave_up_stays_done() {
    let world = World::s4().gated("").with_outages().booking_flags(&["--database-max-connections", "2"]);
    world.run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        for seat in 1..=6 {
            let hold = ann.reserve(world.date(), &[seat]).await.ok(201);
            let postgres = world.postgres.as_ref().unwrap();
            postgres.stall();
            at_once((0..4).map(|_| give_up(world, &bob))).await;
            postgres.mend();
            ann.cancel(&hold).await.ok(204);
            // Each of these ends what it finds open on its connection.
            at_once(
                (0..4).map(async |_| pay_nothing(world, &bob).await.refused(404, "reservation_not_found")),
            )
            .await;
            assert_eq!(ann.reservation(&hold).await.ok(200)["status"], "cancelled", "seat {seat}");
        }
    });
}

async fn give_up(world: &World, user: &User<'_>) {
    let paid = tokio::time::timeout(LONG_ENOUGH_TO_BEGIN, pay_nothing(world, user).into_future()).await;
    assert!(paid.is_err(), "the database was held up: {paid:?}");
}

fn pay_nothing<'w>(world: &'w World, user: &User<'w>) -> acceptance::Call<'w> {
    let body = serde_json::json!({ "reservation_id": world.unknown_id() });
    user.call(Side::Booking, "POST", "/v1/payments").json(&body)
}

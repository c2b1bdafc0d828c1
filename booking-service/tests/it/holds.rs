//! Holds that meet a transaction half-way: the test's own connection is that transaction, and stays so for as
//! long as it takes. What the public sees of holds is tested in `scripts/acceptance`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::harness::{Shop, run, until};

const SOMEBODY_WAITS: &str = "exists (select 1 from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock')";

async fn extend(shop: &Shop, hold: &str) -> (u16, Value) {
    shop.call("ann", Method::POST, &format!("/v1/reservations/{hold}/extend"), None).await
}

/// How the seats and the reservation stand to each other: as one hold, or not.
async fn is_unextended(shop: &Shop, conn: &mut PgConnection, hold: &str) {
    let (_, seen) = shop.call("ann", Method::GET, &format!("/v1/reservations/{hold}"), None).await;
    assert_eq!(seen["extended"], false, "{seen}");
    let fits = format!(
        "bool_and(s.held_until = r.expires_at) from seats s join reservations r on r.id = s.hold_id
         where r.id = '{hold}'"
    );
    until(conn, &fits).await;
}

/// A payment that began in time, and whose hold has lapsed by everybody else's look.
#[tokio::test]
async fn the_limit_waits_for_a_payment_that_is_half_way() {
    let shop = Shop::open().await;
    let date = shop.date(&shop.concert("main").await, 2, None).await;
    let (mut other, mut look) = (shop.database.connect().await, shop.database.connect().await);
    run(&mut look, "update schedules set max_seats_per_user = 1").await;
    let hold = shop.hold("ann", &date, &[1]).await;
    let pay = format!(
        "begin; update reservations set status = 'confirmed' where id = '{hold}';
         update seats set state = 'sold', held_until = null where hold_id = '{hold}'"
    );
    run(&mut other, &pay).await;
    shop.clock.advance(Duration::from_secs(300));
    let body = json!({ "schedule_id": date, "seat_numbers": [2] });
    let ((status, answer), ()) =
        tokio::join!(shop.call("ann", Method::POST, "/v1/reservations", Some(body)), async {
            until(&mut look, SOMEBODY_WAITS).await;
            run(&mut other, "commit").await;
        });
    assert_eq!((status, &answer["code"]), (409, &json!("seat_limit_reached")), "{answer}");
    shop.close().await;
}

/// Somebody takes one of the seats while the extension waits for it.
#[tokio::test]
async fn a_hold_that_has_lost_a_seat_is_not_extended() {
    let shop = Shop::open().await;
    let date = shop.date(&shop.concert("main").await, 3, None).await;
    let hold = shop.hold("ann", &date, &[1, 2, 3]).await;
    let (mut other, mut look) = (shop.database.connect().await, shop.database.connect().await);
    run(&mut other, "begin; select 1 from seats where number = 2 for update").await;
    let ((status, answer), ()) = tokio::join!(extend(&shop, &hold), async {
        until(&mut look, SOMEBODY_WAITS).await;
        let take = "update seats set hold_id = gen_random_uuid(), held_by = 'bob' where number = 2; commit";
        run(&mut other, take).await;
    });
    assert_eq!((status, &answer["code"]), (410, &json!("hold_expired")), "{answer}");
    is_unextended(&shop, &mut look, &hold).await;
    shop.close().await;
}

/// The deadline passes while the extension waits for a seat.
#[tokio::test]
async fn a_hold_is_not_extended_once_its_deadline_has_passed_however_long_ago_it_was_asked_for() {
    let shop = Shop::open().await;
    let date = shop.date(&shop.concert("main").await, 2, None).await;
    let hold = shop.hold("ann", &date, &[1, 2]).await;
    let (mut other, mut look) = (shop.database.connect().await, shop.database.connect().await);
    // As every deadline, on a whole millisecond: in the one that it is in it is over.
    let soon = "update reservations set expires_at = db_now(0) + interval '1 second';
        update seats set held_until = (select expires_at from reservations) where state = 'held'";
    run(&mut look, &format!("begin; {soon}; commit")).await;
    run(&mut other, "begin; select 1 from seats where number = 2 for update").await;
    let ((status, answer), ()) = tokio::join!(extend(&shop, &hold), async {
        until(&mut look, SOMEBODY_WAITS).await;
        until(&mut look, "clock_timestamp() > expires_at from reservations").await;
        run(&mut other, "rollback").await;
    });
    assert_eq!((status, &answer["code"]), (410, &json!("hold_expired")), "{answer}");
    let (_, seen) = shop.call("ann", Method::GET, &format!("/v1/reservations/{hold}"), None).await;
    assert_eq!((&seen["extended"], &seen["status"]), (&json!(false), &json!("expired")), "{seen}");
    shop.close().await;
}

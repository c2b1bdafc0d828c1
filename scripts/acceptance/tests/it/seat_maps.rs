//! Seat maps from memory: right on every replica, whoever changed a seat and how; never a stale one.

use std::time::Duration;

use acceptance::{Answer, SeatMap, Side, World, at_once, eventually, within};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// What the contract promises; `scripts/bench` measures how long it takes.
const PROMISED: Duration = Duration::from_secs(1);

fn path(date: &str) -> String {
    format!("/v1/schedules/{date}/seats")
}

/// What replica `replica` shows to somebody who is inside.
async fn shown(world: &World, token: &str, replica: usize) -> SeatMap {
    let call = world.get(Side::Booking, &path(&world.date().id)).bearer(token).on(replica);
    SeatMap::of(&call.await.ok(200))
}

async fn until_shown(world: &World, token: &str, replica: usize, held: &[i64], sold: &[i64]) {
    within(PROMISED, &format!("replica {replica} shows {held:?} held, {sold:?} sold"), async || {
        let map = shown(world, token, replica).await;
        if map.held == held && map.sold == sold { Ok(()) } else { Err(format!("{map:?}")) }
    })
    .await;
}

async fn sql(world: &World, statement: String) {
    let mut conn = PgConnection::connect(world.database_url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await.unwrap();
}

#[test]
fn every_change_shows_at_once_where_it_was_made_and_soon_elsewhere() {
    World::s0().replicas(2).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        ann.charge(1_000_000).await.ok(201);
        let (token, other) = (ann.entry_token(), bob.entry_token());
        let act = |method: &str, path: &str, token: &str| {
            world.call(Side::Booking, method, path).bearer(token).on(0)
        };
        let hold = async |numbers: &[i64]| {
            let body = json!({ "schedule_id": world.date().id, "seat_numbers": numbers });
            act("POST", "/v1/reservations", &token).json(&body).await.ok(201).text("reservation_id")
        };
        let both = async |held: &[i64], sold: &[i64]| {
            let here = shown(world, &other, 0).await;
            assert_eq!(
                (here.held.as_slice(), here.sold.as_slice()),
                (held, sold),
                "on the replica that did it"
            );
            until_shown(world, &other, 1, held, sold).await;
        };
        both(&[], &[]).await;
        let kept = hold(&[1, 2]).await;
        both(&[1, 2], &[]).await;
        let let_go = hold(&[7]).await;
        both(&[1, 2, 7], &[]).await;
        act("DELETE", &format!("/v1/reservations/{let_go}"), &token).await.ok(204);
        both(&[1, 2], &[]).await;
        let pay = act("POST", "/v1/payments", ann.token()).json(&json!({ "reservation_id": kept }));
        let payment = pay.await.ok(201).text("payment_id");
        both(&[], &[1, 2]).await;
        act("POST", &format!("/v1/payments/{payment}/refund"), ann.token()).await.ok(201);
        both(&[], &[]).await;
        let call = act("POST", "/v1/reservations", &other);
        call.json(&json!({ "schedule_id": world.date().id, "seat_numbers": [9] })).await.ok(201);
        both(&[9], &[]).await;
        // The deadline shows at once everywhere: nobody has to hear of it.
        world.advance_seconds(300);
        for replica in [0, 1] {
            assert_eq!(shown(world, &other, replica).await.held, [] as [i64; 0], "replica {replica}");
        }
    });
}

#[test]
fn what_an_operator_changes_by_hand_is_heard_of_too() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let token = ann.entry_token();
        until_shown(world, &token, 0, &[], &[]).await;
        until_shown(world, &token, 1, &[], &[]).await;
        let hold = "update seats set state = 'held', hold_id = gen_random_uuid(), held_by = 'x', \
                    held_until = clock_timestamp() + interval '1 hour' where number = 3";
        sql(world, hold.to_owned()).await;
        until_shown(world, &token, 0, &[3], &[]).await;
        until_shown(world, &token, 1, &[3], &[]).await;
        let free = "update seats set state = 'free', hold_id = null, held_by = null, held_until = null";
        sql(world, free.to_owned()).await;
        until_shown(world, &token, 1, &[], &[]).await;
    });
}

/// Changes become visible in another order than they were made in, and some late.
#[test]
fn a_transaction_that_ends_late_is_heard_of_when_it_ends() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let token = ann.entry_token();
        let mut slow = PgConnection::connect(world.database_url()).await.unwrap();
        until_shown(world, &token, 0, &[], &[]).await;
        let mut tx = slow.begin().await.unwrap();
        let hold = "update seats set state = 'held', hold_id = gen_random_uuid(), held_by = 'x', \
                    held_until = clock_timestamp() + interval '1 hour' where number = 50";
        sqlx::query(hold).execute(&mut *tx).await.unwrap();
        for number in 1..=4 {
            ann.reserve(world.date(), &[number]).await.ok(201);
            let numbers: Vec<i64> = (1..=number).collect();
            until_shown(world, &token, 0, &numbers, &[]).await;
        }
        tx.commit().await.unwrap();
        until_shown(world, &token, 0, &[1, 2, 3, 4, 50], &[]).await;
        let free = "update seats set state = 'free', hold_id = null, held_by = null, held_until = null \
                    where number = 50";
        sql(world, free.to_owned()).await;
    });
}

#[test]
fn replicas_agree_on_the_tag_and_a_zipped_map_is_the_same_map() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.reserve(world.date(), &[4, 5]).await.ok(201);
        let token = ann.entry_token();
        until_shown(world, &token, 0, &[4, 5], &[]).await;
        until_shown(world, &token, 1, &[4, 5], &[]).await;
        let ask = |replica: usize, headers: &[(&str, &str)]| {
            let call = world.get(Side::Booking, &path(&world.date().id)).bearer(&token).on(replica);
            headers.iter().fold(call, |call, (name, value)| call.header(name, value)).into_future()
        };
        let tag = |answer: &Answer| answer.header("etag").expect("an ETag").to_owned();
        let plain = ask(0, &[]).await.ok(200);
        assert_eq!(tag(&plain), tag(&ask(1, &[]).await.ok(200)));
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
        let zipped = ask(1, &[("accept-encoding", "br, gzip")]).await;
        assert_eq!((zipped.status, zipped.header("content-encoding")), (200, Some("gzip")));
        assert_ne!(tag(&zipped), tag(&plain), "other bytes, another tag");
        assert!(zipped.header("content-length").unwrap().parse::<usize>().unwrap() * 4 < plain.text.len());
        for known in [tag(&plain), tag(&zipped)] {
            let same = ask(0, &[("accept-encoding", "gzip"), ("if-none-match", &known)]).await.ok(304);
            assert_eq!((same.text.as_str(), same.header("etag")), ("", Some(tag(&zipped).as_str())));
            ask(1, &[("if-none-match", &known)]).await.ok(304);
        }
        let head = world.call(Side::Booking, "HEAD", &path(&world.date().id)).bearer(&token).await.ok(200);
        assert_eq!((head.text.as_str(), tag(&head)), ("", tag(&plain)));
    });
}

#[test]
fn no_map_is_shown_that_may_be_stale() {
    World::s0().with_outages().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let token = ann.entry_token();
        shown(world, &token, 0).await;
        let postgres = world.postgres.as_ref().expect("this world has proxies");
        postgres.cut();
        let call = || world.get(Side::Booking, &path(&world.date().id)).bearer(&token);
        within(Duration::from_secs(8), "the map is refused", async || {
            let answer = call().await;
            if answer.outcome() == "503 unavailable" { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        sql(
            world,
            "update seats set state = 'sold', hold_id = gen_random_uuid(), held_by = 'x' where number = 8"
                .into(),
        )
        .await;
        postgres.mend();
        eventually("the map is back, and right", async || {
            let answer = call().await;
            let right = answer.status == 200 && SeatMap::of(&answer).sold == [8];
            if right { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        let free = "update seats set state = 'free', hold_id = null, held_by = null";
        sql(world, free.to_owned()).await;
    });
}

#[test]
fn what_becomes_of_a_date_shows_on_every_replica() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let bare = world.add_date_with(world.concert(), json!({})).await;
        let ask = |replica: usize| {
            world.get(Side::Booking, &path(&bare.id)).bearer(&ann.entry_token()).on(replica).into_future()
        };
        ask(0).await.refused(409, "seats_not_ready");
        ask(1).await.refused(409, "seats_not_ready");
        let patch = |body: Value| {
            let path = format!("/admin/v1/schedules/{}", bare.id);
            world.admin().call(Side::BookingOps, "PATCH", &path).json(&body).on(0).into_future()
        };
        patch(json!({ "seats": { "count": 3, "price": 5 } })).await.ok(200);
        for replica in [0, 1] {
            assert_eq!(ask(replica).await.ok(200).ints("available_seat_numbers"), [1, 2, 3]);
        }
        patch(json!({ "queue": "another" })).await.ok(200);
        for replica in [0, 1] {
            within(PROMISED, "the old queue opens it no more", async || {
                let answer = ask(replica).await;
                if answer.outcome() == "403 wrong_queue" { Ok(()) } else { Err(format!("{answer:?}")) }
            })
            .await;
        }
        world
            .get(Side::Booking, &path(&world.unknown_id()))
            .bearer(&ann.entry_token())
            .await
            .refused(404, "schedule_not_found");
    });
}

/// Whoever has held a seat sees it held, in the middle of a crowd that does the same.
#[test]
fn everybody_sees_their_own_change_at_once() {
    World::s0().replicas(2).run(async |world| {
        let users = world.users("buyer", 50);
        let tokens = at_once(users.iter().map(|user| async {
            user.enter().await;
            user.entry_token()
        }))
        .await;
        at_once((1_i64..).zip(&tokens).map(|(seat, token)| async move {
            let replica = usize::try_from(seat).unwrap() % 2;
            let call = world.call(Side::Booking, "POST", "/v1/reservations").bearer(token).on(replica);
            let body = json!({ "schedule_id": world.date().id, "seat_numbers": [seat] });
            let held = call.json(&body).await.ok(201).text("reservation_id");
            assert!(shown(world, token, replica).await.held.contains(&seat), "seat {seat} after its hold");
            if seat % 3 == 0 {
                let path = format!("/v1/reservations/{held}");
                world.call(Side::Booking, "DELETE", &path).bearer(token).on(replica).await.ok(204);
                assert!(shown(world, token, replica).await.available.contains(&seat), "seat {seat} let go");
            }
        }))
        .await;
        let held: Vec<i64> = (1..=50).filter(|seat| seat % 3 != 0).collect();
        until_shown(world, &tokens[0], 0, &held, &[]).await;
        until_shown(world, &tokens[0], 1, &held, &[]).await;
    });
}

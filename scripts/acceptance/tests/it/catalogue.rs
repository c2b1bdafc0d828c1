//! The catalogue and its sale: concerts, dates, seat maps, limits, what the operator makes of them.
//! Contract 4.1 and 4.2.

use std::time::Duration;

use acceptance::{PRICE, Side, World, eventually};
use serde_json::{Value, json};

#[test]
fn a_seat_map_has_an_etag_that_changes_with_it() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let path = format!("/v1/schedules/{}/seats", world.date().id);
        let ask = |etag: String| {
            let call = world.get(Side::Booking, &path).bearer(&ann.entry_token());
            call.header("if-none-match", etag).into_future()
        };
        let first = ann.seats(world.date()).await.ok(200);
        let etag = first.header("etag").expect("an ETag").to_owned();
        let same = ask(etag.clone()).await.ok(304);
        assert_eq!((same.text.as_str(), same.header("etag")), ("", Some(etag.as_str())));
        ask(format!("\"other\", {etag}")).await.ok(304);
        ask("\"other\"".to_owned()).await.ok(200);
        ann.reserve(world.date(), &[1]).await.ok(201);
        let held = ask(etag.clone()).await.ok(200);
        let held_etag = held.header("etag").expect("an ETag").to_owned();
        assert_ne!(held_etag, etag);
        ask(held_etag.clone()).await.ok(304);
        world.advance_seconds(300);
        let lapsed = ask(held_etag).await.ok(200);
        assert!(lapsed.ints("available_seat_numbers").contains(&1), "a hold past its deadline is free");
    });
}

/// Right within a second on every replica, at once on the one that changed it.
#[test]
fn a_seat_map_is_right_on_every_replica_within_a_second() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let path = format!("/v1/schedules/{}/seats", world.date().id);
        let map = async |replica: usize| {
            let call = world.get(Side::Booking, &path).bearer(&ann.entry_token()).on(replica);
            acceptance::SeatMap::of(&call.await.ok(200))
        };
        map(0).await;
        map(1).await;
        let body = json!({ "schedule_id": world.date().id, "seat_numbers": [1, 2] });
        let call = world.call(Side::Booking, "POST", "/v1/reservations").bearer(&ann.entry_token());
        call.json(&body).on(0).await.ok(201);
        assert_eq!(map(0).await.held, [1, 2]);
        acceptance::within(Duration::from_secs(1), "the other replica has heard", async || {
            let other = map(1).await;
            if other.held == [1, 2] { Ok(()) } else { Err(format!("{other:?}")) }
        })
        .await;
    });
}

#[test]
fn concerts_with_a_date_on_sale_or_to_come_are_listed_in_pages() {
    World::s0().run(async |world| {
        world.add_concert("Without a date", "main").await;
        let mut expected = vec![world.concert().id.clone()];
        for number in 0..6 {
            let concert = world.add_concert(&format!("Concert {number}"), "main").await;
            let later =
                json!({ "sales_open_at": world.in_hours(5), "seats": { "count": 1, "price": PRICE } });
            world.add_date_with(&concert, later).await;
            expected.push(concert.id);
        }
        let over = world.add_concert("Over", "main").await;
        let short = json!({ "sales_close_at": world.in_hours(1), "starts_at": world.in_hours(2) });
        world.add_date_with(&over, short).await;
        world.advance_seconds(4 * 3600);
        let listed = eventually("the list is as it should be", async || {
            let (mut ids, mut query) = (Vec::new(), "?limit=2".to_owned());
            loop {
                let page = world.get(Side::Booking, &format!("/v1/concerts{query}")).await.ok(200);
                assert!(page.list("items").len() <= 2);
                ids.extend(
                    page.list("items").iter().map(|item| item["concert_id"].as_str().unwrap().to_owned()),
                );
                let Some(next) = page["next_cursor"].as_str() else { break };
                query = format!("?limit=2&cursor={next}");
            }
            if ids.len() == expected.len() { Ok(ids) } else { Err(format!("{ids:?}")) }
        })
        .await;
        let mut sorted = listed.clone();
        sorted.sort();
        sorted.dedup();
        expected.sort();
        assert_eq!(sorted, expected);
    });
}

#[test]
fn a_gate_before_the_concerts_opens_to_any_queue() {
    World::s3().open_door().run(async |world| {
        world.admin().put_queue("other", &json!({})).await.ok(201);
        let stranger = world.user("stranger").at("other");
        let list = || world.get(Side::Booking, "/v1/concerts");
        list().await.refused(401, "entry_token_required");
        list().bearer(stranger.token()).await.refused(401, "entry_token_required");
        let one = format!("/v1/concerts/{}", world.concert().id);
        world.get(Side::Booking, &one).await.refused(401, "entry_token_required");
        stranger.enter().await;
        list().bearer(&stranger.entry_token()).await.ok(200);
        world.get(Side::Booking, &one).bearer(&stranger.entry_token()).await.ok(200);
        stranger.seats(world.date()).await.refused(403, "wrong_queue");
    });
}

#[test]
fn nothing_is_sold_outside_its_sale() {
    World::s0().run(async |world| {
        let seats = json!({ "count": 5, "price": PRICE });
        let later = json!({ "sales_open_at": world.in_hours(2), "seats": seats });
        let later = world.add_date_with(world.concert(), later).await;
        let short = json!({ "sales_close_at": world.in_hours(1), "seats": seats });
        let short = world.add_date_with(world.concert(), short).await;
        let ann = world.user("ann");
        ann.enter().await;
        ann.reserve(&later, &[1]).await.refused(409, "sales_closed");
        ann.reserve(&later, &[99]).await.refused(409, "sales_closed");
        ann.reserve(&short, &[1]).await.ok(201);
        world.advance_seconds(2 * 3600 + 1);
        let bob = world.user("bob");
        bob.enter().await;
        bob.reserve(&short, &[2]).await.refused(409, "sales_closed");
        bob.reserve(&later, &[1]).await.ok(201);
    });
}

#[test]
fn a_person_may_have_so_many_seats_of_a_date_held_and_sold_together() {
    World::s2().run(async |world| {
        let limited = json!({ "seats": { "count": 20, "price": 1 }, "max_seats_per_user": 3 });
        let date = world.add_date_with(world.concert(), limited).await;
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        ann.charge(10).await.ok(201);
        let bought = ann.reserve(&date, &[1]).await.ok(201);
        let dropped = ann.reserve(&date, &[2]).await.ok(201);
        ann.reserve(&date, &[3, 4]).await.refused(409, "seat_limit_reached");
        ann.reserve(&date, &[1, 2]).await.refused(409, "seat_limit_reached");
        ann.reserve(&date, &[3]).await.ok(201);
        ann.reserve(&date, &[1]).await.refused(409, "seat_limit_reached");
        ann.reserve(&date, &[5]).await.refused(409, "seat_limit_reached");
        bob.reserve(&date, &[5]).await.ok(201);
        ann.cancel(&dropped).await.ok(204);
        ann.reserve(&date, &[2]).await.ok(201);
        ann.reserve(world.date(), &[1, 2, 3, 4]).await.ok(201);
        ann.pay(&bought).await.ok(201);
        world.advance_seconds(300);
        let again = world.user("ann");
        again.take(world.entry_token("ann", "main").await);
        again.reserve(&date, &[6, 7, 8]).await.refused(409, "seat_limit_reached");
        again.reserve(&date, &[6, 7]).await.ok(201);
        // A seat the caller holds counts as taken.
        again.reserve(world.date(), &[9]).await.ok(201);
        again.reserve(world.date(), &[9]).await.refused(409, "seat_taken");
    });
}

#[test]
fn the_limit_of_seats_in_one_reservation_is_a_setting() {
    World::s0().booking_flags(&["--max-seats-per-reservation", "2", "--hold-ttl-seconds", "60"]).run(
        async |world| {
            let ann = world.user("ann");
            ann.enter().await;
            ann.reserve(world.date(), &[1, 2, 3]).await.refused(422, "too_many_seats");
            let hold = ann.reserve(world.date(), &[1, 2]).await.ok(201);
            assert_eq!((hold.time("expires_at") - hold.time("held_at")).num_milliseconds(), 60_000);
        },
    );
}

#[test]
fn the_refusals_of_a_reservation_come_in_the_order_of_the_contract() {
    World::s0().run(async |world| {
        let bare = world.add_date_with(world.concert(), json!({ "sales_close_at": world.in_hours(1) })).await;
        let tight = json!({ "seats": { "count": 3, "price": 1 }, "max_seats_per_user": 1 });
        let tight = world.add_date_with(world.concert(), tight).await;
        world.advance_seconds(3601);
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        ann.reserve(&bare, &[1, 2, 3, 4, 5]).await.refused(409, "seats_not_ready");
        ann.reserve(&tight, &[1, 2, 3, 4, 5]).await.refused(422, "unknown_seat");
        bob.reserve(&tight, &[1]).await.ok(201);
        ann.reserve(&tight, &[1, 2]).await.refused(409, "seat_limit_reached");
        ann.reserve(&tight, &[1]).await.refused(409, "seat_taken");
    });
}

#[test]
fn the_operator_makes_seats_in_blocks_and_each_number_once() {
    World::s0().run(async |world| {
        let admin = world.admin();
        let block =
            |from: i64, to: i64| json!({ "section": "A", "row": "1", "from": from, "to": to, "price": 5 });
        let with = |seats: Value| {
            let mut body = world.date_body();
            body["seats"] = seats;
            body
        };
        for bad in [
            json!({ "blocks": [block(1, 3), block(3, 5)] }),
            json!({ "blocks": [block(5, 1)] }),
            json!({ "count": 0, "price": 5 }),
            json!({ "count": -1, "price": 5 }),
            json!({ "count": 5, "price": -1 }),
            json!({ "count": 5, "price": 1.5 }),
            json!({ "count": 5 }),
            json!("many"),
        ] {
            let answer = admin.schedule(&world.concert().id, &with(bad.clone())).await;
            assert_eq!(answer.status, 422, "{bad}: {answer:?}");
        }
        for (member, value) in
            [("starts_at", json!("soon")), ("max_seats_per_user", json!(0)), ("sales_open_at", json!(5))]
        {
            let mut body = world.date_body();
            body[member] = value;
            assert_eq!(admin.schedule(&world.concert().id, &body).await.status, 422, "{member}");
        }
        admin.concert(&json!({ "title": "", "queue": "main" })).await.refused(422, "invalid_request");
        admin.concert(&json!({ "title": "x", "queue": "Not A Slug" })).await.refused(422, "invalid_request");
        let hall = json!({ "blocks": [block(1, 2), block(10, 11)] });
        admin.schedule(&world.concert().id, &with(hall)).await.ok(201);
    });
}

#[test]
fn a_date_may_have_a_queue_of_its_own() {
    World::s0().run(async |world| {
        world.admin().put_queue("own", &json!({})).await.ok(201);
        let own = json!({ "seats": { "count": 5, "price": 1 }, "queue": "own" });
        let date = world.add_date_with(world.concert(), own).await;
        let (ann, there) = (world.user("ann"), world.user("ann").at("own"));
        ann.enter().await;
        there.enter().await;
        ann.seats(&date).await.refused(403, "wrong_queue");
        ann.reserve(&date, &[1]).await.refused(403, "wrong_queue");
        there.seats(&date).await.ok(200);
        there.reserve(&date, &[1]).await.ok(201);
    });
}

#[test]
fn the_operator_changes_a_concert_and_a_date() {
    World::s0().run(async |world| {
        let admin = world.admin();
        admin.change_concert(&world.concert().id, &json!({ "title": "Renamed" })).await.ok(200);
        eventually("the new title is shown", async || {
            let path = format!("/v1/concerts/{}", world.concert().id);
            let concert = world.get(Side::Booking, &path).await.ok(200);
            if concert["title"] == "Renamed" { Ok(()) } else { Err(format!("{concert:?}")) }
        })
        .await;
        let ann = world.user("ann");
        ann.enter().await;
        let closing = json!({ "sales_close_at": world.in_hours(1) });
        admin.change_schedule(&world.date().id, &closing).await.ok(200);
        world.advance_seconds(300);
        ann.reserve(world.date(), &[1]).await.ok(201);
        world.advance_seconds(3300);
        let bob = world.user("bob");
        bob.enter().await;
        bob.reserve(world.date(), &[2]).await.refused(409, "sales_closed");
        admin.change_schedule(&world.unknown_id(), &json!({})).await.refused(404, "schedule_not_found");
        let bad = admin.change_schedule(&world.date().id, &json!({ "sales_close_at": "never" })).await;
        bad.ok(422);
    });
}

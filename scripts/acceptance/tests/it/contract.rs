//! What the contract says beside the requirements: pages, streams, order of refusals, rates.

use std::time::Duration;

use acceptance::{PRICE, Side, World, eventually};
use serde_json::{Value, json};

#[test]
fn the_page_of_a_queue_is_open_to_all_and_cached_for_a_second() {
    World::s0().paused().run(async |world| {
        world.user("ann").join().await.ok(201);
        let page = eventually("the page shows one who waits", async || {
            let page = world.get(Side::Queue, "/v1/queues/main").await.ok(200);
            if page["waiting"] == 1 { Ok(page) } else { Err(format!("{page:?}")) }
        })
        .await;
        let cache = page.header("cache-control").unwrap_or_default();
        assert!(cache.contains("max-age=1") && !cache.contains("max-age=1."), "{page:?}");
        assert_eq!(
            (&page["queue"], &page["state"], &page["active"]),
            (&json!("main"), &json!("paused"), &json!(0))
        );
        for member in ["opens_at", "scheduled", "estimated_wait_seconds", "draw"] {
            assert!(page.body.as_object().unwrap().contains_key(member), "{member}: {page:?}");
        }
        assert!(page["estimated_wait_seconds"].is_null(), "nobody knows while it is paused");
        world.get(Side::Queue, "/v1/queues/nope").await.refused(404, "queue_not_found");
    });
}

#[test]
fn development_login_names_whom_it_is_asked_for() {
    World::s0().run(async |world| {
        let login = async |user: &str| {
            let call = world.call(Side::Queue, "POST", "/v1/dev/login");
            let answer = call.json(&json!({ "user_id": user })).await;
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            answer.text("user_token")
        };
        let token = login("ann").await;
        world.user("ann").charge(500).await.ok(201);
        let points = world.get(Side::Booking, "/v1/points").bearer(&token).await.ok(200);
        assert_eq!(points["balance"], 500);
        let join = world.call(Side::Queue, "POST", "/v1/queues/main/tokens").bearer(&login("bob").await);
        join.await.ok(201);
    });
}

#[test]
fn the_stream_tells_the_status_at_once_and_at_each_change() {
    World::s0().paused().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        let listen = async |token: &str| {
            let call = world.get(Side::Queue, &ann.me("/events")).bearer(token);
            let stream = call.header("accept", "text/event-stream").stream().await;
            assert_eq!(stream.status(), 200);
            assert!(stream.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
            stream
        };
        let (mut stream, mut text) = (listen(&ann.queue_token()).await, String::new());
        let first = next_status(&mut stream, &mut text).await;
        assert_eq!((&first["status"], &first["position"]), (&json!("waiting"), &json!(1)));
        world.admin().resume("main").await.ok(200);
        let last = loop {
            let status = next_status(&mut stream, &mut text).await;
            if status["status"] == "active" {
                break status;
            }
        };
        assert!(last["entry_token"].is_string(), "{last}");
        let mut stream = listen(ann.token()).await;
        let first = next_status(&mut stream, &mut String::new()).await;
        assert_eq!(first["status"], "active");
        world.get(Side::Queue, &ann.me("/events")).await.refused(401, "unauthorized");
        world.get(Side::Queue, &ann.me("/events")).bearer("qt_x").await.refused(401, "invalid_token");
    });
}

/// The data of the next `status` event.
async fn next_status(stream: &mut reqwest::Response, text: &mut String) -> Value {
    let reading = async {
        loop {
            if let Some((event, rest)) = text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data:")).map(str::to_owned);
                let named = event.lines().any(|line| line.replace(' ', "") == "event:status");
                *text = rest.to_owned();
                if let (Some(data), true) = (data, named) {
                    return serde_json::from_str(&data).unwrap();
                }
                continue;
            }
            let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
            text.push_str(&String::from_utf8_lossy(&chunk).replace('\r', ""));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("an event in time")
}

#[test]
fn the_server_decides_how_often_to_poll() {
    World::s0().queue(json!({ "waiting_ttl_seconds": 6 })).paused().run(async |world| {
        let people = world.users("person", 40);
        for person in &people {
            let after = person.join().await.ok(201).int("poll_after_ms");
            assert!((1..2000).contains(&after), "a third of waiting_ttl is 2000: {after}");
        }
        world.admin().put_queue("slow", &json!({ "max_active": 0 })).await.ok(201);
        for person in &people {
            let there = person.at("slow");
            let after = there.join().await.ok(201).int("poll_after_ms");
            assert!((500..=40_000).contains(&after), "{after}");
        }
    });
}

#[test]
fn a_waiting_ttl_of_one_second_works() {
    World::s0().queue(json!({ "waiting_ttl_seconds": 1 })).paused().run(async |world| {
        let ann = world.user("ann");
        let joined = ann.join().await.ok(201);
        assert!(joined.int("poll_after_ms") < 334, "{joined:?}");
        for _ in 0..8 {
            acceptance::pause(250).await;
            assert_eq!(ann.poll().await.ok(200)["position"], 1);
        }
        acceptance::pause(2500).await;
        ann.poll().await.refused(410, "token_expired");
    });
}

#[test]
fn rate_limits_are_settings_and_answer_429() {
    World::s0()
        .queue_flags(&["--rate-limit-per-user", "3"])
        .booking_flags(&["--rate-limit-per-user", "3"])
        .run(async |world| {
            let (ann, bob) = (world.user("ann"), world.user("bob"));
            for path in ["/v1/points", "/v1/reservations"] {
                let answers =
                    acceptance::at_once((0..12).map(|_| ann.booking("GET", path).into_future())).await;
                assert!(answers.iter().any(|answer| answer.status == 429), "{answers:?}");
                for answer in answers.into_iter().filter(|answer| answer.status != 200) {
                    answer.refused(429, "rate_limited");
                }
            }
            bob.booking("GET", "/v1/points").await.ok(200);
            let poll = || ann.call(Side::Queue, "GET", "/v1/queues/main/tokens/me").into_future();
            let answers = acceptance::at_once((0..12).map(|_| poll())).await;
            assert!(answers.iter().any(|answer| answer.outcome() == "429 rate_limited"), "{answers:?}");
            bob.poll_as_user().await.refused(404, "token_not_found");
        });
}

#[test]
fn rate_limits_of_an_address_hold_for_all_its_users() {
    World::s0().booking_flags(&["--rate-limit-per-address", "5"]).run(async |world| {
        let people = world.users("person", 30);
        let calls = people.iter().map(|person| person.booking("GET", "/v1/points").into_future());
        let answers = acceptance::at_once(calls).await;
        assert!(answers.iter().any(|answer| answer.status == 200), "{answers:?}");
        assert!(answers.iter().any(|answer| answer.outcome() == "429 rate_limited"), "{answers:?}");
    });
}

/// 65
#[test]
fn both_services_show_their_api_as_document_and_page() {
    World::s0().run(async |world| {
        for side in [Side::Queue, Side::Booking] {
            let document = world.get(side, "/openapi.json").await.ok(200);
            assert!(document.text("openapi").starts_with("3.1"), "{}", document["openapi"]);
            assert!(document.header("content-type").unwrap().starts_with("application/json"));
            let page = world.get(side, "/docs").await.ok(200);
            assert!(page.header("content-type").unwrap().starts_with("text/html"), "{page:?}");
            let assets: Vec<_> = page.text.split('"').filter(|part| part.starts_with('/')).collect();
            assert!(!assets.is_empty(), "{page:?}");
            for asset in assets {
                world.get(side, asset).await.ok(200);
            }
            assert!(!page.text.contains("https://"), "the page needs the network: {}", page.text);
        }
    });
}

#[test]
fn refusals_come_in_the_order_of_the_contract() {
    World::s1().run(async |world| {
        world.admin().put_queue("other", &json!({})).await.ok(201);
        let ann = world.user("ann");
        let (own, foreign) =
            (world.entry_token("ann", "main").await, world.entry_token("ann", "other").await);
        let unknown = world.unknown_id();
        // No credential before anything else.
        for (side, method, path) in [
            (Side::Queue, "POST", "/v1/queues/nope/tokens".to_owned()),
            (Side::Queue, "GET", "/v1/queues/nope/tokens/me".to_owned()),
            (Side::QueueOps, "PUT", "/admin/v1/queues/nope".to_owned()),
            (Side::QueueOps, "POST", "/admin/v1/queues/nope/admit".to_owned()),
            (Side::BookingOps, "POST", format!("/admin/v1/concerts/{unknown}/schedules")),
            (Side::Booking, "GET", format!("/v1/payments/{unknown}")),
            (Side::Booking, "POST", format!("/v1/payments/{unknown}/refund")),
            (Side::Booking, "POST", "/v1/points/charges".to_owned()),
        ] {
            let call = world.call(side, method, &path).key("a b").body("text/plain", "{");
            call.await.refused(401, "unauthorized");
        }
        for path in
            [format!("/v1/concerts/{unknown}/schedules?from=x"), format!("/v1/schedules/{unknown}/seats")]
        {
            world.get(Side::Booking, &path).await.refused(401, "entry_token_required");
            world.get(Side::Booking, &path).bearer("rubbish").await.refused(401, "invalid_token");
            // Unknown before forbidden.
            assert_eq!(world.get(Side::Booking, &path).bearer(&foreign).await.status, 404);
        }
        // Forbidden before the query.
        let path = format!("/v1/concerts/{}/schedules?from=x", world.concert().id);
        world.get(Side::Booking, &path).bearer(&foreign).await.refused(403, "wrong_queue");
        world.get(Side::Booking, &path).bearer(&own).await.refused(422, "invalid_request");
        // Unknown before the body.
        let admit = world.admin().call(Side::QueueOps, "POST", "/admin/v1/queues/nope/admit");
        admit.body("application/json", "{").await.refused(404, "queue_not_found");
        let path = format!("/admin/v1/concerts/{unknown}/schedules");
        let date = world.admin().call(Side::BookingOps, "POST", &path).body("application/json", "{");
        date.await.refused(404, "concert_not_found");
        // Unknown before the key.
        let refund = ann.booking("POST", &format!("/v1/payments/{unknown}/refund")).key("a b");
        refund.await.refused(404, "payment_not_found");
    });
}

#[test]
fn without_gates_a_user_token_does_everything() {
    World::s0().gated("").run(async |world| {
        let ann = world.user("ann");
        ann.charge(2 * PRICE).await.ok(201);
        for path in ["/v1/concerts".to_owned(), format!("/v1/schedules/{}/seats", world.date().id)] {
            world.get(Side::Booking, &path).await.ok(200);
        }
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        ann.pay(&hold).await.ok(201);
        let body = json!({ "schedule_id": world.date().id, "seat_numbers": [2] });
        world.call(Side::Booking, "POST", "/v1/reservations").json(&body).await.refused(401, "unauthorized");
        // An entry token is taken too.
        let token = world.entry_token("ann", "main").await;
        let call = world.call(Side::Booking, "POST", "/v1/reservations").bearer(&token).json(&body);
        let hold = call.await.ok(201);
        let pay = json!({ "reservation_id": hold["reservation_id"] });
        world.call(Side::Booking, "POST", "/v1/payments").bearer(&token).json(&pay).await.ok(201);
    });
}

/// Contract 4.1: the token that made the hold is the one that is spent
#[test]
fn a_payment_spends_the_token_that_made_the_hold() {
    World::s1().queue(json!({ "max_active": 1 })).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.join().await.ok(201);
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let made_it = ann.entry_token();
        let other = world.entry_token("ann", "main").await;
        let foreign = world.entry_token("ann", "issuer").await;
        ann.take(foreign);
        ann.pay(&hold).await.refused(403, "wrong_queue");
        ann.take(other);
        ann.pay(&hold).await.ok(201);
        ann.take(made_it);
        ann.seats(world.date()).await.refused(401, "entry_token_completed");
        bob.until_active().await;
    });
}

#[test]
fn no_amount_of_a_client_is_trusted() {
    World::s2().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let cheap = json!({ "schedule_id": world.date().id, "seat_numbers": [1], "amount": 1, "price": 1,
            "user_id": "bob", "status": "confirmed" });
        let answer = ann.reserve_json(&cheap).await;
        let hold = if answer.status == 422 { ann.reserve(world.date(), &[1]).await } else { answer }.ok(201);
        assert_eq!((&hold["amount"], &hold["status"]), (&json!(PRICE), &json!("held")));
        let free = json!({ "reservation_id": hold["reservation_id"], "amount": 0, "user_id": "bob" });
        let paid = ann.booking("POST", "/v1/payments").json(&free).await;
        let paid = if paid.status == 422 { ann.pay(&hold).await } else { paid };
        assert_eq!((paid.status, &paid["amount"]), (201, &json!(PRICE)));
        assert_eq!(ann.balance().await, 0);
    });
}

#[test]
fn the_refusals_of_a_payment_come_in_the_order_of_the_contract() {
    World::s2().open_door().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        let (lapsing, dropped) =
            (ann.reserve(world.date(), &[1]).await.ok(201), ann.reserve(world.date(), &[2]).await.ok(201));
        ann.pay(&lapsing).await.refused(402, "insufficient_points");
        ann.cancel(&dropped).await.ok(204);
        ann.charge(PRICE).await.ok(201);
        let bought = ann.reserve(world.date(), &[3]).await.ok(201);
        ann.pay(&bought).await.ok(201);
        world.advance_seconds(301);
        ann.pay(&lapsing).await.refused(410, "hold_expired");
        ann.pay(&dropped).await.refused(409, "not_held");
        ann.pay(&bought).await.refused(409, "already_paid");
        for hold in [&lapsing, &dropped, &bought] {
            bob.pay(hold).await.refused(404, "reservation_not_found");
        }
    });
}

#[test]
fn ids_are_uuids_of_version_seven() {
    World::s2().open_door().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let hold = ann.reserve(world.date(), &[1]).await.ok(201);
        let payment = ann.pay(&hold).await.ok(201);
        for id in [
            &json!(world.concert().id),
            &json!(world.date().id),
            &hold["reservation_id"],
            &hold["schedule_id"],
            &payment["payment_id"],
        ] {
            assert!(acceptance::is_uuid_v7(id), "{id}");
        }
    });
}

#[test]
fn a_page_has_fifty_items_unless_asked() {
    World::s4().run(async |world| {
        let ann = world.user("ann");
        acceptance::at_once((0..55).map(|_| ann.charge(1))).await;
        let page = ann.booking("GET", "/v1/points/history").await.ok(200);
        assert_eq!(page.list("items").len(), 50);
        let next = format!("/v1/points/history?cursor={}", page.text("next_cursor"));
        let page = ann.booking("GET", &next).await.ok(200);
        assert_eq!((page.list("items").len(), &page["next_cursor"]), (5, &Value::Null));
    });
}

//! A queue under its operator's hands: settings, pause, drain, close, admit, remove; opening and closing
//! by the clock; the other service's calls. Contract 3.1 to 3.3.

use acceptance::{Answer, SeatMap, Side, User, World, eventually};
use serde_json::{Value, json};

async fn active_is(world: &World, expected: i64) {
    eventually(&format!("{expected} are active"), async || {
        let active = world.admin().number("active").await;
        if active == expected { Ok(()) } else { Err(active.to_string()) }
    })
    .await;
}

/// `expected` are active, and stay so for some ticks.
async fn active_stays(world: &World, expected: i64) {
    active_is(world, expected).await;
    acceptance::pause(700).await;
    assert_eq!(world.admin().number("active").await, expected);
}

#[test]
fn a_new_queue_has_the_defaults_of_the_contract() {
    World::s0().run(async |world| {
        let made = world.admin().put_queue("plain", &json!({})).await.ok(201);
        let expected = json!({
            "opens_at": null, "closes_at": null, "order": "fifo",
            "admission": { "users": 100, "every_seconds": 1 }, "max_active": 1000,
            "entry_ttl_seconds": 600, "claim_window_seconds": 60, "waiting_ttl_seconds": 120,
            "rejoin": "keep", "instant_admission": true, "redirect_url": null,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&made["settings"][name], value, "{name}: {made:?}");
        }
        let longest = &made["settings"]["entry_max_lifetime_seconds"];
        assert!(*longest == 600 || longest.is_null(), "{made:?}");
        assert_eq!((&made["queue"], &made["state"]), (&json!("plain"), &json!("open")));
        let again = world.admin().put_queue("plain", &json!({ "max_active": 7 })).await.ok(200);
        assert_eq!(again["settings"]["max_active"], 7);
        let reset = world.admin().put_queue("plain", &json!({})).await.ok(200);
        assert_eq!(reset["settings"]["max_active"], 1000, "missing = default");
    });
}

#[test]
fn a_queue_is_shown_with_exact_numbers() {
    World::s0().paused().run(async |world| {
        let queue = world.admin().queue("main").await.ok(200);
        for name in ["waiting", "active", "admitted_total", "expired_total", "left_total", "completed_total"]
        {
            assert_eq!(queue.int(name), 0, "{name}");
        }
        assert!(queue["admitted_per_second"].is_number(), "{queue:?}");
        assert_eq!(queue.int("free_slots"), 1000);
        let people = world.users("person", 4);
        for person in &people {
            person.join().await.ok(201);
        }
        people[3].leave().await.ok(204);
        world.admin().admit("main", 2).await.ok(200);
        active_is(world, 2).await;
        let queue = world.admin().queue("main").await.ok(200);
        let numbers =
            ["waiting", "active", "admitted_total", "left_total", "free_slots"].map(|name| queue.int(name));
        assert_eq!(numbers, [1, 2, 2, 1, 998]);
        let list = world.admin().call(Side::QueueOps, "GET", "/admin/v1/queues").await.ok(200);
        assert_eq!(list.list("items")[0]["waiting"], 1);
        world.admin().queue("nope").await.refused(404, "queue_not_found");
    });
}

#[test]
fn bad_settings_are_refused_and_nothing_changes() {
    World::s0().run(async |world| {
        let before = world.admin().queue("main").await.ok(200)["settings"].clone();
        for bad in bad_settings() {
            for queue in ["main", "fresh"] {
                world.admin().put_queue(queue, &bad).await.refused(422, "invalid_settings");
            }
            assert_eq!(world.admin().queue("main").await.ok(200)["settings"], before, "{bad}");
            world.admin().queue("fresh").await.refused(404, "queue_not_found");
        }
    });
}

fn bad_settings() -> Vec<Value> {
    let mut bad = vec![
        json!({ "max_actve": 5 }),
        json!({ "queue": "main" }),
        json!({ "admission": { "users": 5 } }),
        json!({ "admission": { "users": 5, "every_seconds": 1, "burst": 2 } }),
        json!({ "entry_ttl_seconds": 600, "entry_max_lifetime_seconds": 599 }),
        json!({ "max_active": 5, "order": "random" }),
        json!([]),
        json!(null),
        json!("settings"),
    ];
    for (name, values) in [
        (
            "admission",
            json!([0, "fast", [], { "users": 0, "every_seconds": 1 }, { "users": 5, "every_seconds": 0 },
            { "users": -1, "every_seconds": 1 }, { "users": 1.5, "every_seconds": 1 }]),
        ),
        ("max_active", json!([-1, 1.5, "many", [], 1e30])),
        ("entry_ttl_seconds", json!([0, -1, 1.5, "600", null, 1e30])),
        ("claim_window_seconds", json!([0, -5, "x", null])),
        ("waiting_ttl_seconds", json!([-1, 0.5, "never", null])),
        ("rejoin", json!(["KEEP", "maybe", null, 1])),
        ("order", json!(["FIFO", null, 1])),
        ("instant_admission", json!(["true", 1, null])),
        ("opens_at", json!(["tomorrow", 5, "2026-13-01T00:00:00Z", ""])),
        ("closes_at", json!(["soon", false])),
        ("redirect_url", json!([5, "not a url", "javascript:alert(1)", ""])),
    ] {
        bad.extend(values.as_array().unwrap().iter().map(|value| json!({ name: value })));
    }
    bad
}

#[test]
fn a_paused_queue_keeps_its_line_and_can_be_joined() {
    World::s0().run(async |world| {
        let paused = world.admin().pause("main").await.ok(200);
        assert_eq!((&paused["queue"], &paused["state"]), (&json!("main"), &json!("paused")));
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        assert_eq!(ann.join().await.ok(201)["queue_state"], "paused");
        bob.join().await.ok(201);
        active_stays(world, 0).await;
        assert_eq!(world.admin().resume("main").await.ok(200)["state"], "open");
        ann.until_active().await;
        bob.until_active().await;
    });
}

#[test]
fn a_draining_queue_takes_nobody_and_serves_its_line() {
    World::s0().queue(json!({ "max_active": 1 })).run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        ann.enter().await;
        bob.join().await.ok(201);
        assert_eq!(world.admin().drain("main").await.ok(200)["state"], "draining");
        cem.join().await.refused(503, "queue_draining");
        assert_eq!(bob.poll().await.ok(200)["queue_state"], "draining");
        ann.leave().await.ok(204);
        bob.until_active().await;
        world.admin().resume("main").await.ok(200);
        cem.join().await.ok(201);
    });
}

#[test]
fn a_closed_queue_sends_its_line_away_and_keeps_the_active() {
    World::s0().queue(json!({ "max_active": 1 })).run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        ann.enter().await;
        bob.join().await.ok(201);
        assert_eq!(world.admin().close("main").await.ok(200)["state"], "closed");
        cem.join().await.refused(503, "queue_closed");
        eventually("bob is sent away", async || {
            let poll = bob.poll().await;
            if poll.outcome() == "410 queue_closed" { Ok(()) } else { Err(format!("{poll:?}")) }
        })
        .await;
        assert_eq!(ann.poll().await.ok(200)["status"], "active");
        ann.reserve(world.date(), &[1]).await.ok(201);
        let queue = world.admin().queue("main").await.ok(200);
        assert_eq!((queue.int("waiting"), queue.int("active")), (0, 1));
        world.admin().resume("main").await.ok(200);
        assert_eq!(bob.join().await.ok(201)["position"], 1);
    });
}

#[test]
fn new_settings_never_change_the_state_and_apply_at_once() {
    World::s0().queue(json!({ "max_active": 1, "rejoin": "keep" })).paused().run(async |world| {
        for person in world.users("person", 5) {
            person.join().await.ok(201);
        }
        let settings = |cap: Value| json!({ "max_active": cap, "instant_admission": false });
        let changed = world.admin().put_queue("main", &settings(json!(2))).await.ok(200);
        assert_eq!(changed["state"], "paused");
        active_stays(world, 0).await;
        world.admin().resume("main").await.ok(200);
        active_stays(world, 2).await;
        world.admin().put_queue("main", &settings(json!(4))).await.ok(200);
        active_is(world, 4).await;
        // Nobody is thrown out.
        world.admin().put_queue("main", &settings(json!(1))).await.ok(200);
        active_stays(world, 4).await;
        world.admin().put_queue("main", &settings(json!(0))).await.ok(200);
        active_stays(world, 4).await;
        world.admin().put_queue("main", &settings(Value::Null)).await.ok(200);
        active_is(world, 5).await;
    });
}

#[test]
fn the_operator_can_let_people_in_while_paused_inside_the_cap_and_beside_the_rate() {
    let settings = json!({ "admission": { "users": 1, "every_seconds": 3600 }, "max_active": 4 });
    World::s0().queue(settings).paused().run(async |world| {
        let people = world.users("person", 7);
        for person in &people {
            person.join().await.ok(201);
        }
        world.admin().admit("main", 2).await.ok(200);
        active_stays(world, 2).await;
        world.admin().resume("main").await.ok(200);
        active_stays(world, 3).await;
        world.admin().admit("main", 9).await.ok(200);
        active_stays(world, 4).await;
        for person in &people[..4] {
            person.until_active().await;
        }
        for bad in [json!({ "users": -1 }), json!({ "users": "2" }), json!({ "users": 1.5 }), json!({})] {
            let call = world.admin().call(Side::QueueOps, "POST", "/admin/v1/queues/main/admit").json(&bad);
            call.await.refused(422, "invalid_request");
        }
        world.admin().admit("nope", 1).await.refused(404, "queue_not_found");
    });
}

#[test]
fn a_person_can_leave_and_leave_again() {
    World::s0().paused().run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.join().await.ok(201);
        bob.join().await.ok(201);
        ann.leave().await.ok(204);
        ann.leave().await.ok(204);
        ann.poll().await.refused(410, "token_left");
        ann.poll_as_user().await.refused(404, "token_not_found");
        assert_eq!(world.admin().number("waiting").await, 1);
        assert_eq!(ann.join().await.ok(201)["position"], 2);
        let as_user = ann.call(Side::Queue, "DELETE", &ann.me(""));
        as_user.await.ok(204);
        assert_eq!(world.admin().number("left_total").await, 2);
    });
}

#[test]
fn leaving_while_active_ends_the_admission_everywhere_and_frees_the_slot() {
    World::s0().queue(json!({ "max_active": 1 })).replicas(2).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.join().await.ok(201);
        ann.leave().await.ok(204);
        ann.poll().await.refused(410, "token_left");
        bob.until_active().await;
        revoked_at_booking(world, &ann).await;
        SeatMap::of(&bob.seats(world.date()).await.ok(200));
    });
}

/// Within two seconds, on every replica.
async fn revoked_at_booking(world: &World, person: &User<'_>) {
    let limit = std::time::Duration::from_secs(2);
    let path = format!("/v1/schedules/{}/seats", world.date().id);
    for replica in [0, 1] {
        acceptance::within(limit, "the booking service has heard", async || {
            let call = world.get(Side::Booking, &path).bearer(&person.entry_token());
            let seats = call.on(replica).await;
            if seats.outcome() == "401 entry_token_revoked" { Ok(()) } else { Err(format!("{seats:?}")) }
        })
        .await;
    }
    person.reserve(world.date(), &[50]).await.refused(401, "entry_token_revoked");
}

#[test]
fn the_operator_can_remove_a_person_who_waits_or_is_inside() {
    World::s0().queue(json!({ "max_active": 1 })).run(async |world| {
        let (ann, bob, cem) = (world.user("ann"), world.user("bob"), world.user("cem"));
        ann.enter().await;
        bob.join().await.ok(201);
        cem.join().await.ok(201);
        world.admin().remove("main", &bob).await.ok(204);
        assert_eq!(bob.poll().await.status, 410);
        world.admin().remove("main", &ann).await.ok(204);
        assert_eq!(ann.poll().await.status, 410);
        revoked_at_booking(world, &ann).await;
        cem.until_active().await;
        world.admin().remove("nope", &ann).await.refused(404, "queue_not_found");
    });
}

#[test]
fn completions_free_slots_once_and_ignore_what_they_do_not_know() {
    World::s0().queue(json!({ "max_active": 2 })).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.enter().await;
        bob.enter().await;
        let jti = ann.claims().jti;
        let unknown = world.admin().complete("main", &["nope".to_owned(), world.unknown_id()]).await.ok(200);
        assert_eq!(unknown["released"], 0);
        let both = [jti.clone(), jti.clone(), "nope".to_owned()];
        assert_eq!(world.admin().complete("main", &both).await.ok(200)["released"], 1);
        assert_eq!(world.admin().complete("main", &[jti]).await.ok(200)["released"], 0);
        assert_eq!(world.admin().complete("main", &[]).await.ok(200)["released"], 0);
        ann.poll().await.refused(410, "token_completed");
        let queue = world.admin().queue("main").await.ok(200);
        assert_eq!((queue.int("active"), queue.int("completed_total")), (1, 1));
        assert_eq!(bob.poll().await.ok(200)["status"], "active");
        world.admin().complete("nope", &[]).await.refused(404, "queue_not_found");
        assert_eq!(ann.join().await.ok(201)["status"], "waiting");
    });
}

#[test]
fn revocations_are_a_feed_with_a_cursor() {
    World::s0().run(async |world| {
        let feed = world.admin().revocations("").await.ok(200);
        assert!(feed.list("items").is_empty(), "{feed:?}");
        let people = world.users("person", 3);
        let mut expected = Vec::new();
        for person in &people {
            person.enter().await;
            let claims = person.claims();
            expected.push(json!({ "queue": "main", "jti": claims.jti, "exp": claims.exp }));
            person.leave().await.ok(204);
        }
        let (mut items, mut query) = (Vec::new(), "limit=2".to_owned());
        let last = loop {
            let page = world.admin().revocations(&query).await.ok(200);
            items.extend_from_slice(page.list("items"));
            let Some(next) = page["next_cursor"].as_str().filter(|_| !page.list("items").is_empty()) else {
                break page;
            };
            query = format!("limit=2&cursor={next}");
        };
        assert_eq!(items.len(), 3, "{items:?}");
        for (item, expected) in items.iter().zip(&expected) {
            assert_eq!(item["jti"], expected["jti"], "oldest first");
            assert_eq!(item["queue"], "main");
            assert!(exp_agrees(&item["exp"], expected["exp"].as_i64().unwrap()), "{item} {expected}");
        }
        drop(last);
        let refusal = world.admin().revocations("cursor=nonsense").await;
        assert!(matches!(refusal.status, 200 | 422), "{refusal:?}");
    });
}

/// In seconds as in the token, or as RFC 3339.
fn exp_agrees(exp: &Value, expected: i64) -> bool {
    let time = exp.as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    exp.as_i64()
        .or(time.map(|time| time.timestamp()))
        .is_some_and(|exp| (expected..=expected + 3).contains(&exp))
}

#[test]
fn rejoining_can_be_rejected() {
    World::s0().queue(json!({ "rejoin": "reject" })).paused().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        ann.join().await.refused(409, "already_in_queue");
        assert_eq!(ann.poll_as_user().await.ok(200)["position"], 1);
        world.admin().resume("main").await.ok(200);
        ann.until_active().await;
        ann.join().await.refused(409, "already_in_queue");
        ann.leave().await.ok(204);
        ann.join().await.ok(201);
    });
}

#[test]
fn a_queue_opens_at_its_time() {
    World::s0().run(async |world| {
        let opens_at = world.in_hours(1);
        let settings = json!({ "opens_at": opens_at, "waiting_ttl_seconds": 120 });
        let made = world.admin().put_queue("early", &settings).await.ok(201);
        assert_eq!(made["state"], "scheduled");
        let (ann, bob) = (world.user("ann").at("early"), world.user("bob").at("early"));
        let joined = ann.join().await.ok(201);
        assert_eq!((&joined["status"], &joined["position"]), (&json!("scheduled"), &Value::Null));
        assert_eq!(
            joined.time("opens_at").timestamp(),
            chrono::DateTime::parse_from_rfc3339(&opens_at).unwrap().timestamp()
        );
        bob.join().await.ok(201);
        let page = world.get(Side::Queue, "/v1/queues/early").await.ok(200);
        assert_eq!(
            (&page["state"], &page["scheduled"], &page["waiting"]),
            (&json!("scheduled"), &json!(2), &json!(0))
        );
        world.advance_seconds(3500); // nobody lapses before the opening
        assert_eq!(ann.poll().await.ok(200)["status"], "scheduled");
        world.advance_seconds(101);
        ann.until_active().await;
        bob.until_active().await;
        let open = world.admin().queue("early").await.ok(200);
        assert_eq!((&open["state"], &open["active"]), (&json!("open"), &json!(2)));
    });
}

#[test]
fn a_queue_closes_at_its_time() {
    World::s0().run(async |world| {
        let settings = json!({ "closes_at": world.in_hours(1), "max_active": 0, "waiting_ttl_seconds": 0 });
        world.admin().put_queue("late", &settings).await.ok(201);
        let ann = world.user("ann").at("late");
        ann.join().await.ok(201);
        world.advance_seconds(3601);
        eventually("ann is sent away", async || {
            let poll = ann.poll().await;
            if poll.outcome() == "410 queue_closed" { Ok(()) } else { Err(format!("{poll:?}")) }
        })
        .await;
        world.user("bob").at("late").join().await.refused(503, "queue_closed");
        assert_eq!(world.admin().queue("late").await.ok(200)["state"], "closed");
    });
}

#[test]
fn a_lottery_draws_places_at_the_opening_and_can_be_checked() {
    World::s0().run(async |world| {
        let settings = json!({ "order": "lottery", "opens_at": world.in_hours(1), "max_active": 0 });
        world.admin().put_queue("draw", &settings).await.ok(201);
        let page = async || world.get(Side::Queue, "/v1/queues/draw").await.ok(200);
        let people: Vec<_> = world.users("person", 20).iter().map(|person| person.at("draw")).collect();
        for person in &people {
            assert_eq!(person.join().await.ok(201)["status"], "scheduled");
        }
        let before = page().await;
        assert!(before["draw"]["commitment"].is_string() && before["draw"]["seed"].is_null(), "{before:?}");
        world.advance_seconds(3601);
        let after = eventually("the draw is made", async || {
            let page = page().await;
            if page["draw"]["seed"].is_string() { Ok(page) } else { Err(format!("{page:?}")) }
        })
        .await;
        assert_eq!(after["draw"]["commitment"], before["draw"]["commitment"]);
        let places = eventually("everybody has a place", async || {
            let mut places = Vec::new();
            for person in &people {
                places.push(person.poll().await.ok(200)["position"].as_i64());
            }
            places.iter().copied().collect::<Option<Vec<i64>>>().ok_or(format!("{places:?}"))
        })
        .await;
        let mut sorted = places.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=20).collect::<Vec<_>>());
        assert_ne!(places, sorted, "the order of arrival is no draw");
        let late: Answer = world.user("late").at("draw").join().await.ok(201);
        assert_eq!(late["position"], 21);
    });
}

#[test]
fn in_a_drawn_line_the_silent_lapse_and_the_others_move_up() {
    World::s0().run(async |world| {
        let settings = json!({ "order": "lottery", "opens_at": world.in_hours(1), "max_active": 0 });
        world.admin().put_queue("draw", &settings).await.ok(201);
        let people: Vec<_> = world.users("person", 12).iter().map(|person| person.at("draw")).collect();
        for person in &people {
            person.join().await.ok(201);
        }
        world.advance_seconds(3601);
        let (present, silent) = people.split_at(6);
        for _ in 0..2 {
            for person in present {
                eventually("the draw is made", async || {
                    let status = person.poll().await.ok(200);
                    if status["status"] == "waiting" { Ok(()) } else { Err(format!("{status:?}")) }
                })
                .await;
            }
            acceptance::pause(1000).await; // polls are written in batches
            world.advance_seconds(80);
        }
        for person in present {
            person.poll().await.ok(200);
        }
        let places = eventually("the silent are out of line", async || {
            let mut places = Vec::new();
            for person in present {
                places.push(person.poll().await.ok(200).int("position"));
            }
            places.sort_unstable();
            if places == [1, 2, 3, 4, 5, 6] { Ok(places) } else { Err(format!("{places:?}")) }
        })
        .await;
        assert_eq!(places.len(), 6);
        for person in silent {
            person.poll().await.refused(410, "token_expired");
        }
        let queue = world.admin().queue("draw").await.ok(200);
        assert_eq!((queue.int("waiting"), queue.int("expired_total")), (6, 6));
    });
}

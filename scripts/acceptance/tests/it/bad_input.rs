//! What no client should send, bodies aside: the named problem, nothing changed, never a 5xx (the harness
//! fails at one).

use acceptance::{ADMIN_TOKEN, PRICE, Side, World};
use serde_json::json;

#[test]
fn an_unknown_path_is_404_and_a_wrong_method_405_with_what_is_allowed() {
    World::s1().run(async |world| {
        let sides = [Side::Queue, Side::QueueOps, Side::Booking, Side::BookingOps];
        for side in sides {
            for path in ["/v1", "/v1/", "/nope", "/v2/queues/main", "/admin", "/%2e%2e/etc/passwd", "//v1"] {
                world.get(side, path).await.refused(404, "not_found");
            }
        }
        for (side, method, path) in [
            (Side::Queue, "PUT", "/v1/queues/main/tokens"),
            (Side::Queue, "POST", "/v1/queues/main"),
            (Side::Queue, "PATCH", "/v1/queues/main/tokens/me"),
            (Side::Queue, "GET", "/v1/dev/login"),
            (Side::QueueOps, "PATCH", "/admin/v1/queues/main"),
            (Side::QueueOps, "GET", "/internal/v1/queues/main/completions"),
            (Side::Booking, "DELETE", "/v1/concerts"),
            (Side::Booking, "PUT", "/v1/points"),
            (Side::Booking, "GET", "/v1/points/charges"),
            (Side::BookingOps, "DELETE", "/admin/v1/audit"),
        ] {
            let refusal = world.call(side, method, path).bearer(ADMIN_TOKEN).await;
            let refusal = refusal.refused(405, "method_not_allowed");
            let allow = refusal.header("allow").unwrap_or_default().to_owned();
            assert!(!allow.is_empty() && !allow.contains(method), "Allow: {allow}: {refusal:?}");
        }
    });
}

#[test]
fn unknown_ids_and_what_is_no_id_are_404_by_name() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        ann.charge(PRICE).await.ok(201);
        let unknown = world.unknown_id();
        let odd = [
            "1",
            "x",
            "00000000-0000-0000-0000-000000000000",
            "%00",
            "%FF",
            "..%2f..",
            "%F0%9F%92%A9",
            "null",
        ];
        for id in std::iter::once(unknown.as_str()).chain(odd) {
            let entry =
                |path: String| world.get(Side::Booking, &path).bearer(&ann.entry_token()).into_future();
            entry(format!("/v1/concerts/{id}")).await.refused(404, "concert_not_found");
            entry(format!("/v1/concerts/{id}/schedules")).await.refused(404, "concert_not_found");
            entry(format!("/v1/schedules/{id}/seats")).await.refused(404, "schedule_not_found");
            let of_ann = |method, path: String| ann.booking(method, &path).into_future();
            of_ann("GET", format!("/v1/reservations/{id}")).await.refused(404, "reservation_not_found");
            of_ann("DELETE", format!("/v1/reservations/{id}")).await.refused(404, "reservation_not_found");
            of_ann("GET", format!("/v1/payments/{id}")).await.refused(404, "payment_not_found");
            of_ann("POST", format!("/v1/payments/{id}/refund")).await.refused(404, "payment_not_found");
            let admin = |method, path: String| world.admin().call(Side::BookingOps, method, &path);
            let report = admin("GET", format!("/admin/v1/schedules/{id}/report")).await;
            report.refused(404, "schedule_not_found");
            let date = admin("POST", format!("/admin/v1/concerts/{id}/schedules")).json(&world.date_body());
            date.await.refused(404, "concert_not_found");
            let change = admin("PATCH", format!("/admin/v1/concerts/{id}")).json(&json!({ "title": "x" }));
            change.await.refused(404, "concert_not_found");
        }
        ann.reserve_json(&json!({ "schedule_id": unknown, "seat_numbers": [1] }))
            .await
            .refused(404, "schedule_not_found");
        ann.pay_call(&unknown).await.refused(404, "reservation_not_found");
        for id in odd {
            let body = json!({ "schedule_id": id, "seat_numbers": [1] });
            let answer = ann.reserve_json(&body).await;
            assert!(matches!(answer.status, 404 | 422), "{answer:?}");
            let answer = ann.pay_call(id).await;
            assert!(matches!(answer.status, 404 | 422), "{answer:?}");
        }
    });
}

#[test]
fn hostile_names_of_queues_find_nothing_and_make_nothing() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        let long = "q".repeat(65);
        let hostile = [
            "nope",
            "MAIN",
            "main%00",
            "main%FF",
            "main%20",
            "%7Bmain%7D",
            "q%3Amain",
            "main%0d%0aX:y",
            "*",
            "ma%2Fin",
            "ma_in",
            "%D0%BE",
            "'%20or%201=1",
            &long,
        ];
        for queue in hostile {
            for (method, path) in [
                ("POST", format!("/v1/queues/{queue}/tokens")),
                ("GET", format!("/v1/queues/{queue}/tokens/me")),
                ("GET", format!("/v1/queues/{queue}")),
            ] {
                ann.call(Side::Queue, method, &path).await.refused(404, "queue_not_found");
            }
            for (method, tail) in [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/close")] {
                let path = format!("/admin/v1/queues/{queue}{tail}");
                world.admin().call(Side::QueueOps, method, &path).await.refused(404, "queue_not_found");
            }
            if queue != "nope" {
                world.admin().put_queue(queue, &json!({})).await.refused_somehow();
            }
        }
        let listed = world.admin().call(Side::QueueOps, "GET", "/admin/v1/queues").await.ok(200);
        let names: Vec<_> = listed.list("items").iter().filter_map(|item| item["queue"].as_str()).collect();
        assert_eq!(names, ["main"]);
        world.admin().put_queue(&"q".repeat(64), &json!({})).await.ok(201);
    });
}

#[test]
fn people_may_have_any_name() {
    World::s1().run(async |world| {
        let names = [
            "зритель №1",
            "観客 🎫",
            "O'Brien; drop table users;--",
            "a/b?c#d%e",
            "{q:main}:*",
            "me",
            "x\ty",
            "null",
            &"n".repeat(200),
        ];
        for name in names {
            let person = world.user(name);
            person.enter().await;
            assert_eq!(person.claims().sub, name);
            person.charge(7).await.ok(201);
            assert_eq!(person.balance().await, 7, "{name}");
            person.reserve(world.date(), &[1]).await.ok(201);
            let held = person.reservations("held").await;
            assert_eq!(held.len(), 1, "{name}");
            person
                .booking(
                    "DELETE",
                    &format!("/v1/reservations/{}", held[0]["reservation_id"].as_str().unwrap()),
                )
                .await
                .ok(204);
        }
        let active = world.admin().number("active").await;
        for name in ["зритель №1", "a/b?c#d%e"] {
            world.admin().remove("main", &world.user(name)).await.ok(204);
        }
        assert_eq!(world.admin().number("active").await, active - 2);
    });
}

#[test]
fn a_very_long_name_is_refused_or_served_but_never_half() {
    World::s1().run(async |world| {
        for length in [256, 1000, 8000] {
            let person = world.user(&"n".repeat(length));
            let joined = person.join().await;
            let points = person.booking("GET", "/v1/points").await;
            assert!(matches!(joined.status, 201 | 401), "{joined:?}");
            assert!(matches!(points.status, 200 | 401), "{points:?}");
        }
        let login = json!({ "user_id": "n".repeat(1000) });
        let answer = world.call(Side::Queue, "POST", "/v1/dev/login").json(&login).await;
        assert!(matches!(answer.status, 200 | 201 | 422), "{answer:?}");
        let empty = world.call(Side::Queue, "POST", "/v1/dev/login").json(&json!({ "user_id": "" })).await;
        empty.ok(422);
    });
}

#[test]
fn request_ids_are_taken_when_decent_and_made_otherwise() {
    World::s1().run(async |world| {
        for side in [Side::Queue, Side::QueueOps, Side::Booking, Side::BookingOps] {
            let answer = world.get(side, "/nope").header("x-request-id", "abc-123").await;
            assert_eq!(answer.header("x-request-id"), Some("abc-123"));
            let long = "x".repeat(5000);
            for odd in ["", " ", "a b", &long, "\u{e9}", "<script>alert(1)</script>\t"] {
                let answer = world.get(side, "/nope").header("x-request-id", odd).await;
                let id = answer.header("x-request-id").unwrap_or_default();
                assert!(!id.is_empty() && id.len() <= 256 && id.is_ascii(), "{odd:?}: {answer:?}");
                assert!(!id.contains(' ') && !id.contains('\t'), "{odd:?}: {answer:?}");
            }
        }
    });
}

#[test]
fn odd_headers_and_requests_are_survived() {
    World::s1().run(async |world| {
        for (name, value) in [
            ("traceparent", "nonsense"),
            ("traceparent", "00-00000000000000000000000000000000-0000000000000000-00"),
            ("accept", "*/*;q=nonsense, \u{1}"),
            ("accept-encoding", "br;q=1.1, zstd"),
            ("if-none-match", "W/\"x\", nonsense"),
            ("range", "bytes=0-0"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "999.1.1.1, unknown, ,"),
            ("cookie", "a=b"),
        ] {
            let value = value.replace('\u{1}', "");
            world.get(Side::Booking, "/v1/concerts").header(name, &value).await.ok(200);
            world.get(Side::Queue, "/v1/queues/main").header(name, &value).await.ok(200);
        }
        for side in [Side::Queue, Side::Booking] {
            for head in [
                "GET /v1/points HTTP/1.1\ncontent-length: 5\ncontent-length: 6",
                "GET /v1/points HTTP/1.1\ntransfer-encoding: chunked\ncontent-length: 5",
                "POST /v1/payments HTTP/1.1\ntransfer-encoding: gzip, chunked",
                "BREW /v1/points HTTP/1.1",
                "GET /v1/points\u{7f} HTTP/1.1",
                "nonsense",
            ] {
                let answer = world.raw(side, head, b"0\r\n\r\n").await;
                assert!(answer.as_ref().is_none_or(|answer| answer.status < 500), "{head}: {answer:?}");
            }
            let endless = format!("GET /v1/points HTTP/1.1\nx-padding: {}", "x".repeat(200_000));
            let answer = world.raw(side, &endless, b"").await;
            assert!(answer.as_ref().is_none_or(|answer| answer.status < 500), "{answer:?}");
        }
    });
}

#[test]
fn bad_query_values_are_422() {
    World::s1().run(async |world| {
        let ann = world.user("ann");
        ann.enter().await;
        let concert = &world.concert().id;
        for path in [
            "/v1/concerts?limit=0".to_owned(),
            "/v1/concerts?limit=201".to_owned(),
            "/v1/concerts?limit=-1".to_owned(),
            "/v1/concerts?cursor=%F0%9F".to_owned(),
            "/v1/concerts?cursor=AAAA".to_owned(),
            "/v1/reservations?limit=many".to_owned(),
            "/v1/reservations?status=HELD".to_owned(),
            "/v1/reservations?cursor=bnVsbA".to_owned(),
            format!("/v1/concerts/{concert}/schedules?from=2026-02-30"),
            format!("/v1/concerts/{concert}/schedules?to=now"),
            format!("/v1/concerts/{concert}/schedules?bookable=2"),
        ] {
            let call = world.get(Side::Booking, &path).bearer(&ann.entry_token());
            call.await.refused(422, "invalid_request");
        }
    });
}

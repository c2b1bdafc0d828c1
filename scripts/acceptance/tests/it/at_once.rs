//! What is answered before the router is what the router answers: the same members and headers, counted under the
//! same route and against the same limits. A query sends a request to the router.

use acceptance::{Answer, PRICE, Side, World, at_once};
use serde_json::Value;

const HEADERS: [&str; 6] =
    ["content-type", "content-length", "cache-control", "vary", "etag", "content-encoding"];
/// These differ from one poll to the next.
const OF_THE_MOMENT: [&str; 2] = ["poll_after_ms", "token_expires_at"];

fn lasting(answer: &Answer) -> Value {
    let mut body: Value = serde_json::from_str(&answer.text).expect("JSON");
    for member in OF_THE_MOMENT {
        if let Some(value) = body.get_mut(member) {
            assert!(!value.is_null(), "{member} is not told: {answer:?}");
            *value = Value::Null;
        }
    }
    body
}

fn headers(answer: &Answer, but: &str) -> Vec<Option<String>> {
    let wanted = HEADERS.iter().filter(|name| **name != but);
    wanted.map(|name| answer.header(name).map(str::to_owned)).collect()
}

/// Good answers of a route, as the metrics have them.
async fn answered(world: &World, side: Side, route: &str) -> u64 {
    let metrics = world.get(side, "/metrics").await.ok(200).text;
    let labels = format!("{{listener=\"public\",method=\"GET\",route=\"{route}\",status=\"200\"}} ");
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("http_requests_total")?.strip_prefix(&labels));
    line.map_or(0, |count| count.parse().expect("a count"))
}

#[test]
fn a_poll_is_answered_alike_before_the_router_and_by_it() {
    const ROUTE: &str = "/v1/queues/{queue}/tokens/me";
    World::s1().paused().run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        let before = answered(world, Side::QueueOps, ROUTE).await;
        let poll = async |tail| {
            let call = world.get(Side::Queue, &ann.me(tail)).bearer(&ann.queue_token());
            call.header("x-request-id", "mine").await.ok(200)
        };
        let (first, routed) = (poll("").await, poll("?routed").await);
        assert_eq!(lasting(&first), lasting(&routed));
        assert_eq!((first["status"].as_str(), first.int("position")), (Some("waiting"), 1));
        // The numbers of the moment may have another length.
        assert_eq!(headers(&first, "content-length"), headers(&routed, "content-length"));
        assert_eq!(
            (first.header("x-request-id"), routed.header("x-request-id")),
            (Some("mine"), Some("mine"))
        );
        assert_eq!(answered(world, Side::QueueOps, ROUTE).await - before, 2);
        let bodied = world.get(Side::Queue, &ann.me("")).bearer(&ann.queue_token()).json(&first.body);
        assert_eq!(lasting(&bodied.await.ok(200)), lasting(&first), "with a body that nobody reads");
    });
}

#[test]
fn a_seat_map_is_answered_alike_before_the_router_and_by_it() {
    const ROUTE: &str = "/v1/schedules/{id}/seats";
    World::s1().run(async |world| {
        let date = world.date();
        let token = world.entry_token("inspector", &date.concert.queue).await;
        let map = async |tail: &str, accepts: &str, known: &str| {
            let path = format!("/v1/schedules/{}/seats{tail}", date.id);
            let call = world.get(Side::Booking, &path).bearer(&token);
            call.header("accept-encoding", accepts).header("if-none-match", known).await
        };
        // From here on the token and the map are known.
        let tag = map("", "", "").await.ok(200).header("etag").expect("a tag").to_owned();
        let before = answered(world, Side::BookingOps, ROUTE).await;
        let (first, routed) = (map("", "", "").await.ok(200), map("?routed", "", "").await.ok(200));
        assert_eq!((&first.text, headers(&first, "")), (&routed.text, headers(&routed, "")));
        assert_eq!(answered(world, Side::BookingOps, ROUTE).await - before, 2);
        for known in [tag.as_str(), "*"] {
            let (first, routed) = (map("", "", known).await.ok(304), map("?routed", "", known).await.ok(304));
            assert_eq!(headers(&first, ""), headers(&routed, ""));
        }
    });
}

/// The first time by the router, which then knows the token; the second time there is only that to refuse it by
#[test]
fn whoever_the_router_refuses_a_seat_map_is_refused_again() {
    World::s1().run(async |world| {
        let date = world.date();
        let path = format!("/v1/schedules/{}/seats", date.id);
        let stranger = world.entry_token("stranger", "another").await;
        for _ in 0..2 {
            world.get(Side::Booking, &path).bearer(&stranger).await.refused(403, "wrong_queue");
        }
        let buyer = world.user("buyer");
        buyer.enter().await;
        buyer.charge(PRICE).await.ok(201);
        let hold = buyer.reserve(date, &[1]).await.ok(201);
        let token = buyer.entry_token();
        for _ in 0..2 {
            world.get(Side::Booking, &path).bearer(&token).await.ok(200);
        }
        buyer.pay(&hold).await.ok(201);
        // The map is fresh again: only the token is in the way.
        world.seat_map(date).await;
        world.get(Side::Booking, &path).bearer(&token).await.refused(401, "entry_token_completed");
    });
}

#[test]
fn who_polls_too_often_is_refused_before_the_router_too() {
    World::s1().paused().queue_flags(&["--rate-limit-per-user=5"]).run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        let token = ann.queue_token();
        let polls = (0..40).map(|_| world.get(Side::Queue, &ann.me("")).bearer(&token).attempt());
        let answers: Vec<Answer> = at_once(polls).await.into_iter().map(|answer| answer.unwrap()).collect();
        let refused: Vec<_> = answers.iter().filter(|answer| answer.code() == Some("rate_limited")).collect();
        assert!(!refused.is_empty() && refused.len() < answers.len(), "{} are refused", refused.len());
        assert!(refused.iter().all(|answer| answer.status == 429 && answer.header("retry-after").is_some()));
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429)));
    });
}

//! Every operation that a service documents is provoked here to its success and to each refusal that the
//! document names, and nothing is answered that the document does not name. The documents must have at
//! least what the contract has. Requirement 65.

mod booking;
mod queue;

use std::collections::{BTreeMap, BTreeSet};

use acceptance::{Seen, Side, World};
use serde_json::Value;

/// Refusals of the layers around every route; they have tests of their own.
const GENERAL: [&str; 7] = [
    "500 internal",
    "503 timeout",
    "503 overloaded",
    "503 unavailable",
    "429 rate_limited",
    "404 not_found",
    "405 method_not_allowed",
];

/// By operation (`GET /v1/queues/{}`): `201`, `409 seat_taken`, …
type Outcomes = BTreeMap<String, BTreeSet<String>>;

async fn documented(world: &World, side: Side) -> Outcomes {
    let document = world.get(side, "/openapi.json").await.ok(200).body;
    let mut outcomes = Outcomes::new();
    for (path, item) in document["paths"].as_object().expect("the document has paths") {
        for (method, operation) in item.as_object().expect("a path has operations") {
            let name = format!("{} {}", method.to_uppercase(), anonymous(path));
            let responses = operation["responses"].as_object().expect("an operation has responses");
            outcomes
                .insert(name, responses.iter().flat_map(|(status, answer)| named(status, answer)).collect());
        }
    }
    outcomes
}

/// `/v1/concerts/{id}` as `/v1/concerts/{}`: what a parameter is called is not the contract's business.
fn anonymous(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// A success is its status; a refusal one line per code.
fn named(status: &str, answer: &Value) -> Vec<String> {
    let mut codes = Vec::new();
    collect_codes(&answer["content"]["application/problem+json"]["schema"], &mut codes);
    if codes.is_empty() {
        vec![status.to_owned()]
    } else {
        codes.iter().map(|code| format!("{status} {code}")).collect()
    }
}

fn collect_codes(schema: &Value, codes: &mut Vec<String>) {
    if let Some(words) = schema["properties"]["code"]["enum"].as_array() {
        codes.extend(words.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect_codes(part, codes);
    }
}

/// The operation that a call was of: the documented path with the most words in common.
fn operation<'d>(documented: &'d Outcomes, seen: &Seen) -> Option<&'d str> {
    let fits = |name: &&String| {
        let (method, path) = name.split_once(' ')?;
        let parts: Vec<_> = path.split('/').zip(seen.path.split('/')).collect();
        let same_length = path.split('/').count() == seen.path.split('/').count();
        let all = parts.iter().all(|(wanted, got)| *wanted == "{}" || wanted == got);
        (method == seen.method && same_length && all)
            .then(|| parts.iter().filter(|(wanted, got)| wanted == got).count())
    };
    documented.keys().max_by_key(|name| fits(name)).filter(|name| fits(name).is_some()).map(String::as_str)
}

/// What the world has seen, by documented operation.
fn seen(world: &World, documented: &Outcomes, queue: bool) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for seen in world.seen().iter().filter(|seen| seen.side.is_queue() == queue) {
        if let Some(name) = operation(documented, seen) {
            let outcome = match &seen.code {
                Some(code) => format!("{} {code}", seen.status),
                None => seen.status.to_string(),
            };
            outcomes.entry(name.to_owned()).or_default().insert(outcome);
        }
    }
    outcomes
}

/// Fails with everything that is in `wanted` and not in `found`.
#[track_caller]
fn all_of(wanted: &Outcomes, found: &Outcomes, exempt: &[(&str, &str)], what: &str) {
    let mut missing = Vec::new();
    for (name, outcomes) in wanted {
        for outcome in outcomes {
            let is_exempt = GENERAL.contains(&outcome.as_str()) || exempt.contains(&(name, outcome));
            if !is_exempt && !found.get(name).is_some_and(|found| found.contains(outcome)) {
                missing.push(format!("{name}: {outcome}"));
            }
        }
    }
    assert!(missing.is_empty(), "{what}:\n{}", missing.join("\n"));
}

/// Lines of `METHOD path: outcome, outcome, …` as outcomes.
fn table(lines: &str) -> Outcomes {
    let rows = lines.trim().lines().map(|line| {
        let (name, outcomes) = line.trim().split_once(": ").expect("a row is `operation: outcomes`");
        (name.to_owned(), outcomes.split(", ").map(str::to_owned).collect())
    });
    rows.collect()
}

/// The refusals that are the same everywhere: no credential, a bad one, a bad body, a bad page.
async fn provoke_general(world: &World, side: Side, documented: &Outcomes, fill: impl Fn(&str) -> String) {
    let ops = if side == Side::Queue { Side::QueueOps } else { Side::BookingOps };
    for name in documented.keys() {
        let (method, template) = name.split_once(' ').expect("an operation has a method");
        let path = fill(template);
        let is_ops = ["/admin", "/internal", "/livez", "/readyz", "/metrics"];
        let side = if is_ops.iter().any(|beginning| path.starts_with(beginning)) { ops } else { side };
        let token = if path.starts_with("/admin") {
            acceptance::ADMIN_TOKEN.to_owned()
        } else if path.starts_with("/internal") {
            acceptance::SERVICE_TOKEN.to_owned()
        } else if side == Side::Booking {
            world.entry_token("general", "main").await
        } else {
            world.user_token("general")
        };
        let outcomes = &documented[name];
        let has = |code: &str| outcomes.iter().any(|outcome| outcome.ends_with(code));
        if method == "GET" && !has(" invalid_token") {
            drop(world.get(side, &path).await);
        }
        if has(" forbidden") {
            let other =
                if path.starts_with("/admin") { acceptance::SERVICE_TOKEN } else { acceptance::ADMIN_TOKEN };
            drop(world.call(side, method, &path).bearer(other).await);
        }
        if has(" body_too_large") && !has(" invalid_json") {
            let large = " ".repeat(1024 * 1024 + 1);
            let call = world.call(side, method, &path).bearer(&token).body("application/json", large);
            drop(call.await);
        }
        if outcomes.iter().any(|outcome| outcome.starts_with("401")) {
            drop(world.call(side, method, &path).key("general").await);
            drop(world.call(side, method, &path).key("general").bearer("rubbish").await);
        }
        let call = |media: &str, body: &str| {
            let key = uuid::Uuid::new_v4().to_string();
            world.call(side, method, &path).bearer(&token).key(&key).body(media, body).into_future()
        };
        if has(" invalid_json") {
            drop(call("application/json", "{").await);
            drop(call("application/json", "[[]]").await);
            drop(call("text/plain", "{}").await);
        }
        if has(" body_too_large") {
            let limit = if side == ops { 1024 * 1024 } else { 64 * 1024 };
            drop(call("application/json", &" ".repeat(limit + 1)).await);
        }
        if has(" invalid_request") && method == "GET" {
            for query in ["limit=0", "from=x", "cursor=%25"] {
                drop(world.get(side, &format!("{path}?{query}")).bearer(&token).await);
            }
        }
    }
}

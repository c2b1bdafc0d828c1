//! Lanes: the share of each, its order, its places. Who stands where is what the user token claims.

use std::collections::BTreeMap;

use acceptance::{Answer, Side, User, World, at_once, eventually};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};

/// Admissions by lane; everybody's is called "".
type ByLane = BTreeMap<String, i64>;

/// One queue that lets in nobody but by hand, and in which nobody lapses.
struct Hall<'w> {
    world: &'w World,
    queue: String,
}

fn settings(lanes: &Value) -> Value {
    json!({
        "lanes": lanes, "admission": null, "max_active": null, "instant_admission": false,
        "waiting_ttl_seconds": 0, "claim_window_seconds": 600,
    })
}

/// Lanes of these shares.
fn lanes(shares: &[(&str, u32)]) -> Value {
    shares.iter().map(|(lane, share)| json!({ "lane": lane, "share_percent": share })).collect()
}

impl<'w> Hall<'w> {
    async fn open(world: &'w World, queue: &str, settings: &Value) -> Self {
        world.admin().put_queue(queue, settings).await.ok(201);
        world.admin().pause(queue).await.ok(200);
        Self { world, queue: queue.to_owned() }
    }

    /// Somebody whose token claims `lane`; nothing when it is empty.
    fn person(&self, name: &str, lane: &str) -> User<'w> {
        let person = self.world.user(name).at(&self.queue);
        if lane.is_empty() { person } else { person.with(claiming(self.world, name, &json!(lane))) }
    }

    /// So many more people in that lane.
    async fn gather(&self, lane: &str, count: usize) -> Vec<User<'w>> {
        let known = self.report().await.int("waiting") + self.report().await.int("admitted_total");
        let name = |number: usize| format!("{}-{lane}-{known}-{number}", self.queue);
        let people: Vec<_> = (0..count).map(|number| self.person(&name(number), lane)).collect();
        for answer in at_once(people.iter().map(User::join)).await {
            let expected = if lane.is_empty() { json!(null) } else { json!(lane) };
            assert_eq!(answer.ok(201)["lane"], expected);
        }
        people
    }

    async fn report(&self) -> Answer {
        self.world.admin().queue(&self.queue).await.ok(200)
    }

    async fn put(&self, lanes: &Value) -> Answer {
        self.world.admin().put_queue(&self.queue, &settings(lanes)).await
    }

    async fn admitted(&self) -> ByLane {
        let report = self.report().await;
        let row = |lane: &Value| {
            let name = lane["lane"].as_str().unwrap_or_default().to_owned();
            (name, lane["admitted_total"].as_i64().expect("a number"))
        };
        report.list("lanes").iter().map(row).collect()
    }

    /// Lets so many in at once; how many were of which lane.
    async fn let_in(&self, users: u32) -> ByLane {
        let before = self.admitted().await;
        self.world.admin().admit(&self.queue, users).await.ok(200);
        let after = self.admitted().await;
        after.into_iter().map(|(lane, total)| (lane.clone(), total - before[&lane])).collect()
    }

    /// Lets so many in one by one; the lane of each.
    async fn let_in_one_by_one(&self, users: u32) -> Vec<String> {
        let mut run = Vec::new();
        for _ in 0..users {
            let came = self.let_in(1).await.into_iter().filter(|(_, count)| *count > 0);
            let came: Vec<_> = came.collect();
            assert!(matches!(came.as_slice(), [(_, 1)]), "not one: {came:?}");
            run.extend(came.into_iter().map(|(lane, _)| lane));
        }
        run
    }
}

fn claiming(world: &World, name: &str, lane: &Value) -> String {
    world.user_token_with(name, json!({ "lane": lane }))
}

/// Any stretch of the run has of `lane` its share, to within `slack` people.
#[track_caller]
fn has_its_share(run: &[String], lane: &str, percent: u32, slack: f64) {
    for from in 0..run.len() {
        for to in from + 1..=run.len() {
            let stretch = &run[from..to];
            let found = u32::try_from(stretch.iter().filter(|of| *of == lane).count()).unwrap();
            let due = f64::from(percent) * f64::from(u32::try_from(stretch.len()).unwrap()) / 100.0;
            let off = f64::from(found) - due;
            assert!(off.abs() <= slack, "{found} of {lane:?} where {due} are due, from {from}: {stretch:?}");
        }
    }
}

#[test]
fn each_lane_has_its_share_of_every_run_of_admissions() {
    World::s0().run(async |world| {
        let hall = Hall::open(world, "two", &settings(&lanes(&[("vip", 30)]))).await;
        hall.gather("", 150).await;
        hall.gather("vip", 70).await;
        has_its_share(&hall.let_in_one_by_one(100).await, "vip", 30, 1.0);
        let many = hall.let_in(100).await;
        assert!((29..=31).contains(&many["vip"]) && many[""] + many["vip"] == 100, "{many:?}");
        let hall = Hall::open(world, "three", &settings(&lanes(&[("vip", 50), ("club", 20)]))).await;
        for lane in ["vip", "club", ""] {
            hall.gather(lane, 60).await;
        }
        let run = hall.let_in_one_by_one(100).await;
        for (lane, percent) in [("vip", 50), ("club", 20), ("", 30)] {
            has_its_share(&run, lane, percent, 2.0);
        }
        let hall = Hall::open(world, "greedy", &settings(&lanes(&[("vip", 99)]))).await;
        hall.gather("vip", 220).await;
        hall.gather("", 5).await;
        let crumbs = hall.let_in(200).await;
        assert!((1..=3).contains(&crumbs[""]), "everybody's lane starves: {crumbs:?}");
    });
}

/// The rate's admissions are shared as those by hand are.
#[test]
fn the_rate_is_shared_too() {
    World::s0().run(async |world| {
        let mut settings = settings(&lanes(&[("vip", 30)]));
        settings["admission"] = json!({ "users": 10, "every_seconds": 1 });
        let hall = Hall::open(world, "main-hall", &settings).await;
        hall.gather("", 80).await;
        hall.gather("vip", 40).await;
        world.admin().resume(&hall.queue).await.ok(200);
        for second in 1..=10 {
            let so_far = eventually("ten more are let in", async || {
                let admitted = hall.admitted().await;
                let all: i64 = admitted.values().sum();
                if all >= second * 10 { Ok(admitted) } else { Err(format!("{admitted:?}")) }
            })
            .await;
            let off = so_far["vip"] * 10 - so_far.values().sum::<i64>() * 3;
            assert!((-10..=10).contains(&off), "{so_far:?}");
            world.advance_seconds(1);
        }
    });
}

#[test]
fn each_lane_has_an_order_and_positions_of_its_own() {
    World::s0().replicas(2).run(async |world| {
        let hall = Hall::open(world, "order", &settings(&lanes(&[("vip", 40)]))).await;
        let mut people: BTreeMap<&str, Vec<User<'_>>> = BTreeMap::new();
        for number in 0..20 {
            let lane = if number % 3 == 1 { "vip" } else { "" };
            let person = hall.person(&format!("p-{number}"), lane);
            let joined = person.join().await.ok(201);
            let others = people.entry(lane).or_default();
            others.push(person);
            assert_eq!(joined.int("position"), i64::try_from(others.len()).unwrap(), "{joined:?}");
            assert!(joined.int("position") <= joined.int("waiting"), "{joined:?}");
        }
        for _ in 0..20 {
            let before = hall.admitted().await;
            hall.let_in(1).await;
            let after = hall.admitted().await;
            assert_ne!(before, after, "nobody was let in");
            for (lane, line) in &people {
                as_many_are_in(line, after[*lane]).await;
            }
        }
    });
}

/// The first `inside` of a lane are inside, and the others have moved up.
async fn as_many_are_in(line: &[User<'_>], inside: i64) {
    for (person, number) in line.iter().zip(1..) {
        eventually("everybody stands where they should", async || {
            let status = person.poll().await.ok(200);
            let expected = if number <= inside { json!(null) } else { json!(number - inside) };
            let is_in = status["status"] == "active";
            assert!(!is_in || number <= inside, "let in before their turn: {status:?}");
            let stands = is_in == (number <= inside) && status["position"] == expected;
            if stands { Ok(()) } else { Err(format!("{expected}: {status:?}")) }
        })
        .await;
    }
}

#[test]
fn an_empty_lane_leaves_its_share_to_the_others_and_saves_nothing_up() {
    World::s0().run(async |world| {
        let hall = Hall::open(world, "idle-vip", &settings(&lanes(&[("vip", 30)]))).await;
        hall.gather("", 70).await;
        assert_eq!(hall.let_in(40).await, ByLane::from([(String::new(), 40), ("vip".into(), 0)]));
        hall.gather("vip", 10).await;
        let run = hall.let_in_one_by_one(20).await;
        has_its_share(&run, "vip", 30, 1.0);
        let rest = hall.let_in(20).await;
        assert_eq!((rest["vip"], rest[""]), (4, 16), "the last four of the lane, then everybody's");
        let hall = Hall::open(world, "idle-others", &settings(&lanes(&[("vip", 30)]))).await;
        hall.gather("vip", 60).await;
        assert_eq!(hall.let_in(40).await["vip"], 40);
        let early = hall.gather("", 30).await;
        has_its_share(&hall.let_in_one_by_one(10).await, "", 70, 1.0);
        // Those of a lane who leave take nothing with them, and owe nothing.
        at_once(early.iter().map(User::leave)).await;
        assert_eq!(hall.let_in(10).await["vip"], 10);
        hall.gather("", 20).await;
        has_its_share(&hall.let_in_one_by_one(10).await, "", 70, 1.0);
    });
}

#[test]
fn the_lane_is_what_the_user_token_claims_and_else_everybodys() {
    World::s0().run(async |world| {
        let hall = Hall::open(world, "claims", &settings(&lanes(&[("vip", 30)]))).await;
        for (number, lane) in [
            json!("staff"),
            json!(""),
            json!("VIP"),
            json!(1),
            json!(["vip"]),
            json!(null),
            json!({ "vip": 1 }),
        ]
        .iter()
        .enumerate()
        {
            let name = format!("odd-{number}");
            let person = world.user(&name).at(&hall.queue).with(claiming(world, &name, lane));
            let joined = person.join().await.ok(201);
            assert_eq!(joined["lane"], json!(null), "{lane}");
            assert_eq!(joined.int("position"), i64::try_from(number).unwrap() + 1, "{lane}: {joined:?}");
        }
        let login = world.call(Side::Queue, "POST", "/v1/dev/login");
        let login = login.json(&json!({ "user_id": "guest", "lane": "vip" })).await.ok(200);
        let guest = world.user("guest").at(&hall.queue).with(login.text("user_token"));
        let joined = guest.join().await.ok(201);
        assert_eq!((&joined["lane"], &joined["position"]), (&json!("vip"), &json!(1)));
        // What a client says elsewhere is no claim.
        let path = format!("/v1/queues/{}/tokens?lane=vip", hall.queue);
        let pushy = world.user("pushy").call(Side::Queue, "POST", &path).json(&json!({ "lane": "vip" }));
        assert_eq!(pushy.await.ok(201)["lane"], json!(null));
        let report = hall.report().await;
        let waiting: Vec<_> = report.list("lanes").iter().map(|lane| &lane["waiting"]).collect();
        assert_eq!(waiting, [8, 1], "{report:?}");
    });
}

#[test]
fn the_identity_provider_says_which_lane_in_the_claim_that_is_set() {
    let world = World::s0().identity_provider().queue_flags(&["--user-lane-claim", "tier"]);
    world.run(async |world| {
        let hall = Hall::open(world, "tiers", &settings(&lanes(&[("gold", 30)]))).await;
        let gold = world.user_token_with("ann", json!({ "tier": "gold", "lane": "silver" }));
        let joined = world.user("ann").at(&hall.queue).with(gold).join().await.ok(201);
        assert_eq!((&joined["lane"], &joined["position"]), (&json!("gold"), &json!(1)));
        let other = world.user_token_with("bob", json!({ "lane": "gold" }));
        let joined = world.user("bob").at(&hall.queue).with(other).join().await.ok(201);
        assert_eq!((&joined["lane"], &joined["position"]), (&json!(null), &json!(1)));
    });
}

#[test]
fn joining_again_keeps_the_place_in_the_lane_or_takes_a_new_one_at_its_back() {
    World::s3().run(async |world| {
        let hall = Hall::open(world, "keep", &settings(&lanes(&[("vip", 30)]))).await;
        let (first, ann) = (hall.person("first", "vip"), hall.person("ann", "vip"));
        first.join().await.ok(201);
        ann.join().await.ok(201);
        hall.person("last", "vip").join().await.ok(201);
        // With whatever token: the place is the one that the person has.
        for again in [hall.person("ann", "vip"), hall.person("ann", "")] {
            let joined = again.join().await.ok(200);
            assert_eq!((&joined["lane"], &joined["position"]), (&json!("vip"), &json!(2)), "{joined:?}");
        }
        let mut requeue = settings(&lanes(&[("vip", 30)]));
        requeue["rejoin"] = json!("requeue");
        world.admin().put_queue(&hall.queue, &requeue).await.ok(200);
        let old = ann.queue_token();
        let joined = ann.join().await.ok(201);
        assert_eq!((&joined["lane"], &joined["position"]), (&json!("vip"), &json!(3)), "{joined:?}");
        world.get(Side::Queue, &ann.me("")).bearer(&old).await.refused(410, "token_replaced");
        let joined = hall.person("ann", "").join().await.ok(201);
        assert_eq!((&joined["lane"], &joined["position"]), (&json!(null), &json!(1)), "{joined:?}");
        assert_eq!(hall.report().await["waiting"], 3);
    });
}

#[test]
fn shares_change_live_and_a_lane_with_people_behind_it_stays() {
    World::s0().run(async |world| {
        let hall = Hall::open(world, "live", &settings(&lanes(&[("vip", 10), ("club", 10)]))).await;
        hall.gather("", 120).await;
        let vips = hall.gather("vip", 60).await;
        has_its_share(&hall.let_in_one_by_one(20).await, "vip", 10, 1.5);
        hall.put(&lanes(&[("vip", 50), ("club", 10)])).await.ok(200);
        // club is empty: its share goes to the others, five to four.
        let run = hall.let_in(45).await;
        assert!((24..=26).contains(&run["vip"]) && run["vip"] + run[""] == 45, "{run:?}");
        let before = hall.report().await;
        let last = vips.last().unwrap().poll().await.ok(200);
        for moved in [
            lanes(&[]),
            json!(null),
            lanes(&[("vip", 50)]),
            lanes(&[("gold", 50), ("club", 10)]),
            lanes(&[("club", 10), ("vip", 50)]),
            lanes(&[("new", 1), ("vip", 50), ("club", 10)]),
            lanes(&[("vip", 90), ("club", 10)]),
        ] {
            hall.put(&moved).await.refused(422, "invalid_settings");
            assert_eq!(hall.report().await["settings"], before["settings"], "{moved}");
        }
        let after = hall.report().await;
        assert_eq!((&after["lanes"], &after["waiting"]), (&before["lanes"], &before["waiting"]));
        let still = vips.last().unwrap().poll().await.ok(200);
        assert_eq!((&still["lane"], &still["status"]), (&last["lane"], &last["status"]), "{still:?}");
        hall.put(&lanes(&[("vip", 50), ("club", 10), ("press", 20)])).await.ok(200);
        let press = hall.gather("press", 12).await;
        assert_eq!(press[0].poll().await.ok(200)["lane"], "press");
        let run = hall.let_in(20).await;
        // Shares of 50, 20 and 20, as club is empty.
        assert!((4..=5).contains(&run["press"]) && (10..=12).contains(&run["vip"]), "{run:?}");
        // A lane that had next to nothing does not sit out the long turn of its old share.
        hall.gather("", 60).await;
        hall.put(&lanes(&[("vip", 50), ("club", 10), ("press", 1)])).await.ok(200);
        hall.gather("press", 20).await;
        while hall.let_in(1).await["press"] == 0 {}
        hall.put(&lanes(&[("vip", 10), ("club", 10), ("press", 50)])).await.ok(200);
        let run = hall.let_in(16).await;
        assert!((8..=11).contains(&run["press"]), "{run:?}");
        // An empty queue may be arranged anew, and old places mean nothing in it.
        hall.let_in(300).await;
        hall.put(&lanes(&[("gold", 20)])).await.ok(200);
        let joined = hall.person("late", "gold").join().await.ok(201);
        assert_eq!((&joined["lane"], &joined["position"]), (&json!("gold"), &json!(1)), "{joined:?}");
        assert_eq!(hall.person("later", "vip").join().await.ok(201)["lane"], json!(null));
    });
}

/// docs/FAIRNESS.md, in each lane.
#[test]
fn a_lottery_is_drawn_in_each_lane_and_can_be_checked() {
    World::s0().replicas(2).run(async |world| {
        let mut settings = settings(&lanes(&[("vip", 30)]));
        settings["order"] = json!("lottery");
        settings["opens_at"] = json!(world.in_hours(1));
        let hall = Hall::open(world, "draw", &settings).await;
        world.admin().resume(&hall.queue).await.ok(200);
        let people: BTreeMap<&str, Vec<User<'_>>> = ["", "vip"]
            .map(|lane| (lane, (0..12).map(|n| hall.person(&format!("{lane}-{n}"), lane)).collect()))
            .into();
        for person in people.values().flatten() {
            assert_eq!(person.join().await.ok(201)["status"], "scheduled");
        }
        let page = async || world.get(Side::Queue, "/v1/queues/draw").await.ok(200);
        let draw = page().await["draw"].clone();
        assert!(draw["commitment"].is_string() && draw["seed"].is_null(), "{draw}");
        settings["max_active"] = json!(0);
        world.admin().put_queue(&hall.queue, &settings).await.ok(200);
        world.advance_seconds(3601);
        let draw = eventually("the draw is made", async || {
            let draw = page().await["draw"].clone();
            if draw["seed"].is_string() { Ok(draw) } else { Err(draw.to_string()) }
        })
        .await;
        let drawn = |lane: Option<&str>| json!({ "lane": lane, "first_number": 1, "last_number": 12 });
        assert_eq!(draw["lanes"], json!([drawn(None), drawn(Some("vip"))]));
        let seed = draw["seed"].as_str().unwrap();
        for (lane, line) in people {
            let order = order_of_the_draw(seed, 12);
            for (number, person) in (1_u64..).zip(&line) {
                let position = order.iter().position(|other| *other == number).unwrap() + 1;
                eventually("the place is the drawn one", async || {
                    let status = person.poll().await.ok(200);
                    if status["position"] == position {
                        Ok(())
                    } else {
                        Err(format!("{position}: {status:?}"))
                    }
                })
                .await;
            }
            let late = hall.person(&format!("late-{lane}"), lane).join().await.ok(201);
            assert_eq!(late["position"], 13, "{late:?}");
        }
    });
}

/// The numbers 1 to `last` in the order of their lots.
fn order_of_the_draw(seed: &str, last: u64) -> Vec<u64> {
    let lot = |number: &u64| {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{seed}:{number}").as_bytes());
        let hash = hash.as_ref();
        (u32::from_be_bytes([0, hash[0], hash[1], hash[2]]), *number)
    };
    let mut order: Vec<u64> = (1..=last).collect();
    order.sort_by_key(lot);
    order
}

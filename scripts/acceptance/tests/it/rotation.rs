//! Keys that come and go while the services run: nobody's token stops working before its time.

use std::time::Duration;

use acceptance::{Builder, Keys, Side, User, World, eventually, new_secret, within};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

const REPLICAS: [usize; 2] = [0, 1];
/// The defaults: a minute, and two rounds of a second each.
const SETTLED_SECONDS: u64 = 63;
/// Of an entry token in these worlds.
const LIFE_SECONDS: u64 = 600;
/// How long a key outlives its last token and its last file at most: a minute and three rounds.
const KEPT_SECONDS: u64 = 70;

fn rotating(world: Builder) -> Builder {
    world.queue_flags(&["--key-reload-seconds", "1"])
}

/// What each replica publishes.
async fn published(world: &World) -> Vec<Vec<String>> {
    let mut sets = Vec::new();
    for replica in REPLICAS {
        let jwks = world.get(Side::Queue, "/.well-known/jwks.json").on(replica).await.ok(200);
        sets.push(jwks.list("keys").iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect());
    }
    sets
}

/// Until both replicas publish just these.
async fn until_published(world: &World, kids: &[&str]) {
    let mut kids = kids.to_vec();
    kids.sort_unstable();
    within(Duration::from_secs(15), &format!("{kids:?} are published"), async || {
        let sets = published(world).await;
        let good = sets.iter().all(|set| {
            let mut set: Vec<_> = set.iter().map(String::as_str).collect();
            set.sort_unstable();
            set == kids
        });
        if good { Ok(()) } else { Err(format!("{sets:?}")) }
    })
    .await;
}

/// The keys by which the replicas sign this person's entry token now.
async fn signers(world: &World, user: &User<'_>) -> Vec<String> {
    let mut kids = Vec::new();
    for replica in REPLICAS {
        let poll = world.get(Side::Queue, &user.me("")).bearer(&user.queue_token()).on(replica);
        let token = poll.await.ok(200).text("entry_token");
        kids.push(jsonwebtoken::decode_header(token).unwrap().kid.unwrap());
    }
    kids
}

async fn until_signed_by(world: &World, user: &User<'_>, kid: &str) {
    eventually(&format!("{kid} signs"), async || {
        let signers = signers(world, user).await;
        if signers.iter().all(|signer| signer == kid) { Ok(()) } else { Err(format!("{signers:?}")) }
    })
    .await;
}

/// Makes every booking replica fetch the published keys again, by a token that names none of them.
async fn fetch_keys_again(world: &World) {
    world.advance_seconds(6);
    let claims = world.entry_claims("nobody", "main").await;
    let stranger = shared::tokens::entry::sign(&claims, &Keys::stranger()).unwrap();
    for replica in REPLICAS {
        let seats = format!("/v1/schedules/{}/seats", world.date().id);
        let answer = world.get(Side::Booking, &seats).bearer(&stranger).on(replica).await;
        answer.refused(401, "invalid_token");
    }
}

/// The token opens every booking replica, or none.
async fn opens(world: &World, token: &str, outcome: &str) {
    for replica in REPLICAS {
        let seats = format!("/v1/schedules/{}/seats", world.date().id);
        let answer = world.get(Side::Booking, &seats).bearer(token).on(replica).await;
        assert_eq!(answer.outcome(), outcome, "replica {replica}: {answer:?}");
    }
}

#[test]
fn a_new_key_is_published_then_signs_and_the_old_one_stays_until_its_last_token_has_ended() {
    rotating(World::s1()).replicas(2).run(async |world| {
        let (first, second) = (world.keys.entry_key().kid().to_owned(), world.keys.other_entry_key());
        let second = second.kid();
        world.keys.remove_entry_key("2");
        let ann = world.user("ann");
        ann.enter().await;
        until_signed_by(world, &ann, &first).await;
        let (old_token, claims) = (ann.entry_token(), ann.claims());

        let third = world.keys.add_entry_key("3");
        eventually("both replicas publish the new key", async || {
            assert_eq!(
                signers(world, &ann).await,
                [first.as_str(), &first],
                "signed before it was published"
            );
            let sets = published(world).await;
            if sets.iter().all(|set| set.contains(&third)) { Ok(()) } else { Err(format!("{sets:?}")) }
        })
        .await;
        assert_eq!(signers(world, &ann).await, [first.as_str(), &first], "signed as soon as published");

        world.advance_seconds(SETTLED_SECONDS);
        until_signed_by(world, &ann, &third).await;
        ann.poll().await.ok(200);
        assert_eq!(ann.claims(), claims, "the same admission, signed by another key");
        let bob = world.user("bob");
        bob.enter().await;
        assert_eq!(signers(world, &bob).await, [third.as_str(), &third]);
        for token in [&old_token, &ann.entry_token(), &bob.entry_token()] {
            opens(world, token, "200").await;
        }

        world.keys.remove_entry_key("1");
        world.advance_seconds(KEPT_SECONDS);
        // The second key has signed nothing and has no file: it goes. The first has signed.
        until_published(world, &[&first, &third]).await;
        assert!(!published(world).await.concat().contains(&second.to_owned()));
        fetch_keys_again(world).await;
        opens(world, &old_token, "200").await;

        world.advance_seconds(LIFE_SECONDS);
        opens(world, &old_token, "401 entry_token_expired").await;
        until_published(world, &[&third]).await;
    });
}

#[test]
fn a_removed_key_never_signs_again_and_what_it_signed_still_opens() {
    rotating(World::s1()).replicas(2).run(async |world| {
        let (first, second) = (world.keys.entry_key(), world.keys.other_entry_key());
        let ann = world.user("ann");
        ann.enter().await;
        assert_eq!(signers(world, &ann).await, [first.kid(), first.kid()]);
        let token = ann.entry_token();
        // The other one has not settled, and signs all the same.
        world.keys.remove_entry_key("1");
        until_signed_by(world, &ann, second.kid()).await;
        until_published(world, &[first.kid(), second.kid()]).await;
        fetch_keys_again(world).await;
        opens(world, &token, "200").await;
        ann.poll().await.ok(200);
        opens(world, &ann.entry_token(), "200").await;
    });
}

#[test]
fn a_broken_key_file_changes_nothing() {
    rotating(World::s1()).replicas(2).run(async |world| {
        let (first, second) = (world.keys.entry_key(), world.keys.other_entry_key());
        let ann = world.user("ann");
        ann.enter().await;
        world.keys.spoil_entry_key("1");
        world.keys.spoil_entry_key("9");
        // One that is good, later in the order of names, shows that they were read.
        let third = world.keys.add_entry_key("a");
        until_published(world, &[first.kid(), second.kid(), &third]).await;
        assert_eq!(signers(world, &ann).await, [first.kid(), first.kid()]);
        opens(world, &ann.entry_token(), "200").await;
        world.get(Side::QueueOps, "/readyz").await.ok(200);
    });
}

/// The same place under another secret.
fn signed_anew(token: &str, secret: &str) -> String {
    let secret = STANDARD.decode(secret).unwrap();
    let payload = token.strip_prefix("qt_").unwrap().split_once('.').unwrap().0;
    let mut payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    payload[..4].copy_from_slice(&digest::digest(&digest::SHA256, &secret).as_ref()[..4]);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &payload);
    format!("qt_{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(mac.as_ref()))
}

/// How each replica answers a poll with this queue token: status, or refusal.
async fn polls(world: &World, user: &User<'_>, token: &str) -> Vec<String> {
    let mut outcomes = Vec::new();
    for replica in REPLICAS {
        let poll = world.get(Side::Queue, &user.me("")).bearer(token).on(replica).await;
        outcomes.push(poll.outcome());
    }
    outcomes
}

async fn until_polls(world: &World, user: &User<'_>, token: &str, outcome: &str) {
    eventually(&format!("a poll is answered {outcome}"), async || {
        let outcomes = polls(world, user, token).await;
        if outcomes == [outcome, outcome] { Ok(()) } else { Err(format!("{outcomes:?}")) }
    })
    .await;
}

#[test]
fn a_new_secret_verifies_then_signs_and_a_removed_one_ends() {
    rotating(World::s1()).paused().replicas(2).run(async |world| {
        let ann = world.user("ann");
        ann.join().await.ok(201);
        let old = ann.queue_token();
        let (new, before) = (new_secret(), world.keys.queue_secrets());
        let renewed = signed_anew(&old, &new);
        assert_eq!(polls(world, &ann, &renewed).await, ["401 invalid_token", "401 invalid_token"]);

        world.keys.set_queue_secrets(&[&new, &before[0], &before[1]]);
        until_polls(world, &ann, &renewed, "200").await;
        for _ in REPLICAS {
            ann.poll().await.ok(200);
            assert_eq!(ann.queue_token(), old, "signed before every replica can know it");
        }
        world.advance_seconds(SETTLED_SECONDS);
        eventually("the new secret signs", async || {
            let mut tokens = Vec::new();
            for replica in REPLICAS {
                let poll = world.get(Side::Queue, &ann.me("")).bearer(&old).on(replica).await.ok(200);
                tokens.push(poll.text("queue_token"));
            }
            if tokens.iter().all(|token| *token == renewed) { Ok(()) } else { Err(format!("{tokens:?}")) }
        })
        .await;

        world.keys.set_queue_secrets(&[&new]);
        until_polls(world, &ann, &old, "401 invalid_token").await;
        let status = world.get(Side::Queue, &ann.me("")).bearer(&renewed).await.ok(200);
        assert_eq!((&status["position"], &status["status"]), (&1.into(), &"waiting".into()));
    });
}

/// The registry outlives the process; without it a process starts with what its files say.
#[test]
fn a_restart_keeps_retired_keys_and_needs_no_redis() {
    let world = rotating(World::s1()).programs().with_outages();
    world.queue_flags(&["--entry-key-settle-seconds", "1"]).run(async |world| {
        let (first, second) = (world.keys.entry_key(), world.keys.other_entry_key());
        let kids = async || {
            let jwks = world.get(Side::Queue, "/.well-known/jwks.json").await.ok(200);
            let kids = jwks.list("keys").iter().map(|key| key["kid"].as_str().unwrap().to_owned());
            (kids.collect::<Vec<_>>(), jwks.header("cache-control").unwrap_or_default().to_owned())
        };
        let ann = world.user("ann");
        ann.enter().await;
        let old_token = ann.entry_token();
        eventually("the second key signs", async || {
            ann.poll().await.ok(200);
            let kid = jsonwebtoken::decode_header(ann.entry_token()).unwrap().kid;
            if kid.as_deref() == Some(second.kid()) { Ok(()) } else { Err(format!("{kid:?}")) }
        })
        .await;
        world.keys.remove_entry_key("1");
        world.kill(Side::Queue).await;
        world.start_again(Side::Queue).await;
        let (kids_now, cache) = kids().await;
        assert!(kids_now.contains(&first.kid().to_owned()), "{kids_now:?}");
        assert_eq!(cache, "public, max-age=1");

        let redis = world.redis.as_ref().expect("this world has proxies");
        world.kill(Side::Queue).await;
        redis.cut();
        world.start_again_unready(Side::Queue).await;
        assert_eq!(kids().await, (vec![second.kid().to_owned()], "public, max-age=0".to_owned()));
        world.get(Side::QueueOps, "/readyz").await.refused(503, "unavailable");
        redis.mend();
        eventually("the retired key is published again", async || {
            let (kids, _) = kids().await;
            if kids.contains(&first.kid().to_owned()) { Ok(()) } else { Err(format!("{kids:?}")) }
        })
        .await;
        let bob = world.user("bob");
        eventually("bob joins", async || {
            let joined = bob.join().await;
            if joined.status < 300 { Ok(()) } else { Err(format!("{joined:?}")) }
        })
        .await;
        bob.until_active().await;
        for (person, token) in [(&ann, old_token), (&bob, bob.entry_token())] {
            person.take(token);
            person.seats(world.date()).await.ok(200);
        }
    });
}

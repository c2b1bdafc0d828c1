//! What was promised can be checked afterwards, by the repo's own commands: the draw and the admission log.

use acceptance::{Side, World, eventually, run_to_end};
use serde_json::json;

#[test]
fn the_order_of_a_draw_is_recomputed_from_what_is_published() {
    World::s0().run(async |world| {
        let lanes = json!([{ "lane": "vip", "share_percent": 50 }]);
        let settings =
            json!({ "order": "lottery", "opens_at": world.in_hours(1), "max_active": 0, "lanes": lanes });
        world.admin().put_queue("draw", &settings).await.ok(201);
        let people: Vec<_> = world.users("person", 12).iter().map(|person| person.at("draw")).collect();
        for person in &people {
            person.join().await.ok(201);
        }
        let check = async |text: &str, token: Option<&str>| {
            let file = world.keys.folder().join("published.json");
            std::fs::write(&file, text).unwrap();
            let mut words = vec!["draw".to_owned(), file.display().to_string()];
            words.extend(token.iter().flat_map(|token| ["--token".to_owned(), (*token).to_owned()]));
            let output = run_to_end("queue-service", &words, world.keys.folder()).await;
            (output.status.success(), String::from_utf8(output.stdout).unwrap())
        };
        let published = async || world.get(Side::Queue, "/v1/queues/draw").await.ok(200).body.to_string();
        assert!(!check(&published().await, None).await.0, "there is no seed before the opening");
        world.advance_seconds(3601);
        for person in &people {
            let waiting = eventually("the draw is made", async || {
                let status = person.poll().await.ok(200);
                if status["status"] == "waiting" { Ok(status) } else { Err(format!("{status:?}")) }
            })
            .await;
            let (agrees, words) = check(&published().await, Some(&person.queue_token())).await;
            let position = waiting.int("position");
            assert!(
                agrees && words.contains(&format!("was drawn as {position} of 12")),
                "{position}: {words}"
            );
        }
        let late = world.user("late").at("draw");
        late.join().await.ok(201);
        let (_, words) = check(&published().await, Some(&late.queue_token())).await;
        assert!(words.contains("was not drawn"), "{words}");
        let forged = published().await.replacen("\"seed\":\"", "\"seed\":\"0", 1);
        assert!(!check(&forged, None).await.0, "another seed than was promised");
    });
}

#[test]
fn the_audit_command_reads_the_log_of_the_running_queue() {
    World::s1().programs().run(async |world| {
        for person in world.users("person", 3) {
            person.enter().await;
        }
        let audit = async |more: &[&str]| {
            let (url, prefix) = world.redis_keys();
            let first = ["--redis-url", url, "--redis-key-prefix", prefix, "audit"];
            let words: Vec<String> = first.iter().chain(more).map(|word| (*word).to_owned()).collect();
            run_to_end("queue-service", &words, world.keys.folder()).await
        };
        let output = audit(&[]).await;
        let words = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{words}");
        assert!(words.contains("main: 3 admissions in"), "{words}");
        assert!(!audit(&["--queue", "nowhere"]).await.status.success());
    });
}

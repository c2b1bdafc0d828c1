//! The way back to the queue, against a stub of the queue service that hears, refuses, hangs and dies.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;

use crate::harness::{Manner, Shop, number, run, within};

const SOON: Duration = Duration::from_secs(20);

/// Messages `{prefix}1` to `{prefix}{count}` for a queue, in this order.
async fn write(conn: &mut PgConnection, queue: &str, prefix: &str, count: u32) {
    let ids = "('01900000-0000-7000-8000-' || lpad(to_hex(nextval('messages')), 12, '0'))::uuid";
    run(
        conn,
        &format!(
            "create sequence if not exists messages;
             insert into outbox (id, queue, jti, exp)
             select {ids}, '{queue}', '{prefix}' || n, extract(epoch from now())::bigint + 600
             from generate_series(1, {count}) n"
        ),
    )
    .await;
}

fn named(prefix: &str, count: u32) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}{number}")).collect()
}

async fn count(conn: &mut PgConnection, condition: &str) -> i64 {
    number(conn, &format!("select count(*) from outbox where {condition}")).await
}

/// Waits until a queue has heard all of these, each once.
async fn hears_once(shop: &Shop, queue: &str, wanted: &[String]) {
    let heard = within(SOON, &format!("{queue} hears all"), || {
        let heard = shop.queue.completions.heard(queue);
        if heard.len() >= wanted.len() { Ok(heard) } else { Err(format!("{} heard", heard.len())) }
    })
    .await;
    let different: HashSet<_> = heard.iter().collect();
    assert_eq!((heard.len(), different.len()), (wanted.len(), wanted.len()), "told twice");
    assert!(wanted.iter().all(|jti| different.contains(jti)));
}

async fn empty(conn: &mut PgConnection) {
    let started = tokio::time::Instant::now();
    loop {
        let left = count(conn, "true").await;
        if left == 0 {
            return;
        }
        assert!(started.elapsed() < SOON, "{left} messages are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_backlog_is_told_in_batches_oldest_first_by_a_service_that_starts() {
    let shop = Shop::open().await;
    shop.stop().await;
    let mut conn = shop.database.connect().await;
    write(&mut conn, "main", "j", 5000).await;
    let replica = shop.another().await;
    hears_once(&shop, "main", &named("j", 5000)).await;
    assert_eq!(shop.queue.completions.heard("main"), named("j", 5000), "not in order");
    let calls = shop.queue.completions.calls("main");
    assert!(calls.len() <= 12, "{} calls", calls.len());
    assert!(calls.iter().all(|call| !call.headers.contains_key("traceparent")));
    empty(&mut conn).await;
    replica.drain(Duration::ZERO).await;
    shop.close().await;
}

#[tokio::test]
async fn two_replicas_share_a_backlog_and_tell_nothing_twice() {
    let shop = Shop::open().await;
    let replica = shop.another().await;
    let mut conn = shop.database.connect().await;
    write(&mut conn, "main", "j", 5000).await;
    hears_once(&shop, "main", &named("j", 5000)).await;
    empty(&mut conn).await;
    replica.drain(Duration::ZERO).await;
    shop.close().await;
}

#[tokio::test]
async fn one_message_that_is_refused_stands_aside_and_holds_up_nobody() {
    let shop = Shop::open().await;
    shop.queue.completions.behave("main", Manner::IsPicky);
    let mut conn = shop.database.connect().await;
    run(&mut conn, "begin").await;
    write(&mut conn, "main", "early", 40).await;
    write(&mut conn, "main", "bad", 1).await;
    write(&mut conn, "main", "late", 59).await;
    run(&mut conn, "commit").await;
    let mut good = named("early", 40);
    good.extend(named("late", 59));
    hears_once(&shop, "main", &good).await;
    let calls = shop.queue.completions.calls("main").len();
    assert!(calls <= 40, "{calls} calls");
    assert_eq!(count(&mut conn, "refused_at is not null and jti = 'bad1'").await, 1);
    assert_eq!(count(&mut conn, "refused_at is null").await, 0);
    let page = awaited_metric(&shop, "booking_outbox_aside 1").await;
    assert!(page.contains("booking_outbox_waiting 0"), "{page}");

    // Later it is tried again, and is gone when it is heard.
    shop.queue.completions.behave("main", Manner::Hears);
    run(&mut conn, "update outbox set next_attempt_at = now()").await;
    empty(&mut conn).await;
    assert_eq!(shop.queue.completions.heard("main").last().unwrap(), "bad1");
    shop.close().await;
}

async fn awaited_metric(shop: &Shop, line: &str) -> String {
    let started = tokio::time::Instant::now();
    loop {
        let page = shop.metrics().await;
        if page.lines().any(|shown| shown == line) {
            return page;
        }
        assert!(started.elapsed() < SOON, "no `{line}` in:\n{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_queue_that_hangs_or_is_unknown_delays_no_other() {
    let shop = Shop::open().await;
    shop.queue.completions.behave("a-hangs", Manner::Hangs);
    shop.queue.completions.behave("b-unknown", Manner::Answers(404));
    shop.queue.completions.behave("c-busy", Manner::Answers(503));
    let mut conn = shop.database.connect().await;
    for queue in ["a-hangs", "b-unknown", "c-busy"] {
        write(&mut conn, queue, "x", 600).await;
    }
    within(SOON, "the queue that hangs is told", || match shop.queue.completions.calls("a-hangs").len() {
        0 => Err(String::new()),
        _ => Ok(()),
    })
    .await;
    // While that call hangs: it cannot have ended before these have been heard, round after round.
    for round in 0..5 {
        write(&mut conn, "main", &format!("round{round}-"), 10).await;
        let wanted: Vec<_> = (0..=round).flat_map(|round| named(&format!("round{round}-"), 10)).collect();
        hears_once(&shop, "main", &wanted).await;
    }
    assert_eq!(shop.queue.completions.calls("a-hangs").len(), 1, "it took as long as a call that hangs");
    for queue in ["b-unknown", "c-busy"] {
        assert!(shop.queue.completions.calls(queue).iter().all(|call| call.jtis.len() == 500));
        shop.queue.completions.behave(queue, Manner::Hears);
        hears_once(&shop, queue, &named("x", 600)).await;
    }
    assert_eq!(count(&mut conn, "refused_at is not null").await, 0);
    shop.close().await;
}

#[tokio::test]
async fn more_queues_than_are_told_at_once_all_have_their_turn() {
    let shop = Shop::open().await;
    let queues: Vec<String> = (0..40).map(|number| format!("queue-{number}")).collect();
    queues.iter().take(10).for_each(|queue| shop.queue.completions.behave(queue, Manner::Hangs));
    let mut conn = shop.database.connect().await;
    for _ in 0..3 {
        for queue in &queues {
            write(&mut conn, queue, "x", 1).await;
        }
    }
    for queue in queues.iter().skip(10) {
        within(SOON, &format!("{queue} has heard all"), || match shop.queue.completions.heard(queue).len() {
            3 => Ok(()),
            heard => Err(format!("{heard}")),
        })
        .await;
    }
    shop.close().await;
}

#[tokio::test]
async fn a_wrong_secret_of_ours_or_an_answer_of_a_stranger_costs_no_message() {
    let shop = Shop::open().await;
    let mut conn = shop.database.connect().await;
    for manner in [Manner::Answers(401), Manner::Answers(403), Manner::Answers(302), Manner::Babbles] {
        shop.queue.completions.behave("main", manner);
        let before = shop.queue.completions.calls("main").len();
        write(&mut conn, "main", &format!("j{before}-"), 3).await;
        within(SOON, "it is tried", || match shop.queue.completions.calls("main").len() - before {
            0 => Err(String::new()),
            _ => Ok(()),
        })
        .await;
    }
    assert_eq!(count(&mut conn, "refused_at is null").await, 12);
    shop.queue.completions.behave("main", Manner::Hears);
    empty(&mut conn).await;
    assert_eq!(shop.queue.completions.heard("main").len(), 12);
    shop.close().await;
}

#[tokio::test]
async fn the_age_of_the_oldest_message_is_shown_while_the_queue_service_is_dead() {
    let shop = Shop::open().await;
    shop.queue.stop().await;
    let mut conn = shop.database.connect().await;
    write(&mut conn, "main", "j", 7).await;
    run(&mut conn, "update outbox set created_at = now() - interval '1 hour' where jti = 'j1'").await;
    let page = awaited_metric(&shop, "booking_outbox_waiting 7").await;
    let oldest = page.lines().find_map(|line| line.strip_prefix("booking_outbox_oldest_seconds "));
    let oldest: f64 = oldest.unwrap().parse().unwrap();
    assert!((3600.0..3700.0).contains(&oldest), "{oldest}");
    shop.close().await;
}

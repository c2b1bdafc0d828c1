//! What the queue service is told of stock and pressure.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Shop, run, within};

/// The queues of a report.
fn queues(report: &Value) -> Vec<&Value> {
    report["items"].as_array().into_iter().flatten().map(|item| &item["queue"]).collect()
}

#[tokio::test]
async fn stock_follows_holds_releases_payments_and_refunds() {
    let shop = Shop::open().await;
    let date = shop.date(&shop.concert("main").await, 4, None).await;
    shop.queue.hears("main", json!([4, 0, false])).await;
    let first = shop.hold("ann", &date, &[1, 2]).await;
    shop.queue.hears("main", json!([2, 2, false])).await;
    shop.release("ann", &first).await;
    shop.queue.hears("main", json!([4, 0, false])).await;
    let all = shop.hold("ann", &date, &[1, 2, 3, 4]).await;
    shop.queue.hears("main", json!([0, 4, false])).await;
    let payment = shop.pay("ann", &all).await;
    shop.queue.hears("main", json!([0, 0, true])).await;
    shop.refund("ann", &payment).await;
    shop.queue.hears("main", json!([4, 0, false])).await;
    shop.close().await;
}

#[tokio::test]
async fn a_hold_past_its_deadline_is_stock_again() {
    let shop = Shop::open().await;
    let date = shop.date(&shop.concert("main").await, 3, None).await;
    shop.hold("ann", &date, &[1, 2]).await;
    shop.queue.hears("main", json!([1, 2, false])).await;
    shop.clock.advance(Duration::from_secs(301));
    shop.queue.hears("main", json!([3, 0, false])).await;
    let report = shop.queue.stock().pop().unwrap();
    let as_of: chrono::DateTime<chrono::Utc> = report["as_of"].as_str().unwrap().parse().unwrap();
    let apart = (shop.clock.now() - as_of).abs();
    assert!(apart < chrono::TimeDelta::seconds(10), "{report} is not of the database's time");
    shop.close().await;
}

#[tokio::test]
async fn a_hold_past_its_deadline_is_stock_before_the_sweeper_comes_by() {
    let shop = Shop::open().await;
    let date = shop.date(&shop.concert("main").await, 3, None).await;
    let hold = shop.hold("ann", &date, &[1, 2]).await;
    // The sweeper passes over what is locked.
    let mut conn = shop.database.connect().await;
    run(&mut conn, &format!("begin; select 1 from reservations where id = '{hold}' for update")).await;
    shop.clock.advance(Duration::from_secs(301));
    shop.hold("bob", &date, &[3]).await;
    shop.queue.hears("main", json!([2, 1, false])).await;
    run(&mut conn, "rollback").await;
    shop.close().await;
}

#[tokio::test]
async fn dates_of_one_queue_are_summed_and_those_of_another_are_not() {
    let shop = Shop::open().await;
    let concert = shop.concert("main").await;
    let first = shop.date(&concert, 5, None).await;
    shop.date(&concert, 7, None).await;
    let balcony = shop.date(&concert, 2, Some("balcony")).await;
    let empty = shop.date(&shop.concert("later").await, 0, None).await;
    shop.date(&shop.concert("other").await, 9, Some("main")).await;
    shop.queue.hears("main", json!([21, 0, false])).await;
    shop.queue.hears("balcony", json!([2, 0, false])).await;
    shop.hold("ann", &first, &[5]).await;
    let hold = shop.hold("ann", &balcony, &[1, 2]).await;
    shop.pay("ann", &hold).await;
    shop.queue.hears("main", json!([20, 1, false])).await;
    shop.queue.hears("balcony", json!([0, 0, true])).await;
    assert_eq!(shop.queue.left("later"), None, "{empty} has no seats");
    assert_eq!(shop.queue.left("other"), None, "its only date is in another queue");
    shop.close().await;
}

#[tokio::test]
async fn a_date_that_is_no_longer_sold_is_no_stock() {
    let shop = Shop::open().await;
    let concert = shop.concert("main").await;
    shop.date(&concert, 5, None).await;
    shop.queue.hears("main", json!([5, 0, false])).await;
    shop.clock.advance(Duration::from_secs(29 * 86_400));
    shop.date(&concert, 3, None).await;
    shop.queue.hears("main", json!([3, 0, false])).await;
    shop.close().await;
}

#[tokio::test]
async fn all_is_told_now_and_then_and_in_between_what_changed() {
    let shop = Shop::open().await;
    let date = shop.date(&shop.concert("a").await, 3, None).await;
    shop.date(&shop.concert("b").await, 3, None).await;
    shop.queue.hears("a", json!([3, 0, false])).await;
    shop.queue.hears("b", json!([3, 0, false])).await;
    let told = shop.queue.stock().len();
    let of_all = |report: &Value| queues(report) == ["a", "b"];
    // Something changes all the time, and nothing of b: it is told by the round that tells everything.
    let sale = Instant::now();
    while !shop.queue.stock()[told..].iter().any(of_all) {
        assert!(sale.elapsed() < Duration::from_secs(20), "{:?}", shop.queue.stock());
        let hold = shop.hold("ann", &date, &[1]).await;
        shop.release("ann", &hold).await;
    }
    let told = shop.queue.stock().len();
    let held = Instant::now();
    shop.hold("ann", &date, &[1]).await;
    shop.queue.hears("a", json!([2, 1, false])).await;
    assert!(held.elapsed() < Duration::from_secs(3), "told after {:?}", held.elapsed());
    let between = shop.queue.stock().split_off(told);
    assert!(between.iter().all(|report| queues(report) == ["a"]), "{between:?}");
    shop.close().await;
}

#[tokio::test]
async fn a_queue_service_that_was_gone_delays_nobody_and_is_told_everything() {
    let mut shop = Shop::open().await;
    let date = shop.date(&shop.concert("a").await, 3, None).await;
    shop.date(&shop.concert("b").await, 2, None).await;
    shop.queue.hears("b", json!([2, 0, false])).await;
    shop.queue.stop().await;
    let begun = Instant::now();
    shop.hold("ann", &date, &[1]).await;
    shop.hold("ann", &date, &[2]).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "holds waited: {:?}", begun.elapsed());
    shop.queue.missed("/internal/v1/stock").await;
    shop.queue.start_again().await;
    let limit = Duration::from_secs(12);
    let both = within(limit, "a report", || shop.queue.stock().pop().ok_or_else(String::new)).await;
    assert_eq!(queues(&both), ["a", "b"]);
    assert_eq!(shop.queue.left("a"), Some(json!([1, 2, false])));
    shop.queue.feels("pressure again", |_| true).await;
    shop.close().await;
}

#[tokio::test]
async fn pressure_is_of_the_api_alone() {
    let shop = Shop::open().await;
    let calm = shop.queue.feels("a report", |_| true).await;
    assert_eq!(calm["p99_ms"], Value::Null);
    assert_eq!(calm["error_rate"], Value::Null);
    assert_eq!(calm["requests"], 0);
    for _ in 0..30 {
        assert_eq!(shop.get("/openapi.json").await, 200);
        assert_eq!(shop.get("/v1/nothing").await, 404);
    }
    for _ in 0..25 {
        assert_eq!(shop.get("/v1/concerts").await, 200);
    }
    let busy = shop.queue.feels("requests", |report| report["requests"].as_u64() >= Some(20)).await;
    assert!(busy["requests"].as_u64() <= Some(25), "{busy}");
    assert_eq!(busy["error_rate"], 0.0);
    assert!(busy["p99_ms"].as_u64() >= Some(1), "{busy}");
    assert_eq!(busy["reporter"], calm["reporter"]);
    shop.queue.feels("calm again", |report| report["requests"] == 0).await;
    shop.close().await;
}

#[tokio::test]
async fn pressure_shows_in_time_in_failures_and_in_the_wait_for_a_connection() {
    let shop = Shop::open().await;
    let mut conn = shop.database.connect().await;
    run(&mut conn, "begin; lock table concerts in access exclusive mode").await;
    let requests = async {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let url = shop.concerts();
            calls.spawn(async move { reqwest::get(url).await.unwrap().status().as_u16() });
        }
        calls.join_all().await
    };
    let release = async {
        // While the lanes are taken, the reporter's own wait is what shows.
        shop.queue.feels("a full pool", |report| report["pool_wait_ms"].as_u64() >= Some(400)).await;
        run(&mut conn, "commit").await;
    };
    let (statuses, ()) = tokio::join!(requests, release);
    assert_eq!(statuses, [200; 24]);
    let slow = shop.queue.feels("slow answers", |report| report["p99_ms"].as_u64() >= Some(400)).await;
    assert_eq!(slow["error_rate"], 0.0);

    run(&mut conn, "alter table concerts rename to gone").await;
    for _ in 0..24 {
        assert_eq!(shop.get("/v1/concerts").await, 500);
    }
    let failing = shop.queue.feels("failures", |report| report["error_rate"].as_f64() >= Some(0.3)).await;
    assert!(failing["error_rate"].as_f64() <= Some(1.0), "{failing}");
    run(&mut conn, "alter table gone rename to concerts").await;
    shop.close().await;
}

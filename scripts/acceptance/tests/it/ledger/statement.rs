//! The statement: pages that join while it grows, and parts of it.

use acceptance::{User, World, at_once};
use serde_json::Value;

use super::in_order;

/// All pages of `query`, in the order they come.
async fn pages(user: &User<'_>, query: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = user.booking("GET", &format!("/v1/points/history?{query}{cursor}")).await.ok(200);
        rows.extend_from_slice(page.list("items"));
        assert!(rows.len() < 1000, "the pages do not end");
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

fn numbers(rows: &[Value], name: &str) -> Vec<i64> {
    rows.iter().map(|row| row[name].as_i64().unwrap_or_else(|| panic!("{name}: {row}"))).collect()
}

#[test]
fn pages_read_while_entries_are_written_show_each_once_and_miss_none() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        for _ in 0..20 {
            for answer in at_once((0..25).map(|_| ann.charge(10))).await {
                answer.ok(201);
            }
        }
        let writing = async {
            for _ in 0..40 {
                ann.use_points(1).await.ok(201);
            }
        };
        let (rows, ()) = tokio::join!(pages(&ann, "limit=23"), writing);
        let seen = numbers(&rows, "seq");
        let newest = seen[0];
        assert!((500..=540).contains(&newest), "{newest}");
        assert_eq!(seen, (1..=newest).rev().collect::<Vec<_>>());
        let all = in_order(&ann).await;
        assert_eq!(all.len(), 540);
        assert_eq!(all[all.len() - rows.len()..], rows);
    });
}

#[test]
fn a_statement_can_be_of_one_kind_and_of_some_days() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        let charged = ann.charge(1000).await.ok(201);
        for amount in 1..=3 {
            ann.use_points(amount).await.ok(201);
        }
        let day = |row: &Value| row["at"].as_str().unwrap()[..10].to_owned();
        let first = day(&ann.history().await[3]);
        world.advance_seconds(3 * 24 * 3600);
        ann.use_points(4).await.ok(201);
        ann.charge(5).await.ok(201);
        let last = day(&ann.history().await[0]);
        let amounts = async |query: &str| numbers(&pages(&ann, query).await, "amount");
        assert_eq!(amounts("kind=use").await, [-4, -3, -2, -1]);
        assert_eq!(amounts("kind=use&limit=1").await, [-4, -3, -2, -1]);
        assert_eq!(amounts("kind=charge").await, [5, 1000]);
        assert_eq!(amounts("kind=refund").await, [0; 0]);
        assert_eq!(amounts(&format!("from={last}")).await, [5, -4]);
        assert_eq!(amounts(&format!("kind=use&from={first}&to={last}")).await, [-4, -3, -2, -1]);
        assert_eq!(amounts(&format!("from={last}&to={first}")).await, [0; 0]);
        let early = pages(&ann, &format!("kind=charge&to={first}")).await;
        assert_eq!((early.len(), &early[0]["entry_id"]), (1, &charged["entry_id"]));
        for (query, field) in [("kind=gift", "kind"), ("from=2026-13-01", "from"), ("to=soon", "to")] {
            let refusal = ann.booking("GET", &format!("/v1/points/history?{query}")).await;
            assert_eq!(refusal.refused(422, "invalid_request")["errors"][0]["field"], field);
        }
    });
}

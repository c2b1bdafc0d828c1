//! The books, damaged behind the service's back: the database refuses what it can, and the audit finds the rest.

use std::collections::BTreeSet;
use std::path::PathBuf;

use acceptance::{PRICE, World, repository};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::{buy, in_order, trial_balance};

async fn database(world: &World) -> PgConnection {
    PgConnection::connect(world.database_url()).await.expect("Postgres answers")
}

async fn run(database: &mut PgConnection, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(database).await;
    outcome.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn texts(database: &mut PgConnection, sql: &'static str) -> Vec<String> {
    let rows = database.fetch_all(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The rules that the audit says are broken.
async fn broken(world: &World) -> BTreeSet<String> {
    let audit = world.admin().audit().await.ok(200);
    let rules: BTreeSet<_> =
        audit.list("violations").iter().map(|found| found["rule"].as_str().unwrap().to_owned()).collect();
    assert_eq!(audit["ok"], rules.is_empty(), "{audit:?}");
    rules
}

/// Ann: 1 charge of three prices, 2 use of 1, 3 payment, 4 payment, 5 refund of it.
async fn some_entries(world: &World) {
    let ann = world.user("ann");
    ann.charge(3 * PRICE).await.ok(201);
    ann.use_points(1).await.ok(201);
    buy(world, &ann, 1).await.ok(201);
    let paid = buy(world, &ann, 2).await.ok(201);
    ann.refund(&paid).await.ok(201);
    assert_eq!(trial_balance(world).await, [2 * PRICE - 1, -3 * PRICE, 1, PRICE]);
}

#[test]
fn the_database_refuses_to_change_the_ledger() {
    World::s0().gated("").run(async |world| {
        some_entries(world).await;
        let mut database = database(world).await;
        for (sql, told) in [
            ("update ledger set amount = amount + 1", "append-only"),
            ("update ledger set memo = 'x' where seq = 1", "append-only"),
            ("delete from ledger where seq = 5", "append-only"),
            ("truncate ledger", "append-only"),
            ("truncate accounts cascade", "append-only"),
            ("update accounts set balance = -1", "accounts_balance_not_negative"),
            ("delete from accounts", "ledger_account_fkey"),
            (&entry("seq, 'gift', 'funding', 1, 1, entry_id"), "ledger_counter_account"),
            (&entry("seq, 'charge', 'revenue', 1, 1, entry_id"), "ledger_counter_account"),
            (&entry("seq, 'charge', 'funding', -1, 1, entry_id"), "ledger_sign"),
            (&entry("seq, 'charge', 'funding', 1, 1, gen_random_uuid()"), "ledger_cause_named"),
            (
                &entry("seq, 'charge', 'funding', 1, 1, entry_id").replace("6 as seq", "5 as seq"),
                "ledger_pkey",
            ),
        ] {
            let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut database).await;
            let refusal = outcome.expect_err(sql).to_string();
            assert!(refusal.contains(told), "{sql}: {refusal}");
        }
        assert_eq!(in_order(&world.user("ann")).await.len(), 5);
    });
}

/// One more entry of Ann's, made by hand.
fn entry(values: &str) -> String {
    format!(
        "insert into ledger (user_id, entry_id, seq, kind, counter_account, amount, balance_after, cause, at)
         select 'ann', entry_id, {values}, now() from (select gen_random_uuid() as entry_id, 6 as seq) e"
    )
}

/// What is done, what undoes it, and which rules say so at the least.
const DAMAGE: [(&str, &str, &str, &[&str]); 9] = [
    (
        "an amount in the ledger",
        "update ledger set amount = amount + 1 where seq = 1",
        "update ledger set amount = amount - 1 where seq = 1",
        &["balance_is_sum_of_ledger", "ledger_runs_without_gap", "money_adds_up", "answered_movement_is_in_the_ledger"],
    ),
    (
        "an amount beyond all numbers of points",
        "update ledger set amount = 9223372036854775807 where seq = 1",
        "update ledger set amount = 30000 where seq = 1",
        &["balance_is_sum_of_ledger", "ledger_runs_without_gap", "money_adds_up"],
    ),
    (
        "a balance after an entry",
        "update ledger set balance_after = balance_after + 1 where seq = 2",
        "update ledger set balance_after = balance_after - 1 where seq = 2",
        &["ledger_runs_without_gap", "answered_movement_is_in_the_ledger"],
    ),
    (
        "a balance",
        "update accounts set balance = balance + 1",
        "update accounts set balance = balance - 1",
        &["balance_is_sum_of_ledger", "money_adds_up"],
    ),
    (
        "a counter-account",
        "update ledger set counter_account = 'spending' where seq = 3",
        "update ledger set counter_account = 'revenue' where seq = 3",
        &["entry_names_its_counter_account", "revenue_is_what_was_paid"],
    ),
    (
        "a counter-account that does not exist",
        "update ledger set counter_account = 'elsewhere' where seq = 2",
        "update ledger set counter_account = 'spending' where seq = 2",
        &["entry_names_its_counter_account", "money_adds_up"],
    ),
    (
        "an entry that is gone",
        "create table kept as select * from ledger where seq = 2; delete from ledger where seq = 2",
        "insert into ledger select * from kept; drop table kept",
        &["balance_is_sum_of_ledger", "ledger_runs_without_gap", "money_adds_up", "answered_movement_is_in_the_ledger"],
    ),
    (
        "points made from nothing, all sums in agreement",
        "update ledger set amount = amount + 7 where seq = 1; update ledger set balance_after = balance_after + 7;
         update accounts set balance = balance + 7",
        "update ledger set amount = amount - 7 where seq = 1; update ledger set balance_after = balance_after - 7;
         update accounts set balance = balance - 7",
        &["answered_movement_is_in_the_ledger"],
    ),
    (
        "a payment for less, all sums in agreement",
        "update ledger set amount = amount + 7 where seq = 3;
         update ledger set balance_after = balance_after + 7 where seq >= 3; update accounts set balance = balance + 7",
        "update ledger set amount = amount - 7 where seq = 3;
         update ledger set balance_after = balance_after - 7 where seq >= 3; update accounts set balance = balance - 7",
        &["revenue_is_what_was_paid", "payment_is_debited_once"],
    ),
];

#[test]
fn whatever_is_changed_behind_the_service_is_found_by_the_audit() {
    World::s0().gated("").run(async |world| {
        some_entries(world).await;
        let mut database = database(world).await;
        run(&mut database, "alter table ledger disable trigger user").await;
        let fits =
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'ledger_counter_account'";
        let fits = texts(&mut database, fits).await.remove(0);
        run(&mut database, "alter table ledger drop constraint ledger_counter_account").await;
        assert_eq!(broken(world).await, BTreeSet::new());
        for (what, damage, mending, rules) in DAMAGE {
            run(&mut database, damage).await;
            let found = broken(world).await;
            for rule in rules {
                assert!(found.contains(*rule), "{what}: not {rule}, but {found:?}");
            }
            run(&mut database, mending).await;
            assert_eq!(broken(world).await, BTreeSet::new(), "{what}, mended");
        }
        run(&mut database, &format!("alter table ledger add constraint ledger_counter_account {fits}")).await;
        run(&mut database, "alter table ledger enable trigger user").await;
    });
}

#[test]
fn both_sides_of_every_movement_are_postings() {
    World::s0().gated("").run(async |world| {
        some_entries(world).await;
        let mut database = database(world).await;
        let unequal =
            "select seq::text from postings group by user_id, seq having sum(amount) <> 0 or count(*) <> 2";
        assert_eq!(texts(&mut database, unequal).await, [""; 0]);
        let sums = "select account || ' ' || sum(amount) from postings group by account order by account";
        let expected = ["funding -30000", "revenue 10000", "spending 1", "users 19999"];
        assert_eq!(texts(&mut database, sums).await, expected);
        // A replica of the version before names no counter-account.
        let before = "update accounts set balance = balance + 5, last_seq = 6;
            insert into ledger (user_id, entry_id, seq, kind, amount, balance_after, cause, at)
            select 'ann', id, 6, 'charge', 5, 20004, id, now() from (select gen_random_uuid() as id) e";
        run(&mut database, before).await;
        assert_eq!(in_order(&world.user("ann")).await[0]["counter_account"], "funding");
        trial_balance(world).await;
    });
}

/// In a schema of its own: the tables as they were, with entries, and then the migration.
#[test]
fn entries_from_before_are_given_their_counter_accounts() {
    World::s0().run(async |world| {
        let mut database = database(world).await;
        run(&mut database, "create schema before; set search_path = before").await;
        let mut files: Vec<PathBuf> = std::fs::read_dir(repository().join("booking-service/migrations"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let is_ours = |path: &PathBuf| path.ends_with("0009_counter_accounts.sql");
        let ours = files.iter().position(is_ours).expect("it is there");
        for path in &files[..ours] {
            run(&mut database, &std::fs::read_to_string(path).unwrap()).await;
        }
        let entries = "insert into accounts values ('ann', 70, 4);
            insert into ledger (user_id, seq, entry_id, kind, amount, balance_after, cause, payment_id, at)
            select 'ann', seq, id, kind, amount, after, coalesce(payment, id), payment, now() from (values
                (1, 'charge', 100, 100, gen_random_uuid(), null), (2, 'use', -30, 70, gen_random_uuid(), null),
                (3, 'payment', -40, 30, gen_random_uuid(), '018f0000-0000-7000-8000-000000000001'::uuid),
                (4, 'refund', 40, 70, gen_random_uuid(), '018f0000-0000-7000-8000-000000000001'::uuid)
            ) v (seq, kind, amount, after, id, payment)";
        run(&mut database, entries).await;
        run(&mut database, &std::fs::read_to_string(&files[ours]).unwrap()).await;
        let named = texts(&mut database, "select kind || ' ' || counter_account from ledger order by seq").await;
        assert_eq!(named, ["charge funding", "use spending", "payment revenue", "refund revenue"]);
        let sums = "select concat_ws(' ', users, funding, spending, revenue) from trial_balance";
        assert_eq!(texts(&mut database, sums).await, ["70 -100 30 0"]);
        let changed = database.execute("update ledger set memo = 'x'").await;
        assert!(changed.unwrap_err().to_string().contains("append-only"));
    });
}

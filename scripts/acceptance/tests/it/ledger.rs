//! The ledger: every movement between a user and a counter-account, once, whatever happens to the answer.
//! Requirements 16, 24, 47, 48, 59, 60. What damages it is found: `sabotage`.

mod lost_answers;
mod sabotage;
mod statement;

use acceptance::{Answer, PRICE, User, World, at_once};
use serde_json::{Value, json};

/// The rows, newest first, of a user's whole ledger: numbered without a gap, each with the balance after it,
/// never below zero, and the last with the balance of today.
async fn in_order(user: &User<'_>) -> Vec<Value> {
    let ledger = user.history().await;
    let mut balance = 0;
    for (row, seq) in ledger.iter().rev().zip(1..) {
        balance += row["amount"].as_i64().expect("a row has an amount");
        assert_eq!((row["seq"].as_i64(), row["balance_after"].as_i64()), (Some(seq), Some(balance)), "{row}");
        assert!(balance >= 0, "{row}");
    }
    assert_eq!(user.balance().await, balance);
    ledger
}

/// Users, funding, spending, revenue; together zero.
async fn trial_balance(world: &World) -> [i64; 4] {
    let audit = world.admin().audit().await.ok(200);
    assert_eq!(audit["ok"], true, "{audit:?}");
    let sums = ["users", "funding", "spending", "revenue"].map(|account| {
        audit["trial_balance"][account].as_i64().unwrap_or_else(|| panic!("{account}: {audit:?}"))
    });
    assert_eq!(sums.iter().sum::<i64>(), 0, "{audit:?}");
    sums
}

async fn buy(world: &World, user: &User<'_>, seat: i64) -> Answer {
    let hold = user.reserve(world.date(), &[seat]).await.ok(201);
    user.pay(&hold).await
}

/// 16, 24, 47
#[test]
fn every_movement_answers_with_the_balance_and_names_its_counter_account() {
    World::s0().gated("").run(async |world| {
        let ann = world.user("ann");
        assert_eq!(ann.balance().await, 0);
        assert_eq!(trial_balance(world).await, [0, 0, 0, 0]);
        let charged = ann.charge(10_000).await.ok(201);
        assert_eq!((charged.int("amount"), charged.int("balance")), (10_000, 10_000));
        assert_eq!(ann.balance().await, 10_000);
        assert_eq!(ann.charge(PRICE).await.ok(201)["balance"], 10_000 + PRICE);
        let used = ann.use_points(10_000).await.ok(201);
        assert_eq!((used.int("amount"), used.int("balance")), (10_000, PRICE));
        assert_eq!(trial_balance(world).await, [PRICE, -10_000 - PRICE, 10_000, 0]);
        let paid = buy(world, &ann, 1).await.ok(201);
        assert_eq!((paid["balance_after"].as_i64(), ann.balance().await), (Some(0), 0));
        assert_eq!(trial_balance(world).await, [0, -10_000 - PRICE, 10_000, PRICE]);
        ann.refund(&paid).await.ok(201);
        assert_eq!(trial_balance(world).await, [PRICE, -10_000 - PRICE, 10_000, 0]);
        let ledger = in_order(&ann).await;
        let rows: Vec<_> = ledger
            .iter()
            .map(|row| (row["kind"].as_str().unwrap(), row["counter_account"].as_str().unwrap()))
            .collect();
        let expected = [
            ("refund", "revenue"),
            ("payment", "revenue"),
            ("use", "spending"),
            ("charge", "funding"),
            ("charge", "funding"),
        ];
        assert_eq!(rows, expected);
        let ids = [&used, &charged].map(|moved| moved["entry_id"].clone());
        assert_eq!(ids, [ledger[2]["entry_id"].clone(), ledger[4]["entry_id"].clone()]);
    });
}

/// 59: by one replica, and by two in turn
#[test]
fn movements_at_once_add_up_on_one_replica() {
    movements_at_once_add_up(1);
}

#[test]
fn movements_at_once_add_up_on_two_replicas() {
    movements_at_once_add_up(2);
}

fn movements_at_once_add_up(replicas: usize) {
    World::s0().gated("").replicas(replicas).run(async |world| {
        let ann = world.user("ann");
        let charge = async |_: i64| ann.charge(1000).await.ok(201).int("amount");
        let spend = async |amount: i64| {
            let answer = ann.use_points(amount).await;
            if answer.status == 201 {
                return amount;
            }
            let refusal = answer.refused(402, "insufficient_points");
            assert!(refusal.int("balance") < refusal.int("amount"), "it would have done: {refusal:?}");
            0
        };
        let seat = async |seat: i64| {
            let answer = buy(world, &ann, seat).await;
            if answer.status == 201 {
                return Some(answer);
            }
            let refusal = answer.refused(402, "insufficient_points");
            assert!(refusal.int("balance") < PRICE, "it would have done: {refusal:?}");
            None
        };
        let (gains, losses, seats) = tokio::join!(
            at_once((0..100).map(charge)),
            at_once((0..50).map(|n| spend(500 + n * 40))),
            at_once((1..=20).map(seat))
        );
        let (gained, lost): (i64, i64) = (gains.iter().sum(), losses.iter().sum());
        let bought: Vec<_> = seats.into_iter().flatten().collect();
        let paid = PRICE * i64::try_from(bought.len()).unwrap();
        assert_eq!(gained, 100_000);
        assert_eq!(trial_balance(world).await, [gained - lost - paid, -gained, lost, paid]);
        for answer in at_once(bought.iter().map(|payment| ann.refund(payment))).await {
            answer.ok(201);
        }
        assert_eq!(trial_balance(world).await, [gained - lost, -gained, lost, 0]);
        let rows = 100 + losses.iter().filter(|amount| **amount > 0).count() + 2 * bought.len();
        assert_eq!(in_order(&ann).await.len(), rows);
    });
}

/// 48, 60: random movements of two people against an account in memory, refusals included
#[test]
fn a_random_trace_is_what_an_account_in_memory_makes_of_it() {
    World::s0().gated("").replicas(2).run(async |world| {
        let people = world.users("person", 2);
        let mut books = [(0_i64, Vec::new()), (0_i64, Vec::new())];
        let mut paid: [Vec<Answer>; 2] = [Vec::new(), Vec::new()];
        let (mut seat, mut random) = (1, Random(20_261_121));
        for _ in 0..160 {
            let who = usize::try_from(random.below(2)).unwrap();
            let (person, (balance, rows)) = (&people[who], &mut books[who]);
            let (what, amount) = (random.below(8), random.below(2 * PRICE) - 50);
            let (word, change, answer) = match what {
                0..3 => ("charge", amount, person.charge(amount).await),
                3..5 => ("use", -amount, person.use_points(amount).await),
                5..7 if seat <= 50 => {
                    let hold = person.reserve(world.date(), &[seat]).await.ok(201);
                    let answer = person.pay(&hold).await;
                    if answer.status == 201 {
                        paid[who].push(answer.clone());
                        seat += 1;
                    } else {
                        person.cancel(&hold).await.ok(204);
                    }
                    ("payment", -PRICE, answer)
                }
                _ => match paid[who].pop() {
                    Some(payment) => ("refund", PRICE, person.refund(&payment).await),
                    None => continue,
                },
            };
            if amount < 1 && what < 5 {
                answer.refused(422, "invalid_amount");
            } else if *balance + change < 0 {
                let refusal = answer.refused(402, "insufficient_points");
                assert_eq!((refusal.int("balance"), refusal.int("amount")), (*balance, -change));
            } else {
                *balance += change;
                rows.push((word.to_owned(), change, *balance));
                let told = if answer["balance"].is_null() { "balance_after" } else { "balance" };
                assert_eq!(answer.ok(201).int(told), *balance);
            }
        }
        for (person, (balance, rows)) in people.iter().zip(books) {
            assert_eq!(person.balance().await, balance);
            let told = in_order(person).await.into_iter().rev().map(|row| {
                let number = |name: &str| row[name].as_i64().unwrap();
                (row["kind"].as_str().unwrap().to_owned(), number("amount"), number("balance_after"))
            });
            assert_eq!(told.collect::<Vec<_>>(), rows);
        }
        trial_balance(world).await;
    });
}

/// The same numbers in every run: the constants are Knuth's, of MMIX.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// At the edge of what a number of points can be nothing wraps, nothing is lost, and the books can still be
/// read: their sums are larger than any balance.
#[test]
fn at_the_edge_of_the_range_nothing_is_lost() {
    World::s0().gated("").booking_flags(&["--max-charge", "9223372036854775807"]).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.charge(PRICE).await.ok(201);
        let paid = buy(world, &ann, 1).await.ok(201);
        assert_eq!(ann.charge(i64::MAX).await.ok(201)["balance"], i64::MAX);
        bob.charge(i64::MAX).await.ok(201);
        let books = world.books(&[&ann, &bob]).await;
        let refusal = ann.charge(1).await.refused(409, "balance_limit_reached");
        let told = ["balance", "amount", "max"].map(|name| refusal.int(name));
        assert_eq!(told, [i64::MAX, 1, i64::MAX]);
        ann.charge(i64::MAX).await.refused(409, "balance_limit_reached");
        ann.refund(&paid).await.refused(409, "balance_limit_reached");
        books.unchanged().await;
        let audit = world.admin().audit().await.ok(200);
        assert_eq!(audit["ok"], true, "{audit:?}");
        let [twice, funding] = [2 * i128::from(i64::MAX), -2 * i128::from(i64::MAX) - i128::from(PRICE)];
        for sum in [format!("\"users\":{twice},"), format!("\"funding\":{funding},")] {
            assert!(audit.text.contains(&sum), "{sum}: {audit:?}");
        }
        ann.use_points(PRICE - 1).await.ok(201);
        ann.refund(&paid).await.refused(409, "balance_limit_reached");
        ann.use_points(1).await.ok(201);
        assert_eq!(ann.refund(&paid).await.ok(201)["balance_after"], i64::MAX);
        ann.use_points(i64::MAX).await.ok(201);
        in_order(&ann).await;
    });
}

#[test]
fn limits_are_settings_and_a_refund_is_above_them() {
    let flags = ["--max-charge", "30000", "--max-use", "500", "--max-balance", "25000"];
    World::s0().gated("").booking_flags(&flags).run(async |world| {
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        ann.charge(25_000).await.ok(201);
        let books = world.books(&[&ann, &bob]).await;
        let refusal = ann.charge(1).await.refused(409, "balance_limit_reached");
        assert_eq!((refusal.int("balance"), refusal.int("max")), (25_000, 25_000));
        bob.charge(25_001).await.refused(409, "balance_limit_reached");
        bob.charge(30_001).await.refused(422, "invalid_amount");
        ann.use_points(501).await.refused(422, "invalid_amount");
        books.unchanged().await;
        ann.use_points(500).await.ok(201);
        let paid = buy(world, &ann, 1).await.ok(201);
        ann.charge(PRICE).await.ok(201);
        assert_eq!(ann.refund(&paid).await.ok(201)["balance_after"], 24_500 + PRICE);
        ann.charge(1).await.refused(409, "balance_limit_reached");
        in_order(&ann).await;
    });
}

#[test]
fn a_memo_is_a_short_text_and_is_told_again() {
    World::s0().run(async |world| {
        let ann = world.user("ann");
        ann.charge(1000).await.ok(201);
        let key = || uuid::Uuid::new_v4().to_string();
        let long = "é".repeat(200);
        let memos = [json!("a programme"), json!(long), json!("🎟️ \"'\\\n"), json!(""), Value::Null];
        for memo in &memos {
            ann.points_call("uses", &json!({ "amount": 1, "memo": memo })).key(&key()).await.ok(201);
        }
        ann.points_call("uses", &json!({ "amount": 1 })).key(&key()).await.ok(201);
        for bad in [json!("é".repeat(201)), json!(5), json!(["x"]), json!("a\0b"), json!(true)] {
            let call = ann.points_call("uses", &json!({ "amount": 1, "memo": bad })).key(&key());
            call.await.refused(422, "invalid_request");
        }
        let told: Vec<_> = in_order(&ann).await.iter().rev().map(|row| row["memo"].clone()).collect();
        assert_eq!(told[1..6], memos);
        assert_eq!((told.len(), &told[0], &told[6]), (7, &Value::Null, &Value::Null));
    });
}

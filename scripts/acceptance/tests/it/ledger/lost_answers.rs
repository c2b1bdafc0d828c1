//! A charge is asked for again because nobody knows what became of it: it is one row.

use std::time::Duration;

use acceptance::{Side, User, World, at_once, eventually, pause, within};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{in_order, trial_balance};

const AMOUNT: i64 = 500;
const SOON: Duration = Duration::from_secs(5);

/// A charge whose answer nobody reads: the connection, to be closed at will.
async fn unheard(world: &World, user: &User<'_>, key: &str) -> TcpStream {
    let base = world.base(Side::Booking, Some(0));
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = json!({ "amount": AMOUNT }).to_string();
    let request = format!(
        "POST /v1/points/charges HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        user.token(),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Asks the other replica until it is not told that the first request is running. That is soon: nobody waits
/// for a time limit of the database.
async fn again(user: &User<'_>, key: &str) -> Value {
    within(SOON, "the key is free or answered", async || {
        let call = user.points_call("charges", &json!({ "amount": AMOUNT })).key(key).on(1);
        let answer = call.await;
        if answer.code() == Some("idempotency_in_flight") { Err(format!("{answer:?}")) } else { Ok(answer) }
    })
    .await
    .ok(201)
    .body
}

#[test]
fn a_charge_that_was_made_and_never_heard_of_is_answered_by_another_replica() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        let connection = unheard(world, &ann, "k").await;
        eventually("the charge is made", async || {
            let balance = ann.booking("GET", "/v1/points").on(1).await.ok(200).int("balance");
            if balance == AMOUNT { Ok(()) } else { Err(balance.to_string()) }
        })
        .await;
        drop(connection);
        let told = again(&ann, "k").await;
        let ledger = in_order(&ann).await;
        assert_eq!((ledger.len(), &ledger[0]["entry_id"]), (1, &told["entry_id"]));
        assert_eq!(told["balance"], AMOUNT);
    });
}

#[test]
fn charges_whose_callers_hang_up_amid_them_are_made_once_when_asked_again() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        for number in 0..30_u64 {
            let key = format!("k-{number}");
            let connection = unheard(world, &ann, &key).await;
            pause(number % 10).await; // before, amid and after the charge
            drop(connection);
            again(&ann, &key).await;
        }
        assert_eq!(in_order(&ann).await.len(), 30);
        assert_eq!(trial_balance(world).await, [30 * AMOUNT, -30 * AMOUNT, 0, 0]);
    });
}

#[test]
fn two_hundred_charges_at_once_with_one_key_are_one_row() {
    World::s0().replicas(2).run(async |world| {
        let ann = world.user("ann");
        let charge = || ann.points_call("charges", &json!({ "amount": AMOUNT })).key("k").into_future();
        let answers = at_once((0..200).map(|_| charge())).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        for answer in refused {
            answer.refused(409, "idempotency_in_flight");
        }
        let told = charge().await.ok(201).body;
        assert!(!made.is_empty() && made.iter().all(|answer| answer.body == told), "{made:?}");
        let ledger = in_order(&ann).await;
        assert_eq!((ledger.len(), &ledger[0]["entry_id"]), (1, &told["entry_id"]));
    });
}

/// 70: what a killed replica had answered stands; what it had not is whole or absent, and made once
#[test]
fn charges_amid_which_a_replica_is_killed_are_made_once_by_the_other() {
    World::s0().replicas(2).programs().with_outages().run(async |world| {
        let ann = world.user("ann");
        let charge = |number: usize, replica: usize| {
            let call = ann.points_call("charges", &json!({ "amount": AMOUNT })).on(replica);
            call.key(&format!("k-{number}"))
        };
        let asked = at_once((0..120).map(async |number| charge(number, 0).attempt().await.ok()));
        let killed = async {
            eventually("some charges are made", async || {
                let balance = ann.booking("GET", "/v1/points").on(1).await.ok(200).int("balance");
                if balance > 0 { Ok(()) } else { Err(balance.to_string()) }
            })
            .await;
            world.kill_replica(Side::Booking, 0).await;
        };
        let (first, ()) = tokio::join!(asked, killed);
        for (number, first) in first.into_iter().enumerate() {
            let told = eventually("the key is free or answered", async || {
                let answer = charge(number, 1).await;
                if answer.status == 409 { Err(format!("{answer:?}")) } else { Ok(answer) }
            })
            .await;
            let told = told.ok(201);
            assert!(first.is_none_or(|first| first.status != 201 || first.body == told.body), "{told:?}");
        }
        assert_eq!(in_order(&ann).await.len(), 120);
        assert_eq!(trial_balance(world).await, [120 * AMOUNT, -120 * AMOUNT, 0, 0]);
    });
}

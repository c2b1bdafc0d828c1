//! Requests that arrive together are one transaction, and nobody notices: each has its own outcome, whatever
//! becomes of the others.
//!
//! ```text
//!   a stranger's lock ─ two payments wait behind it: both lanes are busy ─ everybody else arrives meanwhile
//!                                                                              └▶ one or two batches
//! ```
//!
//! That they were batches is read from the metrics, or the tests would show nothing.

use std::time::Duration;

use acceptance::{Answer, Date, PRICE, Side, User, World, at_once, eventually, pause, within};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

async fn database(world: &World) -> PgConnection {
    PgConnection::connect(world.database_url()).await.expect("Postgres answers")
}

async fn run(database: &mut PgConnection, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(database).await;
    outcome.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn hold(date: &Date, user: &User<'_>, seat: i64) -> Answer {
    user.reserve(date, &[seat]).await
}

/// What a counter of a verb has come to.
async fn count(world: &World, name: &str, verb: &str) -> u64 {
    let metrics = world.get(Side::BookingOps, "/metrics").await.ok(200).text;
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{verb=\"{verb}\"}} ")));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Requests of a verb that went in batches, and the batches.
async fn batched(world: &World, verb: &str) -> [u64; 2] {
    [
        count(world, "booking_batched_requests_total", verb).await,
        count(world, "booking_batches_total", verb).await,
    ]
}

/// Two people whose accounts a stranger has locked, with a hold each.
struct Plug<'w> {
    stranger: PgConnection,
    users: Vec<User<'w>>,
    holds: Vec<Answer>,
}

impl<'w> Plug<'w> {
    async fn new(world: &'w World, seats: [i64; 2]) -> Self {
        let (users, mut holds) = (world.users("plug", 2), Vec::new());
        for (user, seat) in users.iter().zip(seats) {
            user.take(world.entry_token(user.id(), "main").await);
            user.charge(PRICE).await.ok(201);
            holds.push(user.reserve(world.date(), &[seat]).await.ok(201));
        }
        let mut stranger = database(world).await;
        let ids = users.iter().map(|user| format!("'{}'", user.id())).collect::<Vec<_>>().join(",");
        run(&mut stranger, "begin").await;
        run(&mut stranger, &format!("select 1 from accounts where user_id in ({ids}) for update")).await;
        Self { stranger, users, holds }
    }

    /// Both pay, and wait; the lock goes once `others` are through.
    async fn pay_around<T>(mut self, others: impl Future<Output = T>) -> T {
        let paying = at_once(self.users.iter().zip(&self.holds).map(|(user, hold)| user.pay(hold)));
        let others = async {
            // The two are under way; what comes now waits for the end of their batches.
            pause(30).await;
            let outcome = others.await;
            self.stranger.execute("rollback").await.expect("the stranger goes");
            outcome
        };
        let (paid, outcome) = futures_util::join!(paying, others);
        for answer in paid {
            answer.ok(201);
        }
        outcome
    }
}

#[test]
fn payments_that_arrive_together_have_each_their_own_outcome() {
    World::s0().gated("").run(async |world| {
        let date = world.date();
        let held = async |name: &str, count: usize, from: i64| {
            let users = world.users(name, count);
            let holds = users.iter().zip(from..).map(|(user, seat)| hold(date, user, seat));
            let holds: Vec<_> = at_once(holds).await.into_iter().map(|hold| hold.ok(201)).collect();
            (users, holds)
        };
        let (late, of_late) = held("late", 3, 1).await;
        world.advance_seconds(301);
        let (good, of_good) = held("good", 12, 1).await;
        let (poor, of_poor) = held("poor", 3, 13).await;
        let (quick, of_quick) = held("quick", 3, 16).await;
        let (undecided, of_undecided) = held("undecided", 3, 19).await;
        at_once(good.iter().chain(&late).chain(&quick).map(|user| user.charge(2 * PRICE))).await;
        at_once(poor.iter().map(|user| user.charge(PRICE - 1))).await;
        at_once(quick.iter().zip(&of_quick).map(|(user, hold)| user.pay(hold))).await;
        at_once(undecided.iter().zip(&of_undecided).map(|(user, hold)| user.cancel(hold))).await;
        let plug = Plug::new(world, [30, 31]).await;
        let [requests, batches] = batched(world, "payment").await;
        let wanted = [
            (&good, &of_good, "201"),
            (&late, &of_late, "410 hold_expired"),
            (&poor, &of_poor, "402 insufficient_points"),
            (&quick, &of_quick, "409 already_paid"),
            (&undecided, &of_undecided, "409 not_held"),
            (&late, &of_good, "404 reservation_not_found"),
        ];
        let calls = wanted.iter().flat_map(|(users, holds, _)| users.iter().zip(*holds));
        let expected = wanted.iter().flat_map(|(users, holds, told)| users.iter().zip(*holds).map(|_| *told));
        let answers = plug.pay_around(at_once(calls.map(|(user, hold)| user.pay(hold)))).await;
        for (answer, expected) in answers.iter().zip(expected) {
            assert_eq!(answer.outcome(), expected, "{answer:?}");
        }
        let [requests_then, batches_then] = batched(world, "payment").await;
        let (requests, batches) = (requests_then - requests, batches_then - batches);
        assert!(requests >= 29 && requests >= 3 * batches, "{requests} requests in {batches} batches");
        for user in &good {
            assert_eq!(user.balance().await, PRICE);
        }
        for user in &late {
            assert_eq!(user.balance().await, 2 * PRICE, "nothing was taken");
        }
        let report = world.admin().report(date).await.ok(200);
        assert_eq!([report.int("sold"), report.int("held")], [12 + 3 + 2, 3], "{report:?}");
    });
}

/// Those who have too few points are in one batch with those who have enough, whose tokens end with it; theirs do not
#[test]
fn who_cannot_pay_keeps_the_entry_token() {
    World::s4().open_door().run(async |world| {
        let people = world.users("person", 24);
        let holds = at_once(people.iter().zip(1..).map(async |(person, seat)| {
            person.take(world.entry_token(person.id(), "main").await);
            person.charge(PRICE - seat % 2).await.ok(201);
            person.reserve(world.date(), &[seat]).await.ok(201)
        }))
        .await;
        let plug = Plug::new(world, [30, 31]).await;
        let [requests, batches] = batched(world, "payment").await;
        let paid =
            plug.pay_around(at_once(people.iter().zip(&holds).map(|(person, hold)| person.pay(hold)))).await;
        let [requests_then, batches_then] = batched(world, "payment").await;
        assert!(requests_then - requests > 3 * (batches_then - batches), "they were not together");
        for (number, answer) in (1..).zip(&paid) {
            let told = if number % 2 == 0 { "201" } else { "402 insufficient_points" };
            assert_eq!(answer.outcome(), told, "{answer:?}");
        }
        for (person, hold) in people.iter().zip(&holds).step_by(2) {
            person.charge(1).await.ok(201);
            person.pay(hold).await.ok(201);
        }
        for (person, hold) in people.iter().zip(&holds) {
            person.pay(hold).await.refused(401, "entry_token_completed");
        }
    });
}

/// Whatever statement begins, the balance that it sees is not the newest once it has the lock
#[test]
fn an_account_that_never_rests_moves_points_all_the_same() {
    World::s0().gated("").run(async |world| {
        let user = world.user("busy");
        user.charge(5 * PRICE).await.ok(201);
        let held = hold(world.date(), &user, 1).await.ok(201);
        let rewritten = format!(
            "begin; update accounts set balance = balance where user_id = '{}'; select pg_sleep(0.02); commit",
            user.id()
        );
        let restless = at_once((0..2).map(async |_| {
            let mut stranger = database(world).await;
            loop {
                run(&mut stranger, &rewritten).await;
            }
        }));
        let moving = async {
            pause(50).await;
            user.pay(&held).await.ok(201);
            user.use_points(PRICE).await.ok(201);
            user.charge(PRICE).await.ok(201);
        };
        tokio::select! {
            () = moving => {}
            _ = restless => unreachable!(),
        }
        assert_eq!(user.balance().await, 4 * PRICE);
    });
}

/// By the real clock: the wait for the account's lock outlasts the hold
#[test]
fn a_payment_that_wins_its_last_lock_too_late_is_refused() {
    let world = World::s0().gated("").booking_flags(&["--hold-ttl-seconds", "1"]);
    world.run(async |world| {
        let user = world.user("late");
        user.charge(PRICE).await.ok(201);
        let mut stranger = database(world).await;
        run(&mut stranger, "begin").await;
        let lock = format!("select 1 from accounts where user_id = '{}' for update", user.id());
        run(&mut stranger, &lock).await;
        let held = hold(world.date(), &user, 1).await.ok(201);
        let too_late = async {
            tokio::time::sleep(Duration::from_millis(1300)).await;
            run(&mut stranger, "rollback").await;
        };
        let (paid, ()) = futures_util::join!(user.pay(&held), too_late);
        paid.refused(410, "hold_expired");
        assert_eq!(user.balance().await, PRICE);
    });
}

/// A statement that fails as soon as one of them is not alone in it.
const ODD: &str = "
    create function odd() returns trigger language plpgsql as $$ begin
        if (select count(*) > 1 and bool_or(user_id like 'odd%') from written) then
            raise exception 'odd one';
        end if;
        return null;
    end $$;
    create trigger odd after insert on payments referencing new table as written
        for each statement execute function odd();
    create trigger odd after insert on ledger referencing new table as written
        for each statement execute function odd();
    create trigger odd after insert on reservations referencing new table as written
        for each statement execute function odd();";

#[test]
fn a_broken_row_fails_nobody_else() {
    World::s0().gated("").run(async |world| {
        let mut stranger = database(world).await;
        run(&mut stranger, ODD).await;
        let users: Vec<User<'_>> = world.users("even", 20).into_iter().chain([world.user("odd")]).collect();
        let mut undone = [0; 3];
        // Which of them meet in a batch is chance: until each verb has had an odd one among others.
        for round in 0..100 {
            at_once(users.iter().map(|user| user.charge(PRICE)))
                .await
                .into_iter()
                .for_each(|it| drop(it.ok(201)));
            let holds = users.iter().zip(1..).map(|(user, seat)| hold(world.date(), user, seat));
            let holds: Vec<_> = at_once(holds).await.into_iter().map(|hold| hold.ok(201)).collect();
            let paid = at_once(users.iter().zip(&holds).map(|(user, hold)| user.pay(hold))).await;
            let paid: Vec<_> = paid.into_iter().map(|answer| answer.ok(201)).collect();
            at_once(users.iter().zip(&paid).map(|(user, paid)| user.refund(paid))).await;
            for (verb, undone) in ["charge", "hold", "payment"].into_iter().zip(&mut undone) {
                *undone = count(world, "booking_alone_requests_total", verb).await;
            }
            if undone.iter().all(|undone| *undone > 0) {
                assert_eq!(users[0].balance().await, PRICE * (round + 1));
                return;
            }
        }
        panic!("no batch was undone: {undone:?}");
    });
}

/// The lock of a stranger holds up the one whose row it is, and nobody else for long.
#[test]
fn a_lock_of_a_stranger_holds_up_one_user_only() {
    World::s0().gated("").run(async |world| {
        let slow = world.user("slow");
        slow.charge(PRICE).await.ok(201);
        let mut stranger = database(world).await;
        run(&mut stranger, "begin").await;
        run(&mut stranger, &format!("update accounts set balance = balance where user_id = '{}'", slow.id()))
            .await;
        let others = world.users("other", 30);
        let waits = slow.charge(1);
        let rest = async {
            for _ in 0..5 {
                // By the real clock, here and below: well before a patient transaction would give the lock up, at four seconds.
                let round = at_once(others.iter().map(|user| user.charge(PRICE)));
                let charged = tokio::time::timeout(Duration::from_secs(3), round).await;
                for answer in charged.expect("nobody waits behind the stranger") {
                    answer.ok(201);
                }
            }
            within(Duration::from_secs(2), "who waits goes alone", async || {
                match count(world, "booking_alone_requests_total", "charge").await {
                    0 => Err("nobody yet".to_owned()),
                    _ => Ok(()),
                }
            })
            .await;
            run(&mut stranger, "rollback").await;
        };
        let (charged, ()) = futures_util::join!(waits, rest);
        assert_eq!(charged.ok(201).int("balance"), PRICE + 1);
    });
}

/// The time of the database stands still while there is a row in `gate`: whoever asks for it waits.
const GATE: &str = "
    create table gate ();
    create or replace function db_now(offset_ms bigint) returns timestamptz language plpgsql volatile as $$ begin
        while exists (select from gate) loop
            perform pg_sleep(0.005);
        end loop;
        return date_trunc('milliseconds', clock_timestamp() + offset_ms * interval '1 millisecond');
    end $$;";

/// The sweeper frees a seat when the statement that wants it has begun already, and has not come to its lock
#[test]
fn a_seat_that_is_freed_under_a_statement_is_held_or_not_but_never_by_half() {
    World::s0().gated("").run(async |world| {
        let (was, wants) = (world.user("was"), world.user("wants"));
        let old = hold(world.date(), &was, 1).await.ok(201);
        wants.charge(2 * PRICE).await.ok(201);
        let (mut sweeper, mut watcher) = (database(world).await, database(world).await);
        run(&mut sweeper, GATE).await;
        // Of a hold that somebody has locked the sweeper keeps its hands.
        run(&mut sweeper, "begin").await;
        let old = old.text("reservation_id");
        run(&mut sweeper, &format!("select 1 from reservations where id = '{old}' for update")).await;
        world.advance_seconds(301);
        run(&mut watcher, "insert into gate default values").await;
        let freed = async {
            eventually("the statement has begun", async || {
                let begun = "select count(*) from pg_stat_activity
                    where datname = current_database() and query like '%as until from clock%'
                        and wait_event = 'PgSleep' and pid <> pg_backend_pid()";
                let begun: i64 = sqlx::query_scalar(begun).fetch_one(&mut watcher).await.unwrap();
                if begun == 1 { Ok(()) } else { Err(format!("{begun} have")) }
            })
            .await;
            let free = format!(
                "update reservations set status = 'expired' where id = '{old}';
                update seats set state = 'free', hold_id = null, held_by = null, held_until = null
                where hold_id = '{old}';
                commit; delete from gate"
            );
            run(&mut sweeper, &free).await;
        };
        let wish = [1, 2];
        let (held, ()) = futures_util::join!(wants.reserve(world.date(), &wish), freed);
        wants.pay(&held.ok(201)).await.ok(201);
        eventually("both are sold", async || {
            let map = world.seat_map(world.date()).await;
            if map.sold == wish { Ok(()) } else { Err(format!("{map:?}")) }
        })
        .await;
    });
}

/// Whoever hangs up before the batch begins has done nothing; after it the books are in order either way.
#[test]
fn who_hangs_up_leaves_the_others_alone() {
    World::s0().gated("").run(async |world| {
        let plug = Plug::new(world, [49, 50]).await;
        let (gone, stay) = (world.users("gone", 10), world.users("stay", 10));
        for user in gone.iter().chain(&stay) {
            user.charge(PRICE).await.ok(201);
        }
        let holds = at_once(stay.iter().zip(1..).map(|(user, seat)| hold(world.date(), user, seat))).await;
        let of_gone = at_once(gone.iter().zip(11..).map(|(user, seat)| hold(world.date(), user, seat))).await;
        let both = async {
            let leaving = at_once(gone.iter().zip(&of_gone).map(|(user, hold)| user.pay(hold)));
            let leaving = tokio::time::timeout(Duration::from_millis(5), leaving);
            let staying = at_once(stay.iter().zip(&holds).map(|(user, hold)| user.pay(hold)));
            futures_util::join!(leaving, staying).1
        };
        let paid = plug.pay_around(both).await;
        for answer in paid {
            answer.ok(201);
        }
        for (user, hold) in gone.iter().zip(&of_gone) {
            eventually("it is paid, or is not", async || {
                let status = user.reservation(hold).await.ok(200).text("status");
                let balance = user.balance().await;
                match (status.as_str(), balance) {
                    ("held", PRICE) | ("confirmed", 0) => Ok(()),
                    half => Err(format!("{half:?}")),
                }
            })
            .await;
        }
    });
}

/// The same key twice at once: one success, and the other is that answer again, or is told to wait.
#[test]
fn twins_in_one_batch_have_one_effect() {
    World::s0().gated("").run(async |world| {
        let users = world.users("twin", 15);
        for round in 1..=3_i64 {
            let body = json!({ "amount": PRICE });
            let key = format!("charge-{round}");
            let calls = users.iter().flat_map(|user| [user, user, user]);
            let charged =
                at_once(calls.map(|user| user.points_call("charges", &body).key(&key).into_future())).await;
            for (user, answers) in users.iter().zip(charged.chunks(3)) {
                let entry = answers
                    .iter()
                    .find(|answer| answer.status == 201)
                    .expect("one succeeds")
                    .text("entry_id");
                for answer in answers {
                    match answer.status {
                        201 => assert_eq!(answer.text("entry_id"), entry),
                        _ => assert_eq!(answer.outcome(), "409 idempotency_in_flight"),
                    }
                }
                assert_eq!(user.balance().await, PRICE * round);
            }
        }
        for (user, seat) in users.iter().zip(1..) {
            let body = json!({ "schedule_id": world.date().id, "seat_numbers": [seat] });
            let call = || user.booking("POST", "/v1/reservations").json(&body).key("hold").into_future();
            let held = at_once([call(), call(), call()]).await;
            let first =
                held.iter().find(|answer| answer.status == 201).expect("one succeeds").text("reservation_id");
            for answer in &held {
                match answer.status {
                    201 => assert_eq!(answer.text("reservation_id"), first),
                    _ => assert_eq!(answer.outcome(), "409 idempotency_in_flight", "{answer:?}"),
                }
            }
        }
    });
}

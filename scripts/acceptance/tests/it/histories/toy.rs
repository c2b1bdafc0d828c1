//! A shop in memory with the service's behaviour, and clients on a clock of its own.
//!
//! ```text
//!   wake ─ d1 ─▶ act (all of a request at one moment) ─ d2 ─▶ end       or the answer is lost, and the client
//!    ▲                                                        │         asks again, while the first may still
//!    └──────────────────── think ◀────────────────────────────┘         act, later, or never
//! ```
//!
//! One [`Bug`] may be switched on. Everything follows from the seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use acceptance::histories::{
    Account, Answer, Attempt, Chooser, History, Kind, Moment, Outcome, Pocket, Reservation, Row, Shape,
    Shown, Status, Terms, Wish,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use super::bugs::Bug;

const USERS: usize = 6;
const CLIENTS: usize = 18;
const SEATS: i32 = 24;
const PRICE: i64 = 100;
const TTL: i64 = 80_000;
/// Of the machine's clock, when the history begins.
const BEGINNING: i64 = 1_800_000_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    Free,
    Held(Uuid, i64),
    Sold(Uuid),
}

pub(super) struct Toy {
    bug: Option<Bug>,
    random: StdRng,
    now: i64,
    seats: BTreeMap<i32, Seat>,
    reservations: BTreeMap<Uuid, (usize, Reservation)>,
    payments: HashMap<Uuid, Uuid>,
    accounts: Vec<Account>,
    keys: HashMap<u64, Answer>,
    /// What was so a while ago, for those bugs that show it.
    old_map: Vec<(i64, Vec<(i32, Shown)>)>,
    old_balances: Vec<(i64, Vec<i64>)>,
    /// To be taken back, and when.
    undone: Option<(i64, Uuid)>,
    next_id: u128,
}

impl Toy {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        Self {
            bug,
            random: StdRng::seed_from_u64(seed ^ 0xB0B),
            now: BEGINNING,
            seats: (1..=SEATS).map(|number| (number, Seat::Free)).collect(),
            reservations: BTreeMap::new(),
            payments: HashMap::new(),
            accounts: vec![Account::default(); USERS],
            keys: HashMap::new(),
            old_map: Vec::new(),
            old_balances: Vec::new(),
            undone: None,
            next_id: 1,
        }
    }

    /// Whether this bug shows itself now.
    fn hits(&mut self, bug: Bug, percent: f64) -> bool {
        self.bug == Some(bug) && self.random.random_bool(percent / 100.0)
    }

    fn id(&mut self) -> Uuid {
        self.next_id += 1;
        Uuid::from_u128(self.next_id)
    }

    /// The database's clock: cut to milliseconds.
    fn at(&self) -> i64 {
        self.now / 1000 * 1000
    }

    fn act(&mut self, now: i64, user: usize, key: Option<u64>, wish: &Wish) -> Outcome {
        self.now = now;
        self.pass_time();
        if let Some(known) = key.and_then(|key| self.keys.get(&key)).cloned()
            && !self.hits(Bug::KeyForgotten, 100.0)
        {
            return Outcome::Ok(self.replay(known));
        }
        let outcome = match wish {
            Wish::Hold { seats } => self.hold(user, seats),
            Wish::Release { reservation } => self.release(user, *reservation),
            Wish::Pay { reservation } => self.pay(user, *reservation),
            Wish::Refund { payment } => self.refund(user, *payment),
            Wish::Charge { amount } => self.charge(user, *amount),
            Wish::Use { amount } => self.use_points(user, *amount),
            Wish::ReadReservation { reservation } => self.show(user, *reservation),
            Wish::ReadBalance => Outcome::Ok(Answer::Balance(self.balance(user))),
            Wish::ReadMap => Outcome::Ok(Answer::Map(self.map())),
            Wish::ReadHistory => {
                let ledger = &self.accounts[user].ledger;
                Outcome::Ok(Answer::History(ledger.iter().rev().take(3).cloned().collect()))
            }
        };
        if let (Some(key), Outcome::Ok(answer)) = (key, &outcome) {
            self.keys.insert(key, answer.clone());
        }
        outcome
    }

    /// What comes by itself, most of it for bugs.
    fn pass_time(&mut self) {
        if self.undone.is_some_and(|(at, _)| at <= self.now)
            && let Some((_, id)) = self.undone.take()
            && self.reservations.get(&id).is_some_and(|(_, held)| held.status == Status::Held)
        {
            self.reservations.remove(&id);
            self.free(id);
        }
        if self.bug == Some(Bug::StaleMap) {
            let map = self.true_map();
            self.old_map.push((self.now, map));
        }
        if self.bug == Some(Bug::StaleBalance) {
            let balances = self.accounts.iter().map(|account| account.balance).collect();
            self.old_balances.push((self.now, balances));
        }
        if self.hits(Bug::SweepUndoesPayment, 1.0) {
            let sold = self.reservations.values().find(|(_, last)| last.status == Status::Confirmed);
            if let Some(id) = sold.map(|(_, last)| last.id) {
                self.free(id);
            }
        }
    }

    fn replay(&mut self, mut known: Answer) -> Answer {
        if self.hits(Bug::ReplayDiffers, 100.0) {
            match &mut known {
                Answer::Moved { balance, .. } | Answer::Paid { balance, .. } => *balance += 1,
                Answer::Held(held) => held.expires_at += 1000,
                _ => {}
            }
        }
        known
    }

    fn is_free(&self, number: i32) -> bool {
        match self.seats[&number] {
            Seat::Free => true,
            Seat::Held(_, until) => until <= self.at(),
            Seat::Sold(_) => false,
        }
    }

    fn hold(&mut self, user: usize, wanted: &[i32]) -> Outcome {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        let mut taken: Vec<i32> = wanted.iter().copied().filter(|&number| !self.is_free(number)).collect();
        taken.retain(|number| match self.seats[number] {
            Seat::Held(_, until) => {
                let early = until - self.now < 40_000;
                !(self.hits(Bug::StolenHold, 10.0) || early && self.hits(Bug::LapsedEarly, 30.0))
            }
            _ => !self.hits(Bug::SoldAgain, 10.0),
        });
        if taken.is_empty() && self.hits(Bug::TakenButFree, 2.0) {
            taken.push(wanted[0]);
        }
        let id = self.id();
        let (held_at, until) = (self.at(), self.at() + TTL);
        if !taken.is_empty() {
            if self.hits(Bug::PartialHold, 20.0) {
                for number in wanted.iter().filter(|number| !taken.contains(number)) {
                    self.seats.insert(*number, Seat::Held(id, until));
                }
            }
            return Outcome::Refused { code: "seat_taken".into(), seats: taken, balance: None, amount: None };
        }
        let skipped = usize::from(wanted.len() > 1 && self.hits(Bug::SeatForgotten, 30.0));
        for number in &wanted[skipped..] {
            self.seats.insert(*number, Seat::Held(id, until));
        }
        let amount = PRICE * i64::try_from(wanted.len()).unwrap();
        let (status, payment) = (Status::Held, None);
        let held = Reservation { id, status, seats: wanted, amount, held_at, expires_at: until, payment };
        if self.undone.is_none() && self.hits(Bug::RolledBack, 5.0) {
            self.undone = Some((self.now + 5000, id));
        }
        self.reservations.insert(id, (user, held.clone()));
        if self.hits(Bug::RefusedButHeld, 10.0) {
            let seats = held.seats;
            return Outcome::Refused { code: "seat_taken".into(), seats, balance: None, amount: None };
        }
        Outcome::Ok(Answer::Held(held))
    }

    /// All its seats are nobody's.
    fn free(&mut self, id: Uuid) {
        for seat in self.seats.values_mut() {
            if matches!(*seat, Seat::Held(owner, _) | Seat::Sold(owner) if owner == id) {
                *seat = Seat::Free;
            }
        }
    }

    /// A reservation of this user as it stands now.
    fn own(&self, user: usize, id: Uuid) -> Option<Reservation> {
        let (owner, last) = self.reservations.get(&id)?;
        let mut last = last.clone();
        if last.status == Status::Held && last.expires_at <= self.at() {
            last.status = Status::Expired;
        }
        (*owner == user).then_some(last)
    }

    fn set(&mut self, id: Uuid, status: Status) {
        if let Some((_, last)) = self.reservations.get_mut(&id) {
            last.status = status;
        }
    }

    fn release(&mut self, user: usize, id: Uuid) -> Outcome {
        match self.own(user, id).map(|last| last.status) {
            None => Outcome::refused("reservation_not_found"),
            Some(Status::Expired) => Outcome::refused("hold_expired"),
            Some(Status::Held) => {
                self.set(id, Status::Cancelled);
                if !self.hits(Bug::LostRelease, 20.0) {
                    self.free(id);
                }
                Outcome::Ok(Answer::Released)
            }
            Some(_) => Outcome::refused("not_held"),
        }
    }

    fn pay(&mut self, user: usize, id: Uuid) -> Outcome {
        let owner = self.reservations.get(&id).map(|(owner, _)| *owner);
        let asked = if self.hits(Bug::PaidByAnother, 100.0) { owner.unwrap_or(user) } else { user };
        let Some(last) = self.own(asked, id) else { return Outcome::refused("reservation_not_found") };
        match last.status {
            Status::Confirmed if self.hits(Bug::PaidTwice, 50.0) => {}
            Status::Expired if self.hits(Bug::PaidLate, 50.0) => {}
            Status::Held => {}
            Status::Confirmed => return Outcome::refused("already_paid"),
            Status::Expired => return Outcome::refused("hold_expired"),
            _ => return Outcome::refused("not_held"),
        }
        let amount = if self.hits(Bug::PaidLess, 5.0) { last.amount - 1 } else { last.amount };
        let balance = self.accounts[user].balance;
        if balance < amount || self.hits(Bug::PoorInError, 2.0) {
            return insufficient(balance, amount);
        }
        let payment = self.id();
        self.payments.insert(payment, id);
        if !self.hits(Bug::DebitLost, 5.0) {
            self.book(user, Kind::Payment, -amount, Some(payment));
        }
        if self.accounts[user].balance >= amount && self.hits(Bug::DebitTwice, 10.0) {
            self.book(user, Kind::Payment, -amount, Some(payment));
        }
        if !self.hits(Bug::SaleLost, 5.0) {
            for number in &last.seats {
                self.seats.insert(*number, Seat::Sold(id));
            }
        }
        self.set(id, Status::Confirmed);
        self.reservations.entry(id).and_modify(|(_, last)| last.payment = Some(payment));
        let (balance, paid_at, seats) = (self.accounts[user].balance, self.at(), last.seats);
        Outcome::Ok(Answer::Paid { payment, reservation: id, amount, balance, paid_at, seats })
    }

    fn refund(&mut self, user: usize, payment: Uuid) -> Outcome {
        let paid = self.payments.get(&payment).and_then(|id| self.own(user, *id));
        let Some(last) = paid else { return Outcome::refused("payment_not_found") };
        if last.status == Status::Refunded && !self.hits(Bug::RefundedTwice, 50.0) {
            return Outcome::refused("already_refunded");
        }
        self.set(last.id, Status::Refunded);
        if !self.hits(Bug::RefundKeepsSeats, 20.0) {
            self.free(last.id);
        }
        self.book(user, Kind::Refund, last.amount, Some(payment));
        let (balance, refunded_at) = (self.accounts[user].balance, self.at());
        Outcome::Ok(Answer::Refunded { payment, amount: last.amount, balance, refunded_at })
    }

    fn book(&mut self, user: usize, kind: Kind, amount: i64, payment: Option<Uuid>) -> Uuid {
        let (entry, at) = (self.id(), self.at());
        let account = &mut self.accounts[user];
        account.balance += amount;
        account.ledger.push(Row { entry, kind, amount, balance_after: account.balance, payment, at });
        entry
    }

    fn charge(&mut self, user: usize, amount: i64) -> Outcome {
        let before = self.accounts[user].clone();
        let entry = self.book(user, Kind::Charge, amount, None);
        let balance = self.accounts[user].balance;
        if self.hits(Bug::ChargeLost, 3.0) {
            self.accounts[user] = before;
        } else if self.hits(Bug::BalanceDrifts, 3.0) {
            self.accounts[user].balance += 1;
        }
        Outcome::Ok(Answer::Moved { entry, amount, balance })
    }

    fn use_points(&mut self, user: usize, amount: i64) -> Outcome {
        let balance = self.accounts[user].balance;
        if balance < amount && !self.hits(Bug::BelowZero, 30.0) {
            return insufficient(balance, amount);
        }
        let entry = self.book(user, Kind::Use, -amount, None);
        if self.hits(Bug::RefusedButUsed, 5.0) {
            return insufficient(amount - 1, amount);
        }
        Outcome::Ok(Answer::Moved { entry, amount: -amount, balance: self.accounts[user].balance })
    }

    fn show(&mut self, user: usize, id: Uuid) -> Outcome {
        match self.own(user, id) {
            Some(mut last) => {
                if last.status == Status::Expired && self.hits(Bug::LapseNotShown, 20.0) {
                    last.status = Status::Held;
                }
                Outcome::Ok(Answer::Reservation(last))
            }
            None => Outcome::refused("reservation_not_found"),
        }
    }

    fn balance(&mut self, user: usize) -> i64 {
        let old = self.old_balances.iter().rev().find(|(at, _)| *at < self.now - 50_000);
        old.map_or(self.accounts[user].balance, |(_, balances)| balances[user])
    }

    fn map(&mut self) -> Vec<(i32, Shown)> {
        let old = self.old_map.iter().rev().find(|(at, _)| *at < self.now - 50_000);
        old.map_or_else(|| self.true_map(), |(_, map)| map.clone())
    }

    fn true_map(&self) -> Vec<(i32, Shown)> {
        let shown = |number: i32| match self.seats[&number] {
            _ if self.is_free(number) => Shown::Available,
            Seat::Sold(_) => Shown::Sold,
            _ => Shown::Held,
        };
        self.seats.keys().map(|&number| (number, shown(number))).collect()
    }
}

fn insufficient(balance: i64, amount: i64) -> Outcome {
    let (balance, amount) = (Some(balance), Some(amount));
    Outcome::Refused { code: "insufficient_points".into(), seats: Vec::new(), balance, amount }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake(usize),
    Act(usize),
    End(usize),
}

struct Run {
    toy: Toy,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    attempts: Vec<Attempt>,
    /// What an attempt has done; its client may never hear.
    done: Vec<Option<Outcome>>,
    pockets: Vec<Pocket>,
    choosers: Vec<Chooser>,
    /// To be asked again.
    again: Vec<Option<(Wish, Option<u64>)>>,
    next_key: u64,
}

/// A history of so many attempts.
pub(super) fn history(seed: u64, attempts: usize, bug: Option<Bug>) -> History {
    let shape = Shape { seats: SEATS, hot: 4, most_seats: 3, most_points: 400 };
    let mut run = Run {
        toy: Toy::new(seed, bug),
        events: (0..CLIENTS).map(|client| Reverse((0, Event::Wake(client)))).collect(),
        attempts: Vec::new(),
        done: Vec::new(),
        pockets: vec![Pocket::default(); USERS],
        choosers: (0..CLIENTS).map(|client| Chooser::new(seed * 1000 + client as u64, shape)).collect(),
        again: vec![None; CLIENTS],
        next_key: 0,
    };
    let mut now = 0;
    while let Some(Reverse((at, event))) = run.events.pop() {
        now = at;
        match event {
            Event::Wake(client) if run.attempts.len() < attempts => run.wake(client, at),
            Event::Wake(_) => {}
            Event::Act(number) => run.act(number, at),
            Event::End(number) => run.end(number, at),
        }
    }
    run.close(now + 2 * TTL)
}

impl Run {
    fn wake(&mut self, client: usize, at: i64) {
        let user = client % USERS;
        let chooser = &mut self.choosers[client];
        let (wish, key) = self.again[client].take().unwrap_or_else(|| {
            let foreign = self.pockets[(user + 1) % USERS].any();
            let wish = chooser.next(&self.pockets[user], foreign);
            let keyed = wish.needs_key() || wish.takes_key() && chooser.percent(80.0);
            self.next_key += 1;
            (wish, keyed.then_some(self.next_key))
        });
        let number = self.attempts.len();
        let is_lost = chooser.percent(4.0);
        let (there, back) = (100 + delay(chooser), 100 + delay(chooser));
        let gives_up = 500 + delay(chooser);
        if !is_lost || chooser.percent(60.0) {
            let late = if is_lost { 2 * delay(chooser) } else { 0 };
            self.events.push(Reverse((at + there + late, Event::Act(number))));
        }
        let end = if is_lost { at + gives_up } else { at + there + back };
        self.events.push(Reverse((end, Event::End(number))));
        let outcome = if is_lost { Outcome::Lost } else { Outcome::refused("(not yet)") };
        let (begun, ended) = (moment(at), moment(end));
        self.attempts.push(Attempt { client, user, replica: 0, key, wish, begun, ended, outcome });
        self.done.push(None);
    }

    fn act(&mut self, number: usize, at: i64) {
        let attempt = &self.attempts[number];
        let outcome = self.toy.act(BEGINNING + at, attempt.user, attempt.key, &attempt.wish);
        self.done[number] = Some(outcome);
    }

    fn end(&mut self, number: usize, at: i64) {
        let attempt = &mut self.attempts[number];
        if attempt.outcome != Outcome::Lost {
            attempt.outcome = self.done[number].take().expect("it acts before it ends");
        }
        self.pockets[attempt.user].hear(&attempt.wish, &attempt.outcome);
        let chooser = &mut self.choosers[attempt.client];
        if attempt.outcome == Outcome::Lost && attempt.key.is_some() && chooser.percent(90.0) {
            self.again[attempt.client] = Some((attempt.wish.clone(), attempt.key));
        }
        self.events.push(Reverse((at + delay(chooser) / 4, Event::Wake(attempt.client))));
    }

    /// Everything that was held has lapsed.
    fn close(mut self, at: i64) -> History {
        let map = self.toy.act(BEGINNING + at, 0, None, &Wish::ReadMap);
        let (begun, ended) = (moment(at - 1), moment(at + 1));
        let wish = Wish::ReadMap;
        let last = Attempt { client: 0, user: 0, replica: 0, key: None, wish, begun, ended, outcome: map };
        self.attempts.push(last);
        let mut books: BTreeMap<usize, Account> = self.toy.accounts.iter().cloned().enumerate().collect();
        for (id, (user, _)) in &self.toy.reservations {
            let reservation = self.toy.own(*user, *id).expect("it is theirs");
            books.entry(*user).or_default().reservations.push(reservation);
        }
        let terms = Terms { hold_ttl: TTL, price: PRICE, slack: 0, map_lag: 0 };
        History { terms, attempts: self.attempts, books, ended }
    }
}

fn delay(chooser: &mut Chooser) -> i64 {
    i64::try_from(chooser.below(8000)).expect("it is small")
}

fn moment(tick: i64) -> Moment {
    Moment { tick, wall: BEGINNING + tick }
}

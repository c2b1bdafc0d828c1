//! The life of each reservation, put together from the answers and from what is left in the end.
//!
//! ```text
//!   held ──▶ confirmed ──▶ refunded        each step at most once, by its owner, asked for by somebody
//!    │ └───▶ cancelled
//!    └ deadline: expired
//! ```
//!
//! A step whose answer never came is known from the books; there must be an ask that could have been it.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::histories::history::{Answer, History, Kind, Moment, Reservation, Status, Wish};

use super::asks::{Ask, Deed};
use super::violation::Violation;

/// One reservation from its hold to what it was in the end.
pub struct Life {
    pub user: usize,
    /// As the books have it.
    pub last: Reservation,
    pub held: Deed,
    pub paid: Option<Deed>,
    pub cancelled: Option<Deed>,
    pub refunded: Option<Deed>,
    /// On the database's clock.
    pub refunded_at: Option<i64>,
}

/// All lives by reservation, and which reservation each payment is of.
#[derive(Default)]
pub struct Lives {
    pub of: HashMap<Uuid, Life>,
    pub paid_by: HashMap<Uuid, Uuid>,
}

struct Builder<'a, 'h> {
    history: &'h History,
    asks: &'a [Ask<'h>],
    lives: Lives,
    /// When each payment was given back, by the ledger.
    refunds: HashMap<Uuid, i64>,
    violations: &'a mut Vec<Violation>,
}

/// Lives of all reservations; whatever cannot be one is a violation.
pub fn lives<'h>(history: &'h History, asks: &[Ask<'h>], violations: &mut Vec<Violation>) -> Lives {
    let rows = history.books.values().flat_map(|account| &account.ledger);
    let refunds = rows.filter(|row| row.kind == Kind::Refund);
    let refunds = refunds.filter_map(|row| Some((row.payment?, row.at))).collect();
    let mut builder = Builder { history, asks, lives: Lives::default(), refunds, violations };
    builder.holds();
    builder.orphans();
    builder.ends();
    builder.lives
}

impl Builder<'_, '_> {
    fn wrong(&mut self, what: String, attempts: &[usize]) {
        self.violations.push(Violation::new(what, attempts));
    }

    /// Holds that were answered.
    fn holds(&mut self) {
        let books: HashMap<Uuid, (usize, &Reservation)> = booked(self.history).collect();
        for ask in self.asks {
            let (Wish::Hold { seats }, Some((attempt, Answer::Held(held), _))) = (ask.wish, ask.success)
            else {
                continue;
            };
            let mut asked = seats.clone();
            asked.sort_unstable();
            if held.seats != asked || held.amount != self.amount(asked.len()) {
                self.wrong(format!("{} is not of the seats that were asked for", held.id), &[attempt]);
            }
            self.times(ask.begun, held, ask.success.map(|(.., ended)| ended), attempt);
            let Some((user, last)) = books.get(&held.id) else {
                self.wrong(format!("{} was answered, and is in nobody's list", held.id), &[attempt]);
                continue;
            };
            let same = (&last.seats, last.amount, last.held_at, last.expires_at)
                == (&held.seats, held.amount, held.held_at, held.expires_at);
            if *user != ask.user || !same {
                let text = format!("{} was answered as {held:?} and is listed as {last:?}", held.id);
                self.wrong(text, &[attempt]);
            }
            let known = self.lives.of.insert(held.id, Life::new(ask.user, (*last).clone(), ask.deed()));
            if let Some(known) = known {
                let text = format!("{} is the answer to two different asks", held.id);
                self.wrong(text, &[known.held.attempt, attempt]);
            }
        }
    }

    /// Listed reservations that nobody was told of: a hold without an answer each.
    fn orphans(&mut self) {
        let history = self.history;
        let mut orphans: Vec<_> = booked(history).filter(|(id, _)| !self.lives.of.contains_key(id)).collect();
        orphans.sort_by_key(|(_, (_, last))| last.held_at);
        let mut used = BTreeSet::new();
        for (id, (user, last)) in orphans {
            let fits = |(place, ask): &(usize, &Ask<'_>)| {
                let Wish::Hold { seats } = ask.wish else { return false };
                let mut asked = seats.clone();
                asked.sort_unstable();
                ask.is_open
                    && ask.user == user
                    && asked == last.seats
                    && ask.begun.wall <= last.held_at + 1000 + history.terms.slack
                    && !used.contains(place)
            };
            let Some((place, ask)) = self.asks.iter().enumerate().find(fits) else {
                let like_it = |ask: &&Ask<'_>| {
                    let Wish::Hold { seats } = ask.wish else { return false };
                    ask.user == user
                        && ask.begun.wall <= last.held_at + 1000
                        && last.seats.iter().all(|seat| seats.contains(seat))
                };
                let near = self.asks.iter().rfind(like_it).map_or_else(Vec::new, |ask| ask.attempts.clone());
                let text =
                    "nobody was told of this reservation, and no hold without an answer can have made it";
                self.wrong(format!("{text}: {last:?}"), &near);
                continue;
            };
            used.insert(place);
            let (begun, deed) = (ask.begun, ask.deed());
            self.times(begun, last, None, deed.attempt);
            self.lives.of.insert(id, Life::new(user, last.clone(), deed));
        }
    }

    /// The database's times of a hold against the client's. They are cut to milliseconds.
    fn times(&mut self, begun: Moment, held: &Reservation, ended: Option<Moment>, attempt: usize) {
        let terms = self.history.terms;
        let (least, most) =
            (begun.wall - 1000 - terms.slack, ended.map_or(i64::MAX, |ended| ended.wall + terms.slack));
        if held.held_at < least || held.held_at > most {
            self.wrong(
                format!("{} says it was held at another time than it was asked for", held.id),
                &[attempt],
            );
        }
        if held.expires_at - held.held_at != terms.hold_ttl {
            self.wrong(format!("{} is not held for as long as all are", held.id), &[attempt]);
        }
    }

    fn amount(&self, seats: usize) -> i64 {
        self.history.terms.price * i64::try_from(seats).unwrap_or(i64::MAX)
    }

    /// Payments, cancellations and refunds.
    fn ends(&mut self) {
        let mut paid: HashMap<Uuid, Vec<usize>> = HashMap::new();
        let mut cancelled: HashMap<Uuid, Vec<usize>> = HashMap::new();
        let mut refunded: HashMap<Uuid, Vec<usize>> = HashMap::new();
        for (place, ask) in self.asks.iter().enumerate() {
            match ask.wish {
                Wish::Pay { reservation } => paid.entry(*reservation).or_default().push(place),
                Wish::Release { reservation } => cancelled.entry(*reservation).or_default().push(place),
                Wish::Refund { payment } => refunded.entry(*payment).or_default().push(place),
                _ => {}
            }
        }
        let mut lives = std::mem::take(&mut self.lives.of);
        for (id, life) in &mut lives {
            let (status, payment) = (life.last.status, life.last.payment);
            let is_paid = matches!(status, Status::Confirmed | Status::Refunded);
            if is_paid != payment.is_some() {
                self.wrong(format!("status and payment do not agree: {:?}", life.last), &[life.held.attempt]);
            }
            let none = Vec::new();
            life.paid = self.step("paid", life, paid.get(id).unwrap_or(&none), is_paid);
            let is_cancelled = status == Status::Cancelled;
            life.cancelled = self.step("cancelled", life, cancelled.get(id).unwrap_or(&none), is_cancelled);
            if let Some(payment) = payment {
                self.lives.paid_by.insert(payment, *id);
                let asks = refunded.get(&payment).unwrap_or(&none);
                life.refunded = self.step("refunded", life, asks, status == Status::Refunded);
                life.refunded_at = self.refunds.get(&payment).copied();
            }
            self.payment_fits(life, paid.get(id).unwrap_or(&none));
        }
        self.lives.of = lives;
        for asks in [&paid, &refunded] {
            self.strangers(asks);
        }
    }

    /// What made this step, when the books say that it was made; nothing, when they do not.
    fn step(&mut self, what: &str, life: &Life, places: &[usize], is_made: bool) -> Option<Deed> {
        let told: Vec<&Ask<'_>> = places.iter().map(|&place| &self.asks[place]).collect();
        let told: Vec<&Ask<'_>> = told.into_iter().filter(|ask| ask.success.is_some()).collect();
        let shown: Vec<usize> =
            told.iter().filter_map(|ask| ask.success.map(|(attempt, ..)| attempt)).collect();
        let id = life.last.id;
        if told.len() > 1 {
            self.wrong(format!("{id} was {what} {} times", told.len()), &shown);
        }
        if told.iter().any(|ask| ask.user != life.user) {
            self.wrong(
                format!("{id} was {what} by another user"),
                &[&shown[..], &[life.held.attempt]].concat(),
            );
        }
        match (told.first(), is_made) {
            (Some(ask), true) => Some(ask.deed()),
            (Some(_), false) => {
                let text = format!("{id} was answered as {what} and is listed as {:?}", life.last.status);
                self.wrong(text, &[&shown[..], &[life.held.attempt]].concat());
                None
            }
            (None, true) => {
                let asks = places.iter().map(|&place| &self.asks[place]);
                let open =
                    asks.filter(|ask| ask.is_open && ask.user == life.user).min_by_key(|ask| ask.begun);
                if open.is_none() {
                    let all: Vec<usize> =
                        places.iter().flat_map(|&place| self.asks[place].attempts.clone()).collect();
                    let text = format!("{id} is {what} in the end, and nobody can have done it");
                    self.wrong(text, &[&all[..], &[life.held.attempt]].concat());
                }
                open.map(Ask::deed)
            }
            (None, false) => None,
        }
    }

    /// Amount, seats and time of an answered payment.
    fn payment_fits(&mut self, life: &Life, places: &[usize]) {
        for &place in places {
            let Some((attempt, answer, _)) = self.asks[place].success else { continue };
            let Answer::Paid { payment, reservation, amount, paid_at, seats, .. } = answer else { continue };
            let last = &life.last;
            let as_held = (*reservation, *amount, seats) == (last.id, last.amount, &last.seats);
            if !as_held || last.payment != Some(*payment) {
                let text = format!("the payment {payment} is not of what was held: {last:?}");
                self.wrong(text, &[attempt, life.held.attempt]);
            }
            let in_time = *paid_at >= last.held_at && *paid_at < last.expires_at;
            if !in_time || self.asks[place].begun.wall > last.expires_at + self.history.terms.slack {
                let text =
                    format!("{} was paid at {paid_at}, past its deadline {}", last.id, last.expires_at);
                self.wrong(text, &[attempt, life.held.attempt]);
            }
        }
    }

    /// Successes about something that nobody has.
    fn strangers(&mut self, asks: &HashMap<Uuid, Vec<usize>>) {
        let places = asks
            .iter()
            .filter(|(id, _)| !self.lives.of.contains_key(id) && !self.lives.paid_by.contains_key(id));
        let places: Vec<usize> = places.flat_map(|(_, places)| places.clone()).collect();
        for place in places {
            if let Some((attempt, ..)) = self.asks[place].success {
                self.wrong("a success about what is in nobody's list".to_owned(), &[attempt]);
            }
        }
    }
}

impl Life {
    fn new(user: usize, last: Reservation, held: Deed) -> Self {
        Self { user, last, held, paid: None, cancelled: None, refunded: None, refunded_at: None }
    }
}

fn booked(history: &History) -> impl Iterator<Item = (Uuid, (usize, &Reservation))> {
    let accounts = history.books.iter();
    accounts.flat_map(|(user, account)| account.reservations.iter().map(|last| (last.id, (*user, last))))
}

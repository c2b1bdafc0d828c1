//! Each balance by itself: the ledger is the order, and everybody must have seen a part of it.
//!
//! The state of an account is how many rows its ledger has. Row n happens when n − 1 are there, asked for
//! by the ask that explains it; a balance read, a page of the history, or a refusal for want of points is a
//! sight of one of these states.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::histories::history::{Account, Answer, Attempt, History, Kind, Outcome, Row, Wish};

use super::asks::{Ask, Deed};
use super::linear::{Act, Item, Items, Object};
use super::lives::Lives;
use super::violation::{Violation, seconds};

/// An account.
pub struct Money<'h> {
    ledger: &'h [Row],
}

/// What somebody saw.
pub enum Sight {
    Balance(i64),
    Below(i64),
    Newest(Option<Uuid>),
}

impl Money<'_> {
    fn after(&self, rows: usize) -> i64 {
        rows.checked_sub(1).map_or(0, |last| self.ledger[last].balance_after)
    }
}

impl Object for Money<'_> {
    type State = usize;
    type Change = usize;
    type Sight = Sight;

    fn change(&self, rows: &usize, row: &usize) -> Option<usize> {
        (rows == row).then_some(row + 1)
    }

    fn sees(&self, rows: &usize, sight: &Sight) -> bool {
        match sight {
            Sight::Balance(balance) => self.after(*rows) == *balance,
            Sight::Below(amount) => self.after(*rows) < *amount,
            Sight::Newest(entry) => rows.checked_sub(1).map(|last| self.ledger[last].entry) == *entry,
        }
    }
}

/// What is wrong with the balances.
pub fn check(history: &History, asks: &[Ask<'_>], lives: &Lives, violations: &mut Vec<Violation>) {
    for (&user, account) in &history.books {
        sums(user, account, violations);
        let asks: Vec<&Ask<'_>> = asks.iter().filter(|ask| ask.user == user).collect();
        let Some(deeds) = Explained { history, user, ledger: &account.ledger, violations }.rows(&asks, lives)
        else {
            continue;
        };
        let money = Money { ledger: &account.ledger };
        let mut items: Items<Money<'_>> = Vec::new();
        for (row, deed) in deeds.into_iter().enumerate() {
            let (begun, ended) = (deed.begun.tick, deed.ended.map(|ended| ended.tick));
            items.push(Item { begun, ended, act: Act::Change(row), attempt: deed.attempt });
        }
        sights(history, user, &account.ledger, &mut items, violations);
        super::report(&money, &items, &0, violations, |at, rows| {
            format!(
                "account of user {user}: no order of these is possible after {} s, when its ledger had {rows} \
                 rows and the balance was {}",
                seconds(at),
                money.after(*rows)
            )
        });
    }
}

/// The ledger by itself: each balance is the one before and the amount, none is negative.
fn sums(user: usize, account: &Account, violations: &mut Vec<Violation>) {
    let mut before = 0;
    for row in &account.ledger {
        if row.balance_after != before + row.amount || row.balance_after < 0 {
            let text = format!("account of user {user}: after a balance of {before} comes {row:?}");
            violations.push(Violation::new(text, &[]));
            return;
        }
        before = row.balance_after;
    }
    if account.balance != before {
        let text =
            format!("account of user {user}: the balance is {}, its ledger says {before}", account.balance);
        violations.push(Violation::new(text, &[]));
    }
}

struct Explained<'a, 'h> {
    history: &'h History,
    user: usize,
    ledger: &'h [Row],
    violations: &'a mut Vec<Violation>,
}

impl Explained<'_, '_> {
    /// Who asked for each row; `None` when one of them nobody did.
    fn rows(mut self, asks: &[&Ask<'_>], lives: &Lives) -> Option<Vec<Deed>> {
        let mut entries: HashMap<Uuid, usize> = HashMap::new();
        let mut payments: HashMap<(Kind, Uuid), usize> = HashMap::new();
        for (place, row) in self.ledger.iter().enumerate() {
            if entries.insert(row.entry, place).is_some() {
                self.wrong(&format!("an entry comes twice: {row:?}"), &[]);
            }
            let again = row.payment.and_then(|payment| payments.insert((row.kind, payment), place));
            if again.is_some() {
                self.wrong(&format!("points moved twice for one payment: {row:?}"), &[]);
            }
        }
        let mut deeds: Vec<Option<Deed>> = self.ledger.iter().map(|_| None).collect();
        for ask in asks {
            let Some((attempt, answer, _)) = ask.success else { continue };
            let Some((place, amount, balance)) = booked(answer, &entries, &payments) else { continue };
            let row = place.map(|place| &self.ledger[place]);
            match (place, row) {
                (Some(place), Some(row)) if row.amount == amount && row.balance_after == balance => {
                    if let Some(known) = deeds[place].replace(ask.deed()) {
                        self.wrong(&format!("two answers of one row: {row:?}"), &[known.attempt, attempt]);
                    }
                }
                (_, row) => {
                    self.wrong(&format!("this was answered, and in the ledger is {row:?}"), &[attempt]);
                }
            }
        }
        self.unanswered(asks, lives, &mut deeds);
        deeds.into_iter().collect()
    }

    /// Rows whose answer never came.
    fn unanswered(&mut self, asks: &[&Ask<'_>], lives: &Lives, deeds: &mut [Option<Deed>]) {
        let mut used = BTreeSet::new();
        let rows = self.ledger.iter().zip(deeds.iter_mut());
        for (row, deed) in rows.filter(|(_, deed)| deed.is_none()) {
            *deed = match row.payment.and_then(|payment| lives.paid_by.get(&payment)) {
                Some(reservation) => lives.of.get(reservation).and_then(|life| {
                    let is_refund = row.kind == Kind::Refund;
                    if is_refund { life.refunded.clone() } else { life.paid.clone() }
                }),
                None => self.open_ask(row, asks, &mut used),
            };
            if deed.is_none() {
                let seen = asks.iter().filter(|ask| moves(ask.wish) == Some((row.kind, row.amount)));
                let near = seen.filter(|ask| ask.begun.wall <= row.at + 1000).max_by_key(|ask| ask.begun);
                let near = near.map_or_else(Vec::new, |ask| ask.attempts.clone());
                self.wrong(&format!("nobody can have asked for {row:?}"), &near);
            }
        }
    }

    /// A charge or use without an answer that can be this row.
    fn open_ask(&self, row: &Row, asks: &[&Ask<'_>], used: &mut BTreeSet<usize>) -> Option<Deed> {
        let latest = row.at + 1000 + self.history.terms.slack;
        let fits = |(place, ask): &(usize, &&Ask<'_>)| {
            ask.is_open
                && moves(ask.wish) == Some((row.kind, row.amount))
                && ask.begun.wall <= latest
                && !used.contains(place)
        };
        let (place, ask) = asks.iter().enumerate().find(fits)?;
        used.insert(place);
        Some(ask.deed())
    }

    fn wrong(&mut self, what: &str, attempts: &[usize]) {
        self.violations.push(Violation::new(format!("account of user {}: {what}", self.user), attempts));
    }
}

/// Which row an answer says it made, its signed amount, and the balance after it.
fn booked(
    answer: &Answer,
    entries: &HashMap<Uuid, usize>,
    payments: &HashMap<(Kind, Uuid), usize>,
) -> Option<(Option<usize>, i64, i64)> {
    match answer {
        Answer::Moved { entry, amount, balance } => Some((entries.get(entry).copied(), *amount, *balance)),
        Answer::Paid { payment, amount, balance, .. } => {
            Some((payments.get(&(Kind::Payment, *payment)).copied(), -amount, *balance))
        }
        Answer::Refunded { payment, amount, balance, .. } => {
            Some((payments.get(&(Kind::Refund, *payment)).copied(), *amount, *balance))
        }
        _ => None,
    }
}

/// What a wish moves by itself.
fn moves(wish: &Wish) -> Option<(Kind, i64)> {
    match wish {
        Wish::Charge { amount } => Some((Kind::Charge, *amount)),
        Wish::Use { amount } => Some((Kind::Use, -amount)),
        _ => None,
    }
}

fn sights(
    history: &History,
    user: usize,
    ledger: &[Row],
    items: &mut Items<Money<'_>>,
    violations: &mut Vec<Violation>,
) {
    let places: HashMap<Uuid, usize> =
        ledger.iter().enumerate().map(|(place, row)| (row.entry, place)).collect();
    let own = history.attempts.iter().enumerate().filter(|(_, made)| made.user == user);
    for (attempt, made) in own {
        for sight in seen(made) {
            let act = Act::Sight(sight);
            items.push(Item { begun: made.begun.tick, ended: Some(made.ended.tick), act, attempt });
        }
        let Outcome::Ok(Answer::History(page)) = &made.outcome else { continue };
        let newest = page.first().map_or(Some(0), |row| Some(places.get(&row.entry)? + 1));
        let shown = newest.and_then(|newest| ledger.get(newest.checked_sub(page.len())?..newest));
        if shown.is_none_or(|shown| shown.iter().ne(page.iter().rev())) {
            let text = format!("account of user {user}: this page is no part of the ledger: {page:?}");
            violations.push(Violation::new(text, &[attempt]));
        }
    }
}

/// A refusal names a balance that was read after the attempt to take the points: two sights.
fn seen(made: &Attempt) -> Vec<Sight> {
    match &made.outcome {
        Outcome::Ok(Answer::Balance(balance)) => vec![Sight::Balance(*balance)],
        Outcome::Ok(Answer::History(page)) => vec![Sight::Newest(page.first().map(|row| row.entry))],
        Outcome::Refused { code, balance, amount, .. } if code == "insufficient_points" => {
            let mut sights: Vec<Sight> = balance.iter().map(|balance| Sight::Balance(*balance)).collect();
            sights.extend(amount.map(Sight::Below));
            sights
        }
        _ => Vec::new(),
    }
}

//! What each shopper does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::clock::Clock;

use super::Arguments;
use crate::crowd::{Crowd, Findings, Heard, Kind, Next};
use crate::http::{Answer, Failure, text_of};
use crate::shop::{
    Answered, Hold, Owners, SCHEDULE_CODES, Shown, answered, ask_charge, ask_hold, ask_map, ask_pay,
    ask_refund, ask_release, number_of, taken,
};
use crate::tokens::{self, Tokens};

pub const RIGHT_AMOUNTS: &str = "amounts and balances are right";

const TRIES: u32 = 4;
const SOON: Duration = Duration::from_millis(250);
/// Seats that many want.
const HOT: usize = 20;

/// Somebody.
pub struct Person {
    pub n: u64,
    hall: usize,
    step: Step,
    entry: Box<str>,
    /// For what the entry token does not open any more.
    user: Box<str>,
    tries: u32,
    seats: Vec<u32>,
    hold: Option<Hold>,
    payment: Box<str>,
    /// By the answers.
    balance: i64,
    /// There was no answer to something that moves points.
    is_unsure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Charge,
    Map,
    Hold,
    Pay,
    Release,
    Refund,
}

/// A hall, by the answers.
pub struct Hall {
    pub schedule: String,
    pub shown: Shown,
    pub owners: Owners,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Counts {
    pub payments: AtomicU64,
    pub refunds: AtomicU64,
    /// There was no answer to a hold or a payment.
    pub unsure: AtomicU64,
    pub nothing: AtomicU64,
}

/// The shop, and what was seen of it.
pub struct Shop {
    pub arguments: Arguments,
    pub halls: Vec<Hall>,
    pub findings: Findings,
    pub counts: Counts,
    pub clock: Clock,
    pub tokens: Tokens,
    accounts: Mutex<Vec<(u64, i64)>>,
}

impl Person {
    /// Who comes to a random hall.
    pub fn new(n: u64, entry: String, halls: usize) -> Self {
        Self {
            n,
            hall: rand::random_range(0..halls.max(1)),
            step: Step::Charge,
            entry: entry.into(),
            user: Box::default(),
            tries: 0,
            seats: Vec::new(),
            hold: None,
            payment: Box::default(),
            balance: 0,
            is_unsure: false,
        }
    }

    fn go(&mut self, step: Step, after: Duration) -> Next {
        self.step = step;
        Next::Ask(0, after)
    }
}

impl Shop {
    pub fn new(arguments: Arguments, halls: Vec<Hall>, tokens: Tokens) -> Self {
        let (findings, counts, accounts) = (Findings::default(), Counts::default(), Mutex::default());
        Self { arguments, halls, findings, counts, clock: Clock::system(), tokens, accounts }
    }

    /// Everybody of whom all is known, and what they have.
    pub fn accounts(&self) -> Vec<(u64, i64)> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn done(&self, person: &Person) -> Next {
        if person.is_unsure {
            self.counts.unsure.fetch_add(1, Relaxed);
        } else {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.push((person.n, person.balance));
        }
        Next::Done
    }

    /// There was no answer, and none is asked for: what was done is not known.
    fn lost(&self, person: &mut Person) -> Next {
        person.is_unsure = true;
        self.done(person)
    }

    fn choose(&self, person: &mut Person, reads: bool) -> Next {
        if person.tries >= TRIES {
            self.counts.nothing.fetch_add(1, Relaxed);
            return self.done(person);
        }
        person.tries += 1;
        let among = if rand::random_bool(self.arguments.hot) { HOT } else { usize::MAX };
        let wanted = rand::random_range(1..=self.arguments.most_seats);
        let shown = &self.halls[person.hall].shown;
        person.seats = if reads { Vec::new() } else { shown.choose(wanted, among) };
        let step = if person.seats.is_empty() { Step::Map } else { Step::Hold };
        person.go(step, Duration::ZERO)
    }

    fn heard_charge(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &[], &self.findings) {
            Answered::Yes => {
                person.balance = self.arguments.points();
                let told = answer.ok().and_then(|answer| number_of(answer.body, "balance"));
                let right = told == Some(person.balance);
                self.findings.expect(right, RIGHT_AMOUNTS, || format!("{told:?} after a charge"));
                self.choose(person, rand::random_bool(self.arguments.map_readers))
            }
            Answered::Later(after) => person.go(Step::Charge, after),
            // Safe: it has a key.
            Answered::Silence => person.go(Step::Charge, SOON),
            Answered::No(_) | Answered::Odd => self.lost(person),
        }
    }

    fn heard_map(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &[], &self.findings) {
            Answered::Yes => {
                if let Ok(answer) = answer {
                    self.halls[person.hall].shown.read(answer.body);
                }
                self.choose(person, false)
            }
            Answered::Later(after) => person.go(Step::Map, after),
            Answered::Silence => person.go(Step::Map, SOON),
            Answered::No(_) | Answered::Odd => self.done(person),
        }
    }

    fn heard_hold(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        let hall = &self.halls[person.hall];
        match answered(answer, &SCHEDULE_CODES[..1], &self.findings) {
            Answered::Yes => {
                let hold = answer.ok().and_then(|answer| Hold::read(answer.body));
                let Some(hold) = hold.filter(|hold| hold.seats == person.seats) else {
                    self.findings.broken(RIGHT_AMOUNTS, || format!("a hold of {:?}", person.seats));
                    return self.lost(person);
                };
                let amount = self.arguments.price * i64::try_from(hold.seats.len()).unwrap_or_default();
                self.findings.expect(hold.amount == amount, RIGHT_AMOUNTS, || format!("{hold:?}"));
                let now = self.clock.now().timestamp_millis();
                hall.owners.held(person.n, &hold.seats, hold.expires_ms, now, &self.findings);
                person.hold = Some(hold);
                self.after_hold(person)
            }
            Answered::No(_) => {
                hall.shown.cross_out(&answer.ok().and_then(|answer| taken(answer.body)).unwrap_or_default());
                self.choose(person, rand::random_bool(self.arguments.map_readers))
            }
            Answered::Later(after) => person.go(Step::Hold, after),
            // Seats may be held until their deadline; points do not move.
            Answered::Silence | Answered::Odd => self.done(person),
        }
    }

    fn after_hold(&self, person: &mut Person) -> Next {
        let (arguments, fate) = (&self.arguments, rand::random::<f64>());
        if fate < arguments.releases {
            person.go(Step::Release, arguments.think())
        } else if fate < arguments.releases + arguments.forgets {
            self.done(person)
        } else {
            person.go(Step::Pay, arguments.think())
        }
    }

    fn heard_payment(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        let amount = person.hold.as_ref().map_or(0, |hold| hold.amount);
        match answered(answer, &[(410, "hold_expired"), (409, "already_paid")], &self.findings) {
            Answered::No(410) => return self.done(person),
            Answered::Later(after) => return person.go(Step::Pay, after),
            Answered::Silence => return person.go(Step::Pay, SOON),
            Answered::Odd => return self.lost(person),
            // The second refusal: the answer to an earlier try was lost.
            Answered::Yes | Answered::No(_) => {}
        }
        person.balance -= amount;
        let body = answer.map(|answer| answer.body).unwrap_or_default();
        if let Some(left) = number_of(body, "balance_after") {
            self.findings.expect(left == person.balance, RIGHT_AMOUNTS, || format!("{left} after a payment"));
        }
        self.halls[person.hall].owners.sold(person.n, &person.seats, &self.findings);
        self.counts.payments.fetch_add(1, Relaxed);
        let payment = text_of(body, "payment_id").map(Box::from);
        let user = self.tokens.user(&tokens::person(person.n)).ok();
        match (payment, user) {
            (Some(payment), Some(user)) if rand::random_bool(self.arguments.refunds) => {
                (person.payment, person.user) = (payment, user.into());
                person.go(Step::Refund, self.arguments.think())
            }
            _ => self.done(person),
        }
    }

    fn heard_release(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &SCHEDULE_CODES[1..3], &self.findings) {
            Answered::Later(after) => return person.go(Step::Release, after),
            Answered::Silence => return person.go(Step::Release, SOON),
            Answered::Yes | Answered::No(_) | Answered::Odd => {}
        }
        self.halls[person.hall].owners.ended(person.n, &person.seats);
        self.done(person)
    }

    fn heard_refund(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &SCHEDULE_CODES[3..], &self.findings) {
            Answered::Later(after) => return person.go(Step::Refund, after),
            Answered::Silence => return person.go(Step::Refund, SOON),
            Answered::Odd => return self.lost(person),
            Answered::Yes | Answered::No(_) => {}
        }
        person.balance += person.hold.as_ref().map_or(0, |hold| hold.amount);
        self.counts.refunds.fetch_add(1, Relaxed);
        self.halls[person.hall].owners.ended(person.n, &person.seats);
        self.done(person)
    }
}

impl Crowd for Shop {
    type Person = Person;

    fn ask(&self, who: &mut Person, into: &mut Vec<u8>) -> Kind {
        let hall = &self.halls[who.hall];
        let hold = who.hold.as_ref().map(|hold| &*hold.id).unwrap_or_default();
        match who.step {
            Step::Charge => {
                ask_charge(self.arguments.points(), &tokens::person(who.n), &who.entry, into);
                Kind::Charge
            }
            Step::Map => {
                ask_map(&hall.schedule, &who.entry, into);
                Kind::Map
            }
            Step::Hold => {
                ask_hold(&hall.schedule, &who.seats, &who.entry, into);
                Kind::Hold
            }
            Step::Pay => {
                ask_pay(hold, &who.entry, into);
                Kind::Pay
            }
            Step::Release => {
                hall.owners.ending(who.n, &who.seats);
                ask_release(hold, &who.entry, into);
                Kind::Release
            }
            Step::Refund => {
                hall.owners.ending(who.n, &who.seats);
                ask_refund(&who.payment, &who.user, into);
                Kind::Refund
            }
        }
    }

    fn hear(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Heard {
        match person.step {
            Step::Charge => self.heard_charge(person, answer),
            Step::Map => self.heard_map(person, answer),
            Step::Hold => self.heard_hold(person, answer),
            Step::Pay => self.heard_payment(person, answer),
            Step::Release => self.heard_release(person, answer),
            Step::Refund => self.heard_refund(person, answer),
        }
        .into()
    }
}

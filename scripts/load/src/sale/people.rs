//! What each person of a sale does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use shared::clock::Clock;
use tokio::time::Instant;

use super::Arguments;
use crate::crowd::{Crowd, Findings, Heard, Kind, Next};
use crate::http::{Answer, Failure};
use crate::line::{Said, Stay};
use crate::shop::{
    Answered, Hold, Owners, SCHEDULE_CODES, Shown, answered, ask_hold, ask_map, ask_pay, ask_release,
    number_of, taken,
};

/// Doors of the crowd. Who polls does not stand behind those who join: each has a connection of their own.
pub const JOINS: usize = 0;
pub const LINE: usize = 1;
pub const BOOKING: usize = 2;

pub const NO_LAPSE: &str = "nobody lapses who polls as told";
pub const FAIR_PRICE: &str = "amounts and balances are right";

/// Choices that somebody makes before giving up.
const TRIES: u32 = 8;
const SOON: Duration = Duration::from_millis(250);
/// Who could poll only so long after the moment may have lost the place for it.
const LATE: Duration = Duration::from_secs(2);

/// Somebody.
pub struct Person {
    n: u64,
    step: Step,
    stay: Stay,
    entry: Box<str>,
    tries: u32,
    seats: Vec<u32>,
    hold: Option<Hold>,
    /// When the next thing is to be done.
    due: Instant,
    was_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Join,
    Poll,
    Map,
    Hold,
    Pay,
    Release,
    Leave,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Counts {
    pub in_line: AtomicU64,
    pub let_in: AtomicU64,
    /// Told in line that the sale is over.
    pub told: AtomicU64,
    /// Told so at the door.
    pub turned_away: AtomicU64,
    pub buyers: AtomicU64,
    pub seats: AtomicU64,
    /// Were let in and found nothing.
    pub empty_handed: AtomicU64,
    /// Lost the place because there was no connection free when they were to poll.
    pub lapsed: AtomicU64,
    /// What became of a request is not known.
    pub unknown: AtomicU64,
}

/// The sale, as everybody sees it.
pub struct Sale {
    pub queue: &'static str,
    pub schedule: String,
    pub arguments: Arguments,
    pub shown: Shown,
    pub owners: Owners,
    pub findings: Findings,
    pub counts: Counts,
    pub clock: Clock,
}

impl Person {
    /// Who has not come yet.
    pub fn new(n: u64, user_token: String, due: Instant) -> Self {
        Self {
            n,
            step: Step::Join,
            stay: Stay::of(user_token),
            entry: Box::default(),
            tries: 0,
            seats: Vec::new(),
            hold: None,
            due,
            was_late: false,
        }
    }

    fn go(&mut self, step: Step, after: Duration) -> Next {
        (self.step, self.due) = (step, Instant::now() + after);
        let door = match step {
            Step::Join => JOINS,
            Step::Poll | Step::Leave => LINE,
            Step::Map | Step::Hold | Step::Pay | Step::Release => BOOKING,
        };
        Next::Ask(door, after)
    }
}

impl Crowd for Sale {
    type Person = Person;

    fn ask(&self, person: &mut Person, into: &mut Vec<u8>) -> Kind {
        let hold = person.hold.as_ref().map(|hold| &*hold.id).unwrap_or_default();
        match person.step {
            Step::Join => person.stay.ask_join(self.queue, into),
            Step::Poll => {
                person.was_late |= Instant::now() > person.due + LATE;
                person.stay.ask_poll(self.queue, into);
            }
            Step::Leave => person.stay.ask_leave(self.queue, into),
            Step::Map => ask_map(&self.schedule, &person.entry, into),
            Step::Hold => ask_hold(&self.schedule, &person.seats, &person.entry, into),
            Step::Pay => ask_pay(hold, &person.entry, into),
            Step::Release => {
                self.owners.ending(person.n, &person.seats);
                ask_release(hold, &person.entry, into);
            }
        }
        match person.step {
            Step::Join => Kind::Join,
            Step::Poll => Kind::Poll,
            Step::Leave => Kind::Leave,
            Step::Map => Kind::Map,
            Step::Hold => Kind::Hold,
            Step::Pay => Kind::Pay,
            Step::Release => Kind::Release,
        }
    }

    fn hear(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Heard {
        match person.step {
            Step::Join | Step::Poll => self.heard_in_line(person, answer),
            Step::Leave => {
                // Where it was not heard: the lease ends by itself.
                person.stay.hear(answer, &self.findings);
                Next::Done
            }
            Step::Map => self.heard_map(person, answer),
            Step::Hold => self.heard_hold(person, answer),
            Step::Pay => self.heard_payment(person, answer),
            Step::Release => self.heard_release(person, answer),
        }
        .into()
    }
}

impl Sale {
    fn heard_in_line(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        let joins = person.step == Step::Join;
        match person.stay.hear(answer, &self.findings) {
            Said::Waiting { after, .. } => {
                if joins {
                    self.counts.in_line.fetch_add(1, Relaxed);
                }
                person.go(Step::Poll, after)
            }
            Said::Active { entry, .. } => {
                self.counts.let_in.fetch_add(1, Relaxed);
                if !joins {
                    self.counts.in_line.fetch_sub(1, Relaxed);
                }
                person.entry = entry;
                let reads = rand::random_bool(self.arguments.map_readers);
                self.choose(person, reads)
            }
            Said::Later(after) => person.go(person.step, after),
            said => {
                let lapsed = said == Said::Ended;
                self.findings.expect(!lapsed || person.was_late, NO_LAPSE, || format!("person {}", person.n));
                if !joins {
                    self.counts.in_line.fetch_sub(1, Relaxed);
                }
                let counted = match (lapsed, joins) {
                    (true, _) => &self.counts.lapsed,
                    (false, true) => &self.counts.turned_away,
                    (false, false) => &self.counts.told,
                };
                counted.fetch_add(1, Relaxed);
                Next::Done
            }
        }
    }

    /// Chooses by the last map, or reads a new one; who finds nothing on a young one leaves.
    fn choose(&self, person: &mut Person, reads: bool) -> Next {
        if person.tries >= TRIES {
            return self.give_up(person);
        }
        person.tries += 1;
        let wanted = rand::random_range(1..=self.arguments.most_seats);
        person.seats = if reads { Vec::new() } else { self.shown.choose(wanted, usize::MAX) };
        if !person.seats.is_empty() {
            return person.go(Step::Hold, Duration::ZERO);
        }
        if reads || self.shown.is_old() { person.go(Step::Map, Duration::ZERO) } else { self.give_up(person) }
    }

    fn give_up(&self, person: &mut Person) -> Next {
        self.counts.empty_handed.fetch_add(1, Relaxed);
        person.go(Step::Leave, Duration::ZERO)
    }

    fn heard_map(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &[], &self.findings) {
            Answered::Yes => {
                let free = answer.ok().and_then(|answer| self.shown.read(answer.body));
                if free == Some(0) { self.give_up(person) } else { self.choose(person, false) }
            }
            Answered::Later(after) => person.go(Step::Map, after),
            Answered::Silence => person.go(Step::Map, SOON),
            Answered::No(_) | Answered::Odd => self.give_up(person),
        }
    }

    fn heard_hold(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &SCHEDULE_CODES[..1], &self.findings) {
            Answered::Yes => {
                let hold = answer.ok().and_then(|answer| Hold::read(answer.body));
                let Some(hold) = hold.filter(|hold| hold.seats == person.seats) else {
                    self.findings.broken(FAIR_PRICE, || format!("a hold of {:?}", person.seats));
                    return Next::Done;
                };
                let amount = self.arguments.price * i64::try_from(hold.seats.len()).unwrap_or_default();
                self.findings.expect(hold.amount == amount, FAIR_PRICE, || format!("{hold:?}"));
                let now = self.clock.now().timestamp_millis();
                self.owners.held(person.n, &hold.seats, hold.expires_ms, now, &self.findings);
                person.hold = Some(hold);
                let think = self.arguments.think();
                let step = if rand::random_bool(self.arguments.releases) { Step::Release } else { Step::Pay };
                person.go(step, think)
            }
            Answered::No(_) => {
                let taken = answer.ok().and_then(|answer| taken(answer.body)).unwrap_or_default();
                self.shown.cross_out(&taken);
                self.choose(person, rand::random_bool(self.arguments.refused_readers))
            }
            Answered::Later(after) => person.go(Step::Hold, after),
            Answered::Silence | Answered::Odd => {
                self.counts.unknown.fetch_add(1, Relaxed);
                Next::Done
            }
        }
    }

    fn heard_payment(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &[(409, "already_paid")], &self.findings) {
            Answered::Yes => {
                let spent = person.hold.as_ref().map_or(0, |hold| hold.amount);
                let left = answer.ok().and_then(|answer| number_of(answer.body, "balance_after"));
                let right = left == Some(self.arguments.points() - spent);
                self.findings.expect(right, FAIR_PRICE, || format!("{left:?} after {spent}"));
                self.bought(person)
            }
            // The answer to an earlier try was lost.
            Answered::No(_) => self.bought(person),
            Answered::Later(after) => person.go(Step::Pay, after),
            Answered::Silence => person.go(Step::Pay, SOON),
            Answered::Odd => {
                self.counts.unknown.fetch_add(1, Relaxed);
                Next::Done
            }
        }
    }

    fn bought(&self, person: &Person) -> Next {
        self.owners.sold(person.n, &person.seats, &self.findings);
        self.counts.buyers.fetch_add(1, Relaxed);
        self.counts.seats.fetch_add(person.seats.len() as u64, Relaxed);
        Next::Done
    }

    fn heard_release(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        match answered(answer, &SCHEDULE_CODES[1..3], &self.findings) {
            Answered::Later(after) => return person.go(Step::Release, after),
            Answered::Silence => return person.go(Step::Release, SOON),
            Answered::Yes | Answered::No(_) | Answered::Odd => {}
        }
        self.owners.ended(person.n, &person.seats);
        person.go(Step::Leave, Duration::ZERO)
    }
}

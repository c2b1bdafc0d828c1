//! Each reservation by itself: its steps, and what its owner was told of it.

use std::collections::HashMap;

use uuid::Uuid;

use crate::histories::history::{Answer, Attempt, History, Outcome, Reservation, Status, Wish};

use super::asks::Deed;
use super::linear::{Act, Item, Items, Object};
use super::lives::{Life, Lives};
use super::violation::{Violation, seconds};

/// A reservation from its hold on.
pub struct Reserved {
    until: i64,
    slack: i64,
}

/// Where it stands. Its deadline is no step: see [`super::seats`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stands {
    Nowhere,
    Held,
    Confirmed,
    Cancelled,
    Refunded,
}

/// A step.
#[derive(Clone, Copy)]
pub enum Step {
    Hold,
    Pay,
    Release,
    Refund,
}

/// What an answer said of it: one of these, by a look of this span of the machine's clock.
pub struct Sight {
    said: &'static [Said],
    from: i64,
    to: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Live,
    Lapsed,
    Confirmed,
    Cancelled,
    Refunded,
}

impl Object for Reserved {
    type State = Stands;
    type Change = Step;
    type Sight = Sight;

    fn change(&self, stands: &Stands, step: &Step) -> Option<Stands> {
        match (stands, step) {
            (Stands::Nowhere, Step::Hold) => Some(Stands::Held),
            (Stands::Held, Step::Pay) => Some(Stands::Confirmed),
            (Stands::Held, Step::Release) => Some(Stands::Cancelled),
            (Stands::Confirmed, Step::Refund) => Some(Stands::Refunded),
            _ => None,
        }
    }

    fn sees(&self, stands: &Stands, sight: &Sight) -> bool {
        let says = |said| sight.said.contains(&said);
        match stands {
            Stands::Nowhere => false,
            Stands::Held => {
                says(Said::Live) && sight.from - self.slack < self.until
                    || says(Said::Lapsed) && sight.to + self.slack >= self.until
            }
            Stands::Confirmed => says(Said::Confirmed),
            Stands::Cancelled => says(Said::Cancelled),
            Stands::Refunded => says(Said::Refunded),
        }
    }
}

/// What is wrong with the reservations.
pub fn check(history: &History, lives: &Lives, violations: &mut Vec<Violation>) {
    let mut sights = sights(history, lives, violations);
    for (id, life) in &lives.of {
        let mut items = steps(life);
        items.extend(sights.remove(id).unwrap_or_default());
        let reserved = Reserved { until: life.last.expires_at, slack: history.terms.slack };
        super::report(&reserved, &items, &Stands::Nowhere, violations, |at, stands| {
            format!("reservation {id}: no order of these is possible after {} s ({stands:?})", seconds(at))
        });
    }
}

fn steps(life: &Life) -> Items<Reserved> {
    let item = |deed: &Deed, step| Item {
        begun: deed.begun.tick,
        ended: deed.ended.map(|ended| ended.tick),
        act: Act::Change(step),
        attempt: deed.attempt,
    };
    let mut items = vec![item(&life.held, Step::Hold)];
    items.extend(life.paid.iter().map(|deed| item(deed, Step::Pay)));
    items.extend(life.cancelled.iter().map(|deed| item(deed, Step::Release)));
    items.extend(life.refunded.iter().map(|deed| item(deed, Step::Refund)));
    items
}

fn sights(
    history: &History,
    lives: &Lives,
    violations: &mut Vec<Violation>,
) -> HashMap<Uuid, Items<Reserved>> {
    let mut sights: HashMap<Uuid, Items<Reserved>> = HashMap::new();
    for (attempt, made) in history.attempts.iter().enumerate() {
        let reservation = match &made.wish {
            Wish::Pay { reservation }
            | Wish::Release { reservation }
            | Wish::ReadReservation { reservation } => Some(*reservation),
            Wish::Refund { payment } => lives.paid_by.get(payment).copied(),
            _ => None,
        };
        let Some(life) = reservation.and_then(|id| lives.of.get(&id)) else { continue };
        if let Outcome::Ok(Answer::Reservation(shown)) = &made.outcome {
            header(life, shown, attempt, violations);
        }
        if made.outcome.code() == Some("reservation_not_found") && made.user == life.user {
            let text = format!("{} was not found by its owner", life.last.id);
            violations.push(Violation::new(text, &[life.held.attempt, attempt]));
        }
        if let Some(said) = said(made) {
            let act = Act::Sight(Sight { said, from: made.begun.wall, to: made.ended.wall });
            let item = Item { begun: made.begun.tick, ended: Some(made.ended.tick), act, attempt };
            sights.entry(life.last.id).or_default().push(item);
        }
    }
    sights
}

/// What never changes of a reservation.
fn header(life: &Life, shown: &Reservation, attempt: usize, violations: &mut Vec<Violation>) {
    let last = &life.last;
    let same = (&last.seats, last.amount, last.held_at, last.expires_at)
        == (&shown.seats, shown.amount, shown.held_at, shown.expires_at);
    let is_paid = matches!(shown.status, Status::Confirmed | Status::Refunded);
    if !same || is_paid && shown.payment != last.payment {
        let text = format!("{} was shown as {shown:?} and is {last:?}", last.id);
        violations.push(Violation::new(text, &[life.held.attempt, attempt]));
    }
}

/// What an answer says about where the reservation stood.
fn said(made: &Attempt) -> Option<&'static [Said]> {
    if let Outcome::Ok(Answer::Reservation(shown)) = &made.outcome {
        return Some(match shown.status {
            Status::Held => &[Said::Live],
            Status::Expired => &[Said::Lapsed],
            Status::Confirmed => &[Said::Confirmed],
            Status::Cancelled => &[Said::Cancelled],
            Status::Refunded => &[Said::Refunded],
        });
    }
    match (&made.wish, made.outcome.code()?) {
        (Wish::Pay { .. }, "already_paid") => Some(&[Said::Confirmed]),
        (Wish::Pay { .. }, "not_held") => Some(&[Said::Cancelled, Said::Refunded]),
        (Wish::Pay { .. }, "insufficient_points") => Some(&[Said::Live]),
        (Wish::Release { .. }, "not_held") => Some(&[Said::Confirmed, Said::Cancelled, Said::Refunded]),
        (_, "hold_expired") => Some(&[Said::Lapsed]),
        (Wish::Refund { .. }, "already_refunded") => Some(&[Said::Refunded]),
        _ => None,
    }
}

//! What people were promised, kept beside the store and never read by it, and the checks against it.

use crate::rules::{Moment, PEOPLE, Rules};
use crate::store::{Answer, Jti, LetIn, Place, Slot, Stay, Store};

/// The name of a promise that was broken.
pub type Broken = &'static str;

pub const OVER_THE_CAP: Broken = "more than N are active";
pub const OVER_THE_RATE: Broken = "more than m were let in within n";
pub const OUT_OF_ORDER: Broken = "somebody was let in before a living person with a smaller place";
pub const TWICE: Broken = "a place was let in twice";
pub const SECOND_TOKEN: Broken = "an admission has two entry tokens";
pub const BESIDE: Broken = "one person has two admissions at once";
pub const TWO_PLACES: Broken = "a living person got another place";
pub const SAME_PLACE: Broken = "two people have one place";
pub const LOST: Broken = "a living person has neither place nor slot";
pub const TOO_MANY_BY_HAND: Broken = "more were let in by hand than asked for";
pub const STANDS_STILL: Broken = "the line is never served";

/// What the service owes a person who goes on polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owed {
    /// The place, as long as a poll came within `wait`.
    Line { place: Place, seen: Moment },
    /// The slot, up to this moment.
    Slot { place: Place, until: Moment },
}

impl Owed {
    pub fn place(self) -> Place {
        match self {
            Self::Line { place, .. } | Self::Slot { place, .. } => place,
        }
    }
}

/// An entry token that some verifier would still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    pub jti: Jti,
    pub exp: Moment,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person {
    /// The queue token in hand.
    pub token: Option<Place>,
    pub owed: Option<Owed>,
    /// Signed for this person, whether or not the answer arrived. Spent and revoked ones are not in.
    pub entries: Vec<Entry>,
    /// The admission for which the last of them was signed.
    pub claimed: Option<Jti>,
    /// The admission of the last purchase, of which the queue is told again and again.
    pub bought: Option<Jti>,
}

/// Everybody's promises.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Promises {
    pub people: [Person; PEOPLE],
    /// When the rate let people in, within n.
    pub log: Vec<Moment>,
    pub by_hand: u8,
}

impl Promises {
    pub fn new() -> Self {
        Self { people: Default::default(), log: Vec::new(), by_hand: 0 }
    }

    /// The store let somebody in.
    pub fn let_in(&mut self, rules: &Rules, (user, place, era): LetIn, by_hand: bool) -> Result<(), Broken> {
        let passed =
            |person: &Person| matches!(person.owed, Some(Owed::Line { place: own, .. }) if own < place);
        if self.people.iter().enumerate().any(|(other, person)| other != user && passed(person)) {
            return Err(OUT_OF_ORDER);
        }
        let person = &mut self.people[user];
        // An admission that the store forgot may be given again, where the rules say so.
        let again = rules.failover.is_some_and(|failover| failover.again);
        let twice = person.claimed.is_some_and(|jti| jti.place == place && (jti.era == era || !again));
        if twice || (!again && matches!(person.owed, Some(Owed::Slot { place: own, .. }) if own == place)) {
            return Err(TWICE);
        }
        person.owed = Some(Owed::Slot { place, until: rules.claim });
        if by_hand {
            self.by_hand += 1;
        } else {
            self.log.push(0);
        }
        if self.by_hand > 1 {
            return Err(TOO_MANY_BY_HAND);
        }
        if self.log.len() > rules.users { Err(OVER_THE_RATE) } else { Ok(()) }
    }

    /// The store answered a join, or a poll with a queue token for `asked`.
    pub fn answered(
        &mut self,
        rules: &Rules,
        user: usize,
        asked: Option<Place>,
        answer: Answer,
    ) -> Result<(), Broken> {
        let forgot = rules.failover.is_some();
        let person = &mut self.people[user];
        match (answer, person.owed) {
            // Spent: nothing is owed for it, and no verifier takes it.
            (Answer::Active(jti, _), _) if person.bought == Some(jti) => {}
            (Answer::Waiting(place), Some(Owed::Line { place: own, .. })) if own != place => {
                return Err(TWO_PLACES);
            }
            (Answer::Waiting(_), Some(Owed::Slot { .. })) if !forgot => return Err(LOST),
            (Answer::Waiting(place), _) => person.owed = Some(Owed::Line { place, seen: 0 }),
            (Answer::Active(jti, exp), _) => {
                person.owed = Some(Owed::Slot { place: jti.place, until: exp - 1 });
                return person.signed(Entry { jti, exp }, rules);
            }
            (Answer::Gone, Some(owed)) if asked == Some(owed.place()) => return Err(LOST),
            (Answer::Gone, _) => {}
        }
        Ok(())
    }

    /// One moment later.
    pub fn age(&mut self, rules: &Rules) {
        for at in &mut self.log {
            *at -= 1;
        }
        self.log.retain(|at| *at > -rules.every);
        for person in &mut self.people {
            person.owed = person.owed.and_then(|owed| match owed {
                Owed::Line { place, seen } => {
                    (seen > -rules.wait).then(|| Owed::Line { place, seen: seen - 1 })
                }
                Owed::Slot { place, until } => (until > 0).then(|| Owed::Slot { place, until: until - 1 }),
            });
            for entry in &mut person.entries {
                entry.exp -= 1;
            }
            person.entries.retain(|entry| entry.exp + rules.leeway > 0);
        }
    }

    /// What must hold at every moment.
    pub fn check(&self, rules: &Rules, store: &Store) -> Result<(), Broken> {
        let active = self.people.iter().zip(&store.stays).filter(|(person, stay)| {
            // What a copy shows as unclaimed is nobody's before it is claimed anew.
            let own = |slot: &Slot| slot.exp.is_none() && slot.lease_end >= 0 && slot.jti.era == store.era;
            !person.entries.is_empty() || stay.slot.as_ref().is_some_and(own)
        });
        if active.count() > rules.cap {
            return Err(OVER_THE_CAP);
        }
        let owed: Vec<Place> = self.people.iter().filter_map(|person| person.owed.map(Owed::place)).collect();
        if (1..owed.len()).any(|n| owed[..n].contains(&owed[n])) {
            return Err(SAME_PLACE);
        }
        // After a failover a place may be in its queue token alone, until that is shown.
        let lost = |(person, stay): (&Person, &Stay)| match person.owed {
            Some(Owed::Line { place, .. }) => stay.line.is_none_or(|line| line.place != place),
            Some(Owed::Slot { place, .. }) => stay.slot.is_none_or(|slot| slot.jti.place != place),
            None => false,
        };
        if rules.failover.is_none() && self.people.iter().zip(&store.stays).any(lost) {
            Err(LOST)
        } else {
            Ok(())
        }
    }
}

impl Person {
    fn signed(&mut self, entry: Entry, rules: &Rules) -> Result<(), Broken> {
        let forgot = rules.failover.is_some();
        self.claimed = Some(entry.jti);
        if let Some(known) = self.entries.iter_mut().find(|known| known.jti == entry.jti) {
            // A claim that the store forgot is made again: the same admission, later times.
            if known.exp != entry.exp && !forgot {
                return Err(SECOND_TOKEN);
            }
            known.exp = known.exp.max(entry.exp);
            return Ok(());
        }
        if self.entries.iter().any(|known| known.exp > 0) {
            return Err(BESIDE);
        }
        self.entries.push(entry);
        Ok(())
    }
}

//! The store: what one script call does to the line, the slots and the window, in one step.
//!
//! Follows `prelude.lua` and the scripts beside it; what they keep for statistics is left out.

use crate::rules::{Failover, Mistake, Moment, Notice, PEOPLE, Rules};

pub type Place = u8;

/// Names one admission. A script takes random bytes for what is here the era: the same place, let in
/// again after a failover, is another admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jti {
    pub place: Place,
    pub era: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InLine {
    pub place: Place,
    pub seen: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    pub jti: Jti,
    /// The end of the token, once claimed.
    pub exp: Option<Moment>,
    pub lease_end: Moment,
}

impl Slot {
    fn in_force(self) -> bool {
        self.exp.map_or(self.lease_end >= 0, |exp| exp > 0)
    }
}

/// What the store has of one user. A slot whose token has ended is counted until its lease ends, also
/// when its user is in line again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stay {
    pub line: Option<InLine>,
    pub slot: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Waiting(Place),
    Active(Jti, Moment),
    Gone,
}

/// After a failover that was noticed: nobody is let in, and lost places can be proven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    pub ends: Moment,
    /// Up to when they can be proven, if that is longer.
    pub proofs_end: Moment,
    /// Lost are the places above the first and up to the second.
    pub lost: (Place, Place),
    pub returned: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    pub last_place: Place,
    pub stays: [Stay; PEOPLE],
    /// When people were let in by the rate, and by which replica; as far back as counts.
    pub window: Vec<(Moment, u8)>,
    /// Now, within its bucket of n. Only a mistake looks at it.
    pub bucket: Moment,
    pub era: u8,
    /// Rises with each change.
    pub revision: i8,
    pub hold: Option<Hold>,
    /// The server is another one than the data names.
    pub stranger: bool,
}

/// Somebody was let in: the user, the place, and the era.
pub type LetIn = (usize, Place, u8);

impl Store {
    pub fn new() -> Self {
        Self {
            last_place: 0,
            stays: [Stay::default(); PEOPLE],
            window: Vec::new(),
            bucket: 0,
            era: 0,
            revision: 0,
            hold: None,
            stranger: false,
        }
    }

    pub fn active(&self, rules: &Rules) -> usize {
        let slots = self.stays.iter().filter_map(|stay| stay.slot);
        slots
            .filter(|slot| {
                slot.lease_end >= 0 && !(slot.exp.is_none() && rules.makes(Mistake::UnclaimedIsFree))
            })
            .count()
    }

    /// What window and cap have room for; `replica` asks.
    pub fn room(&self, rules: &Rules, replica: u8) -> usize {
        let used = self.window.iter().filter(|(at, by)| {
            let since = if rules.makes(Mistake::RatePerBucket) { -self.bucket } else { 1 - rules.every };
            *at >= since && (*by == replica || !rules.makes(Mistake::RatePerReplica))
        });
        rules.users.saturating_sub(used.count()).min(self.cap_room(rules))
    }

    fn cap_room(&self, rules: &Rules) -> usize {
        if self.hold.as_ref().is_some_and(|hold| hold.ends > 0) {
            0
        } else {
            rules.cap.saturating_sub(self.active(rules))
        }
    }

    fn changed(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }

    /// The live stay; silence is judged on the way.
    fn stay(&mut self, rules: &Rules, user: usize) -> Option<Answer> {
        if let Some(line) = self.stays[user].line {
            if line.seen >= -rules.wait {
                return Some(Answer::Waiting(line.place));
            }
            self.stays[user].line = None;
            self.changed();
        }
        let slot = self.stays[user].slot.filter(|slot| slot.in_force())?;
        Some(Answer::Active(slot.jti, slot.exp.unwrap_or_default()))
    }

    fn put_in_line(&mut self, user: usize, place: Place) -> Answer {
        self.stays[user].line = Some(InLine { place, seen: 0 });
        self.changed();
        Answer::Waiting(place)
    }

    fn admit(&mut self, rules: &Rules, user: usize, place: Place) -> LetIn {
        let jti = Jti { place, era: self.era };
        let lease_end = if rules.makes(Mistake::UnclaimedForEver) { Moment::MAX } else { rules.claim };
        self.stays[user] = Stay { line: None, slot: Some(Slot { jti, exp: None, lease_end }) };
        self.changed();
        (user, place, self.era)
    }

    /// The first poll of somebody let in fixes the times of the token.
    pub fn claim(&mut self, rules: &Rules, user: usize) -> Answer {
        let Some(slot) = &mut self.stays[user].slot else { return Answer::Gone };
        if let Some(exp) = slot.exp.filter(|_| !rules.makes(Mistake::ClaimAnew)) {
            return Answer::Active(slot.jti, exp);
        }
        slot.exp = Some(rules.ttl);
        slot.lease_end =
            if rules.makes(Mistake::LeaseEndsEarly) { rules.ttl - 1 } else { rules.ttl + rules.leeway };
        let answer = Answer::Active(slot.jti, rules.ttl);
        self.changed();
        answer
    }

    fn sign_of_life(&mut self, rules: &Rules, user: usize) {
        if let Some(line) = self.stays[user].line.as_mut().filter(|_| !rules.makes(Mistake::PollUnseen)) {
            line.seen = 0;
        }
    }

    pub fn join(&mut self, rules: &Rules, replica: u8, user: usize) -> (Answer, Option<LetIn>) {
        match self.stay(rules, user) {
            Some(Answer::Waiting(place)) if !rules.makes(Mistake::JoinAgain) => {
                self.sign_of_life(rules, user);
                return (Answer::Waiting(place), None);
            }
            Some(Answer::Active(..)) => return (self.claim(rules, user), None),
            _ => {}
        }
        self.last_place += 1;
        let place = self.last_place;
        let empty = self.stays.iter().all(|stay| stay.line.is_none());
        if rules.instant && empty && self.room(rules, replica) > 0 {
            let let_in = self.admit(rules, user, place);
            self.window.push((0, replica));
            return (self.claim(rules, user), Some(let_in));
        }
        (self.put_in_line(user, place), None)
    }

    pub fn look(&mut self, rules: &Rules, user: usize, place: Place) -> Answer {
        match self.stay(rules, user) {
            Some(Answer::Waiting(own)) if own == place => {
                self.sign_of_life(rules, user);
                Answer::Waiting(place)
            }
            Some(Answer::Active(jti, _)) if jti.place == place => self.claim(rules, user),
            Some(_) if rules.makes(Mistake::OlderPlaceWins) => Answer::Gone,
            _ => self.give_back(rules, user, place),
        }
    }

    /// A place that the store lost and a queue token proves goes back into the line, once. It is younger
    /// than whatever the store still has of that user.
    fn give_back(&mut self, rules: &Rules, user: usize, place: Place) -> Answer {
        let Some(hold) = &mut self.hold else { return Answer::Gone };
        let lost = hold.lost.0 < place && place <= hold.lost.1;
        if !lost || (hold.returned.contains(&place) && !rules.makes(Mistake::BackAgain)) {
            return Answer::Gone;
        }
        hold.returned.push(place);
        hold.returned.dedup();
        self.put_in_line(user, place)
    }

    pub fn leave(&mut self, rules: &Rules, user: usize, place: Place) {
        match self.stay(rules, user) {
            Some(Answer::Waiting(own)) if own == place => self.stays[user].line = None,
            Some(Answer::Active(jti, _)) if jti.place == place => self.stays[user].slot = None,
            _ => return,
        }
        self.changed();
    }

    pub fn complete(&mut self, rules: &Rules, user: usize, jti: Jti) {
        let stay = &mut self.stays[user];
        if stay.slot.is_some_and(|slot| slot.jti == jti || rules.makes(Mistake::CompleteByUser)) {
            stay.slot = None;
            self.changed();
        }
    }

    /// Takes silent people out of line.
    pub fn sweep(&mut self, rules: &Rules) {
        for user in 0..rules.people {
            if self.stays[user].line.is_some_and(|line| line.seen < -rules.wait) {
                self.stays[user].line = None;
                self.changed();
            }
        }
    }

    /// The step of admission; `room` is what it finds, or, by mistake, what was found before.
    pub fn tick(&mut self, rules: &Rules, replica: u8, room: usize) -> Vec<LetIn> {
        let let_in = self.take_front(rules, room);
        self.window.extend(let_in.iter().map(|_| (0, replica)));
        let_in
    }

    pub fn tick_now(&mut self, rules: &Rules, replica: u8) -> Vec<LetIn> {
        let room = self.room(rules, replica);
        self.tick(rules, replica, room)
    }

    /// Lets one in, inside the cap, outside the rate.
    pub fn by_hand(&mut self, rules: &Rules) -> Vec<LetIn> {
        self.take_front(rules, self.cap_room(rules).min(1))
    }

    fn take_front(&mut self, rules: &Rules, room: usize) -> Vec<LetIn> {
        let ended = |slot: &Slot| slot.lease_end < 0;
        for stay in &mut self.stays {
            stay.slot = stay.slot.filter(|slot| !ended(slot));
        }
        let mut let_in = Vec::new();
        while let_in.len() < room {
            let line = (0..rules.people).filter_map(|user| self.stays[user].line.map(|line| (line, user)));
            let Some((line, user)) = line.min() else { break };
            self.stays[user].line = None;
            if line.seen >= -rules.wait {
                let_in.push(self.admit(rules, user, line.place));
            } else {
                self.changed();
            }
        }
        let_in
    }

    /// By mistake: lets `user` in because of a poll.
    pub fn let_in(&mut self, rules: &Rules, user: usize) -> Option<LetIn> {
        let place = self.stays[user].line?.place;
        (self.room(rules, 0) > 0)
            .then(|| self.admit(rules, user, place))
            .inspect(|_| self.window.push((0, 0)))
    }

    /// Before each call: `revision` and `place` are the highest that the caller remembers.
    pub fn notice(&mut self, rules: &Rules, revision: i8, place: Place) {
        let Some(failover) = rules.failover else { return };
        let noticed = match failover.notice {
            Notice::Never => false,
            Notice::Server => self.stranger,
            _ => revision > self.revision || place > self.last_place,
        };
        if noticed {
            self.recover(rules, failover);
        }
    }

    fn recover(&mut self, rules: &Rules, failover: Failover) {
        let before = self.last_place;
        self.stranger = false;
        self.last_place += failover.gap;
        self.revision = self.revision.saturating_add(failover.forgets + 1);
        let lost = (before, if failover.gap == 0 { Place::MAX } else { self.last_place });
        self.hold =
            Some(Hold { ends: failover.hold, proofs_end: failover.proofs, lost, returned: Vec::new() });
        for stay in &mut self.stays {
            // It may have been claimed, or given up, in what is forgotten: the claim window says nothing.
            let unclaimed =
                stay.slot.filter(|slot| slot.exp.is_none() && !rules.makes(Mistake::UnclaimedStays));
            if let Some(slot) = unclaimed.filter(|_| stay.line.is_none()) {
                *stay = Stay { line: Some(InLine { place: slot.jti.place, seen: 0 }), slot: None };
            }
            if let Some(line) = stay.line.as_mut().filter(|_| !rules.makes(Mistake::StaleSigns)) {
                line.seen = 0;
            }
        }
    }

    /// One moment later.
    pub fn age(&mut self, rules: &Rules) {
        let earlier = |moment: Moment, oldest: Moment| (moment - 1).max(oldest);
        for stay in &mut self.stays {
            if let Some(line) = &mut stay.line {
                line.seen = earlier(line.seen, -rules.wait - 1);
            }
            if let Some(slot) = &mut stay.slot {
                slot.exp = slot.exp.map(|exp| earlier(exp, 0));
                let for_ever = slot.lease_end == Moment::MAX;
                slot.lease_end = if for_ever { Moment::MAX } else { earlier(slot.lease_end, -1) };
            }
        }
        for (at, _) in &mut self.window {
            *at -= 1;
        }
        self.window.retain(|(at, _)| *at > -rules.every);
        if rules.makes(Mistake::RatePerBucket) {
            self.bucket = (self.bucket + 1) % rules.every;
        }
        if let Some(hold) = &mut self.hold {
            hold.ends = earlier(hold.ends, 0);
            hold.proofs_end = earlier(hold.proofs_end, 0);
        }
        self.hold = self.hold.take().filter(|hold| hold.ends > 0 || hold.proofs_end > 0);
    }
}

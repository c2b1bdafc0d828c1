//! The world around the store: people, replicas, the network, time, and one failover.
//!
//! A call reaches the store and is carried out in one step, or does not reach it, which changes
//! nothing; its answer is heard or lost. A replica keeps nothing between calls, so a crash of it, or
//! the same call put again by it or by another, leads nowhere that a lost answer does not lead. Where
//! it does keep something ([`Memory`]), crashes are steps of their own.

use crate::promises::{Broken, Promises};
use crate::rules::{Deed, Failover, Mistake, Notice, REPLICAS, Rules};
use crate::store::{Answer, LetIn, Place, Store};

/// What a replica keeps between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Memory {
    Nothing,
    /// The answer to an admission by hand was lost.
    Unsure,
    /// By mistake: the room that was found.
    Counted(usize),
    /// By mistake: this user's admission was found unclaimed.
    Unclaimed(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Replica {
    pub memory: Memory,
    /// The highest that it has heard of, for the recovery.
    pub revision: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    TimePasses,
    /// A replica, and what it asks of the store; whether it hears the answer.
    Call(usize, Call, bool),
    /// A replica starts anew, with empty memory.
    Crash(usize),
    /// A person pays: the entry token is spent, the queue will be told.
    Buy(usize),
    /// The copy is brought up to date, for the last time before it takes over.
    Copy,
    Failover,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Tick,
    Sweep,
    ByHand,
    Join(usize),
    Poll(usize),
    Leave(usize),
    Complete(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Store,
    pub copy: Option<Store>,
    pub failed_over: bool,
    pub asked_by_hand: bool,
    pub replicas: [Replica; REPLICAS],
    pub promises: Promises,
}

impl World {
    pub fn new() -> Self {
        Self {
            store: Store::new(),
            copy: None,
            failed_over: false,
            asked_by_hand: false,
            replicas: [Replica { memory: Memory::Nothing, revision: 0 }; REPLICAS],
            promises: Promises::new(),
        }
    }

    /// All that can happen now.
    pub fn actions(&self, rules: &Rules) -> Vec<Action> {
        let mut actions = vec![Action::TimePasses];
        let mut calls = vec![Call::Tick, Call::Sweep];
        if rules.has(Deed::ByHand) && !self.asked_by_hand {
            calls.push(Call::ByHand);
        }
        for (user, person) in self.promises.people.iter().enumerate().take(rules.people) {
            calls.push(if person.token.is_some() { Call::Poll(user) } else { Call::Join(user) });
            if rules.has(Deed::Leave) && person.token.is_some() {
                calls.push(Call::Leave(user));
            }
            if rules.has(Deed::Buy) && person.entries.iter().any(|entry| entry.exp > 0) {
                actions.push(Action::Buy(user));
            }
            if person.bought.is_some() {
                calls.push(Call::Complete(user));
            }
        }
        for replica in 0..rules.replicas {
            // Replicas with the same memory are the same replica.
            if rules.are_alike() && self.replicas[..replica].contains(&self.replicas[replica]) {
                continue;
            }
            if self.may_call(rules, replica) {
                self.calls_of(replica, &calls, &mut actions, rules);
            }
            let keeps = self.replicas[replica].memory != Memory::Nothing || rules.failover.is_some();
            if keeps && !self.assumes(rules, &[Notice::MemorySomewhere, Notice::MemoryFirst]) {
                actions.push(Action::Crash(replica));
            }
        }
        if let Some(failover) = rules.failover.filter(|_| !self.failed_over) {
            match &self.copy {
                None => actions.push(Action::Copy),
                Some(copy) if self.may_fail_over(failover, copy) => actions.push(Action::Failover),
                Some(_) => {}
            }
        }
        actions
    }

    fn calls_of(&self, replica: usize, calls: &[Call], actions: &mut Vec<Action>, rules: &Rules) {
        match self.replicas[replica].memory {
            Memory::Nothing => {}
            Memory::Unsure if rules.makes(Mistake::HandAgain) => {
                return actions.push(Action::Call(replica, Call::ByHand, true));
            }
            Memory::Unsure => return,
            Memory::Counted(_) => return actions.push(Action::Call(replica, Call::Tick, true)),
            Memory::Unclaimed(user) => return actions.push(Action::Call(replica, Call::Poll(user), true)),
        }
        for call in calls {
            actions.push(Action::Call(replica, *call, true));
            // To a replica without memory the answer to these says nothing.
            if rules.failover.is_some() || !matches!(call, Call::Tick | Call::Sweep | Call::Complete(_)) {
                actions.push(Action::Call(replica, *call, false));
            }
        }
    }

    fn may_fail_over(&self, failover: Failover, copy: &Store) -> bool {
        let behind = self.store.revision - copy.revision;
        let known = self.replicas.iter().any(|replica| replica.revision > copy.revision);
        let needs = matches!(failover.notice, Notice::MemorySomewhere | Notice::MemoryFirst);
        0 < behind && behind <= failover.forgets && (known || !needs)
    }

    /// A failover that is not noticed yet, under an assumption on those who remember.
    fn assumes(&self, rules: &Rules, notices: &[Notice]) -> bool {
        self.store.stranger && rules.failover.is_some_and(|failover| notices.contains(&failover.notice))
    }

    fn may_call(&self, rules: &Rules, replica: usize) -> bool {
        !self.assumes(rules, &[Notice::MemoryFirst]) || self.replicas[replica].revision > self.store.revision
    }

    /// What comes of `action`, and what it breaks.
    pub fn step(&mut self, rules: &Rules, action: Action) -> Result<(), Broken> {
        match action {
            Action::TimePasses => {
                self.store.age(rules);
                if let Some(copy) = &mut self.copy {
                    copy.age(rules);
                }
                self.promises.age(rules);
            }
            Action::Call(replica, call, heard) => self.call(rules, replica, call, heard)?,
            Action::Crash(replica) => {
                self.replicas[replica] = Replica { memory: Memory::Nothing, revision: i8::MIN };
            }
            Action::Buy(user) => {
                let person = &mut self.promises.people[user];
                person.bought = person.entries.iter().find(|entry| entry.exp > 0).map(|entry| entry.jti);
                person.entries.retain(|entry| Some(entry.jti) != person.bought);
                person.owed = None;
            }
            Action::Copy => self.copy = Some(self.store.clone()),
            Action::Failover => self.fail_over(),
        }
        self.promises.check(rules, &self.store)
    }

    fn fail_over(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        self.store = Store { era: 1, stranger: true, ..copy };
        self.failed_over = true;
        // A place that its owner never heard of cannot be proven, so it is not owed any more.
        for (person, stay) in self.promises.people.iter_mut().zip(&self.store.stays) {
            let known = [stay.line.map(|line| line.place), stay.slot.map(|slot| slot.jti.place)];
            person.owed =
                person.owed.filter(|owed| person.token.is_some() || known.contains(&Some(owed.place())));
        }
    }

    fn call(&mut self, rules: &Rules, replica: usize, call: Call, heard: bool) -> Result<(), Broken> {
        let place = match call {
            Call::Poll(user) | Call::Leave(user) => self.promises.people[user].token.unwrap_or_default(),
            _ => 0,
        };
        self.store.notice(rules, self.replicas[replica].revision, place);
        let by = u8::try_from(replica).unwrap_or_default();
        let let_in = match call {
            Call::Tick => self.tick(rules, replica, by),
            Call::Sweep => {
                self.store.sweep(rules);
                Vec::new()
            }
            Call::ByHand => self.by_hand(rules, replica, heard),
            Call::Join(user) => self.join(rules, by, user, heard)?,
            Call::Poll(user) => self.poll(rules, replica, (user, place), heard)?,
            Call::Leave(user) => {
                self.store.leave(rules, user, place);
                self.left((user, place), heard);
                Vec::new()
            }
            Call::Complete(user) => {
                if let Some(jti) = self.promises.people[user].bought {
                    self.store.complete(rules, user, jti);
                }
                Vec::new()
            }
        };
        for one in let_in {
            self.promises.let_in(rules, one, call == Call::ByHand)?;
        }
        let known = &mut self.replicas[replica].revision;
        if heard && rules.failover.is_some() {
            *known = (*known).max(self.store.revision);
        }
        Ok(())
    }

    fn tick(&mut self, rules: &Rules, replica: usize, by: u8) -> Vec<LetIn> {
        let memory = std::mem::replace(&mut self.replicas[replica].memory, Memory::Nothing);
        match memory {
            Memory::Counted(room) => self.store.tick(rules, by, room),
            _ if rules.makes(Mistake::CountThenAdd) => {
                self.replicas[replica].memory = Memory::Counted(self.store.room(rules, by));
                Vec::new()
            }
            _ => self.store.tick_now(rules, by),
        }
    }

    fn by_hand(&mut self, rules: &Rules, replica: usize, heard: bool) -> Vec<LetIn> {
        self.asked_by_hand = true;
        self.replicas[replica].memory = if heard { Memory::Nothing } else { Memory::Unsure };
        self.store.by_hand(rules)
    }

    fn join(&mut self, rules: &Rules, by: u8, user: usize, heard: bool) -> Result<Vec<LetIn>, Broken> {
        let (answer, let_in) = self.store.join(rules, by, user);
        // Who is let in by the join itself has a place first, for the check of the order.
        if let Some(one) = let_in {
            self.promises.answered(rules, user, None, Answer::Waiting(one.1))?;
            self.promises.let_in(rules, one, false)?;
        }
        self.promises.answered(rules, user, None, answer)?;
        if heard {
            self.promises.people[user].token = place_in(answer);
        }
        Ok(Vec::new())
    }

    fn poll(
        &mut self,
        rules: &Rules,
        replica: usize,
        (user, place): (usize, Place),
        heard: bool,
    ) -> Result<Vec<LetIn>, Broken> {
        let unclaimed =
            self.store.stays[user].slot.is_some_and(|slot| slot.exp.is_none() && slot.lease_end >= 0);
        let let_in = rules.makes(Mistake::WhoeverPolls).then(|| self.store.let_in(rules, user)).flatten();
        if let Some(one) = let_in {
            self.promises.let_in(rules, one, false)?;
        }
        let memory = std::mem::replace(&mut self.replicas[replica].memory, Memory::Nothing);
        let answer = match memory {
            Memory::Unclaimed(_) => {
                if let Some(slot) = &mut self.store.stays[user].slot {
                    slot.exp = None;
                }
                self.store.claim(rules, user)
            }
            _ if unclaimed && rules.makes(Mistake::LookThenClaim) => {
                self.replicas[replica].memory = Memory::Unclaimed(user);
                return Ok(Vec::new());
            }
            _ => self.store.look(rules, user, place),
        };
        self.promises.answered(rules, user, Some(place), answer)?;
        if heard && answer == Answer::Gone {
            self.promises.people[user].token = None;
        }
        Ok(Vec::new())
    }

    /// Whoever leaves gives up the place and the entry token, which is revoked.
    fn left(&mut self, (user, place): (usize, Place), heard: bool) {
        let person = &mut self.promises.people[user];
        person.owed = person.owed.filter(|owed| owed.place() != place);
        person.entries.retain(|entry| entry.jti.place != place || entry.exp <= 0);
        if heard {
            person.token = None;
        }
    }

    /// One moment in which everybody polls, replicas do their work, and nothing fails; `None` when
    /// nobody is in line.
    pub fn calm(&self, rules: &Rules) -> Option<Result<Self, Broken>> {
        self.store.stays.iter().any(|stay| stay.line.is_some()).then(|| self.clone().calmly(rules))
    }

    fn calmly(mut self, rules: &Rules) -> Result<Self, Broken> {
        for replica in 0..rules.replicas {
            self.replicas[replica].memory = Memory::Nothing;
        }
        let replica =
            (0..rules.replicas).max_by_key(|replica| self.replicas[*replica].revision).unwrap_or_default();
        for user in 0..rules.people {
            let in_line = self.store.stays[user].line.is_some() || self.promises.people[user].owed.is_some();
            if in_line && self.promises.people[user].token.is_none() {
                self.step(rules, Action::Call(replica, Call::Join(user), true))?;
            }
            if in_line && self.promises.people[user].token.is_some() {
                self.step(rules, Action::Call(replica, Call::Poll(user), true))?;
            }
        }
        self.step(rules, Action::Call(replica, Call::Tick, true))?;
        self.step(rules, Action::TimePasses)?;
        Ok(self)
    }
}

fn place_in(answer: Answer) -> Option<Place> {
    match answer {
        Answer::Waiting(place) => Some(place),
        Answer::Active(jti, _) => Some(jti.place),
        Answer::Gone => None,
    }
}

//! Is there an order of these operations, each at one moment between its call and its return, in which
//! one object could have behaved so?
//!
//! ```text
//!   calls and returns in the order of time
//!        │ call    remember it as open; a sight that is true in a world is seen there at once
//!        ▼ return  worlds in which it has not happened yet must make it happen, by nothing but open changes
//!   worlds: {state, which open changes have happened, which open sights are not seen yet}
//! ```
//!
//! The worlds are all that can be true at the moment; when none is left, there is no such order. Nothing
//! happens in a world before a return forces it ("just in time"), which keeps the worlds few (Lowe). A sight
//! changes nothing, so it is seen in the first state that fits (no world is lost by that). An
//! operation without a return stays open to the end.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

/// How one object behaves.
pub trait Object {
    type State: Clone + Eq + Hash;
    type Change;
    type Sight;
    /// The state after it; `None` when it cannot happen in this one.
    fn change(&self, state: &Self::State, change: &Self::Change) -> Option<Self::State>;
    /// Whether this is what one sees of the state.
    fn sees(&self, state: &Self::State, sight: &Self::Sight) -> bool;
}

/// What an operation is to the object.
pub enum Act<C, S> {
    Change(C),
    Sight(S),
}

/// One operation.
pub struct Item<C, S> {
    pub begun: i64,
    /// `None`: it may happen at any time after its call.
    pub ended: Option<i64>,
    pub act: Act<C, S>,
    /// Which attempt it is, for the report.
    pub attempt: usize,
}

/// Items of an object.
pub type Items<O> = Vec<Item<<O as Object>::Change, <O as Object>::Sight>>;

/// Where no order is left.
pub struct Stuck<S> {
    /// The item whose return cannot be.
    pub item: usize,
    /// The last time before it at which there was no doubt about the state, and the state.
    pub known: (i64, S),
    /// There were too many worlds to go on; nothing was proven.
    pub given_up: bool,
}

const MOST_WORLDS: usize = 5000;

#[derive(Clone, PartialEq, Eq, Hash)]
struct World<S> {
    state: S,
    /// Open changes that have happened.
    done: BTreeSet<usize>,
    /// Open sights that are not seen yet.
    unseen: BTreeSet<usize>,
}

struct Search<'a, O: Object> {
    object: &'a O,
    items: &'a [Item<O::Change, O::Sight>],
    open: BTreeSet<usize>,
    worlds: HashSet<World<O::State>>,
}

/// `None` when there is an order; `skip` are left out.
pub fn stuck<O: Object>(
    object: &O,
    items: &[Item<O::Change, O::Sight>],
    first: &O::State,
    skip: &BTreeSet<usize>,
) -> Option<Stuck<O::State>> {
    let mut events: Vec<(i64, bool, usize)> = Vec::with_capacity(items.len() * 2);
    for (number, item) in items.iter().enumerate().filter(|(number, _)| !skip.contains(number)) {
        events.push((item.begun, false, number));
        // A call at the moment of a return may have been before it.
        events.extend(item.ended.map(|ended| (ended.max(item.begun), true, number)));
    }
    events.sort_unstable();
    let world = World { state: first.clone(), done: BTreeSet::new(), unseen: BTreeSet::new() };
    let mut search = Search { object, items, open: BTreeSet::new(), worlds: HashSet::from([world]) };
    let mut known = (i64::MIN, first.clone());
    for (at, is_return, item) in events {
        if !is_return {
            search.call(item);
            continue;
        }
        search.give_back(item);
        if search.worlds.is_empty() || search.worlds.len() > MOST_WORLDS {
            return Some(Stuck { item, known, given_up: !search.worlds.is_empty() });
        }
        let mut worlds = search.worlds.iter();
        if let (Some(only), None) = (worlds.next(), worlds.next())
            && only.unseen.is_empty()
            && only.done.is_empty()
        {
            known = (at, only.state.clone());
        }
    }
    None
}

impl<O: Object> Search<'_, O> {
    fn call(&mut self, item: usize) {
        match &self.items[item].act {
            Act::Change(_) => {
                self.open.insert(item);
            }
            Act::Sight(sight) => {
                let (object, worlds) = (self.object, std::mem::take(&mut self.worlds));
                self.worlds = worlds
                    .into_iter()
                    .map(|mut world| {
                        if !object.sees(&world.state, sight) {
                            world.unseen.insert(item);
                        }
                        world
                    })
                    .collect();
            }
        }
    }

    fn give_back(&mut self, item: usize) {
        let is_change = matches!(self.items[item].act, Act::Change(_));
        let mut next = HashSet::with_capacity(self.worlds.len());
        let mut visited = HashSet::new();
        for mut world in std::mem::take(&mut self.worlds) {
            if is_change && world.done.remove(&item) || !is_change && !world.unseen.contains(&item) {
                next.insert(world);
            } else {
                self.force(&world, item, &mut next, &mut visited);
            }
        }
        self.open.remove(&item);
        self.worlds = next;
    }

    /// All worlds after `world` in which `item` is the last that has happened.
    fn force(
        &self,
        world: &World<O::State>,
        item: usize,
        next: &mut HashSet<World<O::State>>,
        visited: &mut HashSet<World<O::State>>,
    ) {
        if visited.len() > MOST_WORLDS || !visited.insert(world.clone()) {
            return;
        }
        for &change in self.open.iter().filter(|change| !world.done.contains(change)) {
            let Act::Change(change_itself) = &self.items[change].act else { continue };
            let Some(state) = self.object.change(&world.state, change_itself) else { continue };
            let mut after = World { state, done: world.done.clone(), unseen: world.unseen.clone() };
            after.done.insert(change);
            after.unseen.retain(|&sight| match &self.items[sight].act {
                Act::Sight(sight) => !self.object.sees(&after.state, sight),
                Act::Change(_) => false,
            });
            if change == item {
                after.done.remove(&item);
                next.insert(after);
            } else if matches!(self.items[item].act, Act::Sight(_)) && !after.unseen.contains(&item) {
                next.insert(after);
            } else {
                self.force(&after, item, next, visited);
            }
        }
    }
}

/// What is needed to see that there is no order: the items after the last certain state that touch the one
/// that is stuck, without the sights that do not matter.
pub fn smallest<O: Object>(
    object: &O,
    items: &[Item<O::Change, O::Sight>],
    first: &O::State,
    stuck_at: &Stuck<O::State>,
) -> Vec<usize> {
    const TRIES: usize = 60;
    let end = items[stuck_at.item].ended.unwrap_or(i64::MAX);
    let later: BTreeSet<usize> = (0..items.len()).filter(|&item| items[item].begun > end).collect();
    let mut skip = later;
    let is_near = |item: &usize| items[*item].ended.is_none_or(|ended| ended >= stuck_at.known.0);
    let mut near: Vec<usize> = (0..items.len()).filter(|item| !skip.contains(item)).filter(is_near).collect();
    let sights = near.clone().into_iter().filter(|&item| matches!(items[item].act, Act::Sight(_)));
    for item in sights.filter(|&item| item != stuck_at.item).take(TRIES) {
        skip.insert(item);
        if stuck(object, items, first, &skip).is_none_or(|stuck| stuck.item != stuck_at.item) {
            skip.remove(&item);
        }
    }
    near.retain(|item| !skip.contains(item));
    near
}

//! Breadth first through all worlds that can be reached, so that what is found is found on a shortest
//! way.
//!
//! A search of our own, because it is short: the checkers to be had bring a web server along, and what
//! they say of "some day" is not exact where ways meet. Here it is: from **every** world that was reached,
//! calm moments must empty the line. They lead through worlds that were reached, so each is walked once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use crate::promises::{Broken, STANDS_STILL};
use crate::rules::Rules;
use crate::shape::shape;
use crate::world::{Action, World};

/// A promise that was broken, and a shortest way there. The numbers of people and replicas are those of
/// the world before each step, in its sorted order.
#[derive(Debug)]
pub struct Found {
    pub broken: Broken,
    pub way: Vec<Action>,
}

#[derive(Debug)]
pub struct Searched {
    pub worlds: usize,
    pub steps: usize,
    pub found: Option<Found>,
}

/// Hashes a world of small numbers, quickly also where nothing is optimised.
#[derive(Default)]
struct Mix(u64);

impl Mix {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }
}

/// How a world was reached first: from which, and by what.
type Origin = Option<(usize, Action)>;

#[derive(Default)]
struct Search {
    known: HashMap<World, usize, BuildHasherDefault<Mix>>,
    origins: Vec<Origin>,
    next: Vec<(World, usize)>,
}

impl Search {
    fn reach(&mut self, world: World, origin: Origin) {
        if let Entry::Vacant(unknown) = self.known.entry(world) {
            let number = self.origins.len();
            self.origins.push(origin);
            self.next.push((unknown.key().clone(), number));
            unknown.insert(number);
        }
    }

    fn way_to(&self, mut number: usize) -> Vec<Action> {
        let mut way = Vec::new();
        while let Some((before, action)) = self.origins[number] {
            way.push(action);
            number = before;
        }
        way.reverse();
        way
    }
}

/// Ends at the first broken promise, or when nothing new is reached. If one is sought, what breaks
/// another is not followed further.
pub fn search(rules: &Rules, sought: Option<Broken>) -> Searched {
    let mut search = Search::default();
    let mut steps = 0;
    search.reach(shape(World::new(), rules), None);
    while !search.next.is_empty() {
        for (world, number) in std::mem::take(&mut search.next) {
            for action in world.actions(rules) {
                steps += 1;
                let mut after = world.clone();
                if let Err(broken) = after.step(rules, action) {
                    if sought.is_some_and(|sought| sought != broken) {
                        continue;
                    }
                    let mut way = search.way_to(number);
                    way.push(action);
                    return Searched {
                        worlds: search.origins.len(),
                        steps,
                        found: Some(Found { broken, way }),
                    };
                }
                search.reach(shape(after, rules), Some((number, action)));
            }
        }
    }
    let found = standing_still(rules, &search);
    Searched { worlds: search.origins.len(), steps, found }
}

/// A world from which calm moments do not empty the line.
fn standing_still(rules: &Rules, search: &Search) -> Option<Found> {
    let mut served: HashSet<usize> = HashSet::new();
    for (world, number) in &search.known {
        let (mut world, mut passed) = (world.clone(), HashSet::from([*number]));
        let found = |broken| Some(Found { broken, way: search.way_to(*number) });
        while let Some(next) = world.calm(rules) {
            world = match next {
                Ok(next) => shape(next, rules),
                Err(broken) => return found(broken),
            };
            let Some(&number) = search.known.get(&world) else {
                return found("a calm moment leads beyond the search");
            };
            if served.contains(&number) {
                break;
            }
            if !passed.insert(number) {
                return found(STANDS_STILL);
            }
        }
        served.extend(passed);
    }
    None
}

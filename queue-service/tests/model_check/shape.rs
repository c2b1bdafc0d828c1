//! Brings worlds that cannot be told apart into one shape, which makes them finitely many: there is no
//! last moment and no last place in what is searched.
//!
//! Moments are relative to now already. Places and revisions only ever meet in comparisons and in "the
//! next one", so they are counted anew from the smallest that anybody still knows. People have no
//! names but their places, replicas none but their memory, so both stand in sorted order.

use crate::promises::{Owed, Person};
use crate::rules::{Notice, PEOPLE, Rules};
use crate::store::{Jti, Place, Stay, Store};
use crate::world::World;

pub fn shape(mut world: World, rules: &Rules) -> World {
    revisions(&mut world, rules);
    for user in 0..rules.people {
        // A place that neither its owner nor the store knows any more cannot come back.
        let place_of = |store: &Store| store.stays[user].line.map(|line| line.place);
        let known = [Some(&world.store), world.copy.as_ref()].map(|store| store.and_then(place_of));
        let person = &mut world.promises.people[user];
        let back = |jti: &Jti| person.token == Some(jti.place) || known.contains(&Some(jti.place));
        person.claimed = person.claimed.filter(back);
    }
    places(&mut world);
    for person in &mut world.promises.people {
        person.entries.sort_unstable();
    }
    if rules.are_alike() {
        world.replicas[..rules.replicas].sort_unstable();
        for (_, by) in &mut world.store.window {
            *by = 0;
        }
        people(&mut world);
    }
    world
}

fn revisions(world: &mut World, rules: &Rules) {
    let now = world.store.revision;
    let Some(failover) = rules.failover else {
        world.store.revision = 0;
        return;
    };
    let forgotten = -failover.forgets - 1;
    let count = |revision: i8| revision.saturating_sub(now).max(forgotten);
    world.copy = world.copy.take().filter(|copy| now - copy.revision <= failover.forgets);
    world.store.revision = 0;
    if let Some(copy) = &mut world.copy {
        copy.revision = count(copy.revision);
    }
    let asked = !matches!(failover.notice, Notice::Never | Notice::Server);
    // Only what was heard after the copy was made will ever tell something.
    let telling = asked && (world.copy.is_some() || world.store.stranger);
    for replica in &mut world.replicas {
        replica.revision = if telling { count(replica.revision) } else { forgotten };
    }
}

fn places(world: &mut World) {
    let mut known: Vec<Place> = Vec::with_capacity(16);
    each_place(world, &mut |place| known.push(*place));
    known.sort_unstable();
    known.dedup();
    each_place(world, &mut |place| {
        let rank = known.binary_search(place).unwrap_or_default();
        *place = Place::try_from(rank).unwrap_or_default();
    });
}

fn each_place(world: &mut World, visit: &mut impl FnMut(&mut Place)) {
    store_places(&mut world.store, visit);
    if let Some(copy) = &mut world.copy {
        store_places(copy, visit);
    }
    for person in &mut world.promises.people {
        if let Some(place) = &mut person.token {
            visit(place);
        }
        if let Some(Owed::Line { place, .. } | Owed::Slot { place, .. }) = &mut person.owed {
            visit(place);
        }
        for entry in &mut person.entries {
            visit(&mut entry.jti.place);
        }
        for jti in [&mut person.bought, &mut person.claimed].into_iter().flatten() {
            visit(&mut jti.place);
        }
    }
}

fn store_places(store: &mut Store, visit: &mut impl FnMut(&mut Place)) {
    visit(&mut store.last_place);
    for stay in &mut store.stays {
        if let Some(line) = &mut stay.line {
            visit(&mut line.place);
        }
        if let Some(slot) = &mut stay.slot {
            visit(&mut slot.jti.place);
        }
    }
    if let Some(hold) = &mut store.hold {
        visit(&mut hold.lost.0);
        visit(&mut hold.lost.1);
        hold.returned.iter_mut().for_each(visit);
        hold.returned.sort_unstable();
    }
}

fn people(world: &mut World) {
    type Whole = (Person, Stay, Stay);
    let copied = world.copy.as_ref().map(|copy| copy.stays).unwrap_or_default();
    let mut whole: [Whole; PEOPLE] = std::array::from_fn(|user| {
        (std::mem::take(&mut world.promises.people[user]), world.store.stays[user], copied[user])
    });
    whole.sort_unstable();
    whole.reverse();
    for (user, (person, stay, copy_stay)) in whole.into_iter().enumerate() {
        world.promises.people[user] = person;
        world.store.stays[user] = stay;
        if let Some(copy) = &mut world.copy {
            copy.stays[user] = copy_stay;
        }
    }
}

//! A model check of admission: every order in which people, replicas, time and failures can meet.
//!
//! ```text
//!   people ──join · poll · leave──▶ replicas ──one call = one step──▶ store ──copy──▶ … failover
//!      ▲                               │ crash: memory gone             line · slots · window
//!      └──────── answer, or none ──────┘
//! ```
//!
//! [`store`] says what one script call does, [`world`] what may happen around it, [`promises`] what
//! people may rely on, [`shape`] when two worlds are the same, and [`search`] goes through all of them.
//! There is no last moment: the searched worlds are all that any run, however long, can reach.
//!
//! The promises, at every moment: at most N persons have an entry token that some verifier takes, or a
//! slot to claim; at most m are let in within any n; nobody is let in before a living person with a
//! smaller place; no place is let in twice, no admission has two tokens, no person two places; who
//! polls in time is neither told that the place has ended nor gone from the store; and from every
//! world, calm moments serve the whole line. (Persons, not tokens: who joins again within the leeway of
//! the old token and is let in takes the slot that still counts for it.)
//!
//! **What the search teaches.** A replica keeps nothing between two calls that decides anything. So a
//! crash, a call put again and one more replica reach no world that is not reached without them, and the
//! limits hold for any number of replicas. The mistakes below are what happens when it does keep something.
//!
//! **After a failover** to a copy that is behind, the promises hold when it is noticed before the first
//! step of the new server, and when from then on (each is a test below)
//!
//! - nobody is let in for as long as a token and its leeway last, for n, and for longer than `waiting_ttl`;
//! - so many places are left out as joins may have been forgotten;
//! - everybody in line counts as seen at that moment, whatever the copy says;
//! - who was let in and has not claimed goes back into the line: the claim may have been forgotten;
//! - a lost place that a token proves wins over the older one that the copy has of the same user;
//! - it is given back once, if it can be proven for longer than the hold lasts.
//!
//! That a replica remembers a revision, or a token a place, that the store does not have is **not**
//! enough: whoever does not remember may speak first, let people in, and even bring the store past
//! what the others remember. It is enough that the data names the server that wrote it last, and that
//! each call compares.
//!
//! One promise is weaker then: an admission that was forgotten is given again, after its token has ended.
//!
//! Not in the model: settings that change, pause and close, the lottery, renewal, `requeue` and
//! `reject`, the bounds of loops, the rounding to seconds, the two seconds in which a revoked token may
//! still open something, people who join again although they have a queue token, two servers that both
//! take writes, and a second failover. `src/reference` holds the scripts against a model that has most
//! of the settings, but no failures; nothing holds this model against the scripts but its reader.

mod promises;
mod rules;
mod search;
mod shape;
mod store;
mod world;

use promises::{
    BESIDE, Broken, LOST, OUT_OF_ORDER, OVER_THE_CAP, OVER_THE_RATE, SAME_PLACE, SECOND_TOKEN, STANDS_STILL,
    TOO_MANY_BY_HAND, TWICE, TWO_PLACES,
};
use rules::{Deed, Failover, Mistake, Notice, Rules};
use search::search;

const DESIGN: Rules = Rules {
    people: 2,
    replicas: 3,
    cap: 1,
    users: 2,
    every: 2,
    wait: 1,
    claim: 1,
    ttl: 1,
    leeway: 1,
    instant: false,
    deeds: &[],
    failover: None,
    mistake: Mistake::None,
};

/// Just enough: the hold is token and leeway, n, and one more than `wait`; the gap covers what is forgotten.
const FAILOVER: Failover =
    Failover { forgets: 2, notice: Notice::Server, hold: 3, proofs: 0, gap: 3, again: true };

const RECOVERS: Rules = Rules { replicas: 2, every: 3, wait: 2, ttl: 2, failover: Some(FAILOVER), ..DESIGN };

const fn after(failover: Failover) -> Rules {
    Rules { failover: Some(failover), ..RECOVERS }
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "how much was searched")]
fn holds(name: &str, rules: &Rules) {
    let searched = search(rules, None);
    assert!(searched.found.is_none(), "{name}: {:#?}", searched.found);
    println!("{name}: {} worlds, {} steps", searched.worlds, searched.steps);
    assert!(searched.worlds > 1_000, "{name}: only {} worlds", searched.worlds);
}

/// Sees that the search finds this promise broken.
#[track_caller]
fn found(broken: Broken, rules: &Rules) {
    let searched = search(rules, Some(broken));
    let (what, way) = searched.found.map(|found| (found.broken, found.way)).unzip();
    assert_eq!(what, Some(broken), "{:?} {:?}: {way:#?}", rules.mistake, rules.failover);
}

#[test]
fn three_people_and_a_cap_of_two() {
    holds("three people", &Rules { people: 3, cap: 2, deeds: &[Deed::Leave], ..DESIGN });
}

#[test]
fn people_who_buy_and_leave_and_are_let_in_by_the_join() {
    let deeds = &[Deed::Leave, Deed::Buy];
    holds("every deed", &Rules { users: 1, instant: true, deeds, ..DESIGN });
}

#[test]
fn one_admission_by_hand() {
    holds("by hand", &Rules { users: 1, deeds: &[Deed::ByHand], ..DESIGN });
}

#[test]
fn longer_times() {
    let deeds = &[Deed::Leave, Deed::Buy];
    holds("longer times", &Rules { every: 3, wait: 2, claim: 2, ttl: 2, deeds, ..DESIGN });
}

#[test]
fn a_failover_that_the_data_shows() {
    holds("failover", &RECOVERS);
}

#[test]
fn a_failover_and_people_who_leave() {
    let failover = Some(Failover { hold: 2, ..FAILOVER });
    holds(
        "failover, leaving",
        &Rules { every: 2, wait: 1, ttl: 1, leeway: 0, deeds: &[Deed::Leave], failover, ..RECOVERS },
    );
}

#[test]
fn a_failover_that_is_told_first_by_one_who_remembers() {
    let failover = Some(Failover { notice: Notice::MemoryFirst, forgets: 1, hold: 2, ..FAILOVER });
    holds("failover, memory first", &Rules { every: 2, wait: 1, ttl: 1, leeway: 0, failover, ..RECOVERS });
}

#[test]
fn places_can_be_proven_for_longer_than_the_hold() {
    let failover = Some(Failover { hold: 2, proofs: 6, ..FAILOVER });
    holds("failover, long proofs", &Rules { every: 2, wait: 1, ttl: 1, failover, ..RECOVERS });
}

#[test]
fn mistakes_about_the_cap_are_found() {
    let rules = |mistake| Rules { mistake, ..DESIGN };
    found(OVER_THE_CAP, &rules(Mistake::CountThenAdd));
    found(OVER_THE_CAP, &rules(Mistake::LeaseEndsEarly));
    found(OVER_THE_CAP, &rules(Mistake::UnclaimedIsFree));
}

#[test]
fn mistakes_about_the_rate_are_found() {
    let rules = |mistake| Rules { cap: 2, users: 1, mistake, ..DESIGN };
    found(OVER_THE_RATE, &rules(Mistake::CountThenAdd));
    found(OVER_THE_RATE, &rules(Mistake::RatePerReplica));
    found(OVER_THE_RATE, &rules(Mistake::RatePerBucket));
    found(TOO_MANY_BY_HAND, &Rules { deeds: &[Deed::ByHand], ..rules(Mistake::HandAgain) });
}

#[test]
fn mistakes_about_a_person_are_found() {
    let rules = |mistake| Rules { ttl: 2, deeds: &[Deed::Leave, Deed::Buy], mistake, ..DESIGN };
    found(OUT_OF_ORDER, &rules(Mistake::WhoeverPolls));
    found(SECOND_TOKEN, &rules(Mistake::ClaimAnew));
    found(SECOND_TOKEN, &rules(Mistake::LookThenClaim));
    found(TWO_PLACES, &rules(Mistake::JoinAgain));
    found(LOST, &rules(Mistake::PollUnseen));
    found(LOST, &rules(Mistake::CompleteByUser));
    found(STANDS_STILL, &rules(Mistake::UnclaimedForEver));
}

#[test]
fn a_failover_that_nobody_notices_breaks_the_cap() {
    let rules = after(Failover { notice: Notice::Never, ..FAILOVER });
    found(OVER_THE_CAP, &rules);
    found(SAME_PLACE, &rules);
    found(LOST, &rules);
}

/// The assumption that is dropped: who remembers speaks first.
#[test]
fn to_remember_is_not_enough() {
    for notice in [Notice::Memory, Notice::MemorySomewhere] {
        let rules = after(Failover { notice, ..FAILOVER });
        found(OVER_THE_CAP, &rules);
        found(SAME_PLACE, &rules);
    }
}

#[test]
fn recovery_without_enough_hold_is_found() {
    found(OVER_THE_CAP, &after(Failover { hold: 0, ..FAILOVER }));
    found(OVER_THE_CAP, &after(Failover { hold: 2, ..FAILOVER }));
    found(BESIDE, &after(Failover { hold: 1, ..FAILOVER }));
    found(OVER_THE_RATE, &Rules { users: 1, every: 4, cap: 2, ..RECOVERS });
    found(OUT_OF_ORDER, &Rules { wait: 3, ..RECOVERS });
    found(LOST, &Rules { wait: 3, ..RECOVERS });
}

#[test]
fn other_mistakes_of_the_recovery_are_found() {
    let rules = |mistake| Rules { deeds: &[Deed::Leave], mistake, ..RECOVERS };
    found(SAME_PLACE, &after(Failover { gap: 0, ..FAILOVER }));
    found(LOST, &rules(Mistake::StaleSigns));
    found(LOST, &rules(Mistake::UnclaimedStays));
    let failover = Some(Failover { forgets: 3, gap: 4, ..FAILOVER });
    found(OVER_THE_CAP, &Rules { failover, ..rules(Mistake::UnclaimedStays) });
    found(LOST, &rules(Mistake::OlderPlaceWins));
    let proofs = Some(Failover { proofs: 7, ..FAILOVER });
    found(TWICE, &Rules { failover: proofs, mistake: Mistake::BackAgain, ..RECOVERS });
}

/// What recovery cannot give: the store does not know what it has forgotten.
#[test]
fn a_forgotten_admission_is_given_again() {
    found(TWICE, &after(Failover { again: false, ..FAILOVER }));
}

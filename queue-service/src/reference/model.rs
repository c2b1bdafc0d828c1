//! What a queue does, in plain words. Times are milliseconds since 1970.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;

use super::lanes::{Lines, Spot};
use crate::keys::{LANE, SEEN_EPOCH_MS};
use crate::line::model::{Ended, Standing};
use crate::line::signs::GRACE_MS;
use crate::line::store::{Left, News, Verdict};
use crate::queues::model::{QueueState, Report, Stop};
use crate::queues::settings::{Lane, Order, Rejoin, Settings};

/// Places of people who never stood in line.
const NO_LANE: u64 = 15 * LANE;
/// The longest pause between two polls that anybody is told.
const LONGEST_POLL_MS: i64 = 40_000;
/// Departures are remembered by spans of this length, the present one and two older.
const DEPARTED_MS: i64 = 600_000;
/// A slot is counted that long beyond its token.
const LEEWAY_MS: i64 = 2_000;

#[derive(Clone, Debug)]
struct Slot {
    place: u64,
    jti: Option<String>,
    admitted_at: i64,
    /// `iat` and `exp`, in seconds, once claimed.
    claimed: Option<(i64, i64)>,
    lease_end: i64,
}

/// One admission, for the check of the limits at the end.
#[derive(Clone, Copy, Debug)]
struct Admitted {
    at: i64,
    place: u64,
    in_window: bool,
}

/// What the model says to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Scheduled { place: u64, news: News },
    Waiting { place: u64, position: u64, news: News },
    Active { place: u64, news: News },
    Ended(Ended),
    NoPlace,
    AlreadyInQueue,
    Draining,
}

#[derive(Default)]
struct Totals {
    admitted: u64,
    expired: u64,
    left: u64,
    completed: u64,
    replaced: u64,
    closed: u64,
}

/// The model.
pub struct Model {
    now: i64,
    settings: Settings,
    stop: Option<Stop>,
    lines: Lines,
    instants: u64,
    seed: Option<String>,
    slots: BTreeMap<String, Slot>,
    departed: BTreeMap<u64, (Ended, i64)>,
    admissions: Vec<Admitted>,
    totals: Totals,
    latest: BTreeMap<String, u64>,
    pressure: Pressure,
    /// Nobody was silent before this moment.
    silence_from: i64,
}

/// How much of the rate is let in, in thousandths, and why.
struct Pressure {
    outflow: u32,
    changed_at: i64,
    /// Reporter → when, and whether it has it too hard.
    reports: BTreeMap<String, (i64, bool)>,
}

/// When every trace begins.
pub fn beginning() -> i64 {
    1_800_000_000_000
}

impl Model {
    pub fn new(settings: Settings) -> Self {
        Self {
            now: beginning(),
            settings,
            stop: None,
            lines: Lines::new(),
            instants: 0,
            seed: None,
            slots: BTreeMap::new(),
            departed: BTreeMap::new(),
            admissions: Vec::new(),
            totals: Totals::default(),
            latest: BTreeMap::new(),
            pressure: Pressure { outflow: 1000, changed_at: 0, reports: BTreeMap::new() },
            silence_from: 0,
        }
    }

    pub fn now(&self) -> i64 {
        self.now
    }

    pub fn advance(&mut self, ms: i64) {
        self.now += ms;
    }

    /// Goes to a moment at which something ends, or to the millisecond before or after it.
    pub fn go_to_an_edge(&mut self, random: &mut StdRng) {
        let every_ms = self.settings.admission.map_or(0, |rate| i64::from(rate.every_seconds) * 1000);
        let ttl_ms = i64::from(self.settings.waiting_ttl_seconds) * 1000;
        let ends = self
            .slots
            .values()
            .flat_map(|slot| [slot.lease_end, slot.claimed.map_or(0, |(_, exp)| exp * 1000)]);
        let frees = self.admissions.iter().map(|admitted| admitted.at + every_ms);
        let lapses = self.lines.all().map(|(_, person)| person.seen + ttl_ms + GRACE_MS);
        let edges = ends.chain(frees).chain(lapses).flat_map(|edge| [edge - 1, edge, edge + 1]);
        if let Some(edge) = edges.filter(|edge| *edge > self.now).choose(random) {
            self.now = edge;
        }
    }

    /// Every place that was handed out in a line.
    pub fn places(&self) -> Vec<u64> {
        let places = |(lane, line): (u64, &super::lanes::Line)| lane * LANE + 1..=lane * LANE + line.last;
        (0..).zip(&self.lines.lanes).flat_map(places).collect()
    }

    /// Everybody in line: place and position.
    pub fn positions(&self) -> BTreeMap<u64, u64> {
        self.lines.all().map(|(spot, _)| (spot.place(), self.lines.position(spot))).collect()
    }

    fn named_lanes(&self) -> &[Lane] {
        self.settings.lanes.as_deref().unwrap_or_default()
    }

    /// The last place the user was given.
    pub fn latest_place(&self, user: &str) -> Option<u64> {
        self.latest.get(user).copied()
    }

    /// A jti in use, now and then one that never was.
    pub fn some_jti(&self, random: &mut StdRng) -> Option<String> {
        let known = self.slots.values().filter_map(|slot| slot.jti.clone());
        known.chain(["unknown".to_owned()]).choose(random)
    }

    fn opened(&self) -> bool {
        self.settings.opens_at.is_none_or(|at| self.now >= at.timestamp_millis())
    }

    fn state(&self) -> QueueState {
        match self.stop {
            Some(Stop::Closed) => QueueState::Closed,
            Some(Stop::Draining) => QueueState::Draining,
            Some(Stop::Paused) => QueueState::Paused,
            None if !self.opened() => QueueState::Scheduled,
            None => QueueState::Open,
        }
    }

    /// People in line, as the queue shows them: nobody before the opening.
    pub fn waiting(&self) -> u64 {
        if self.opened() { self.lines.len() } else { 0 }
    }

    pub fn active(&self) -> u64 {
        self.slots.values().filter(|slot| slot.lease_end >= self.now).count() as u64
    }

    fn window_room(&self) -> u64 {
        let Some(rate) = self.settings.admission else { return u64::MAX };
        let since = self.now - i64::from(rate.every_seconds) * 1000;
        let used = self.admissions.iter().filter(|a| a.in_window && a.at >= since).count() as u64;
        let users = match self.settings.adaptive {
            Some(adaptive) => (u64::from(rate.users) * u64::from(self.pressure.outflow) / 1000)
                .max(u64::from(adaptive.min_users)),
            None => u64::from(rate.users),
        };
        users.saturating_sub(used)
    }

    fn cap_room(&self) -> u64 {
        let Some(cap) = self.settings.max_active else { return u64::MAX };
        u64::from(cap).saturating_sub(self.active())
    }

    fn silent(&self, seen: i64) -> bool {
        let ttl = i64::from(self.settings.waiting_ttl_seconds) * 1000;
        let opened_at = self.settings.opens_at.map_or(i64::MIN, |at| at.timestamp_millis());
        ttl > 0 && self.opened() && self.now > seen.max(opened_at).max(self.silence_from) + ttl + GRACE_MS
    }

    fn depart(&mut self, place: u64, reason: Ended) {
        self.departed.insert(place, (reason, self.now));
        let total = match reason {
            Ended::Expired => &mut self.totals.expired,
            Ended::Left => &mut self.totals.left,
            Ended::Completed => &mut self.totals.completed,
            Ended::Replaced => &mut self.totals.replaced,
            Ended::QueueClosed => &mut self.totals.closed,
        };
        *total += 1;
    }

    fn departure(&self, place: u64) -> Ended {
        match self.departed.get(&place) {
            Some((reason, at)) if self.now / DEPARTED_MS - at / DEPARTED_MS <= 2 => *reason,
            _ => match self.lines.lanes.get((place / LANE) as usize) {
                Some(line) if place % LANE <= line.closed_through => Ended::QueueClosed,
                _ => Ended::Expired,
            },
        }
    }

    fn close_line(&mut self) {
        for line in self.lines.lanes.iter_mut().filter(|line| !line.people.is_empty()) {
            line.closed_through = line.last;
            self.totals.closed += line.people.len() as u64;
            line.people.clear();
        }
    }

    /// Puts away what has ended; the spot in line that is left.
    fn live_spot(&mut self, user: &str) -> Option<Spot> {
        let spot = self.lines.find(user)?;
        let seen = self.lines.person(spot).seen;
        let reason = if self.state() == QueueState::Closed {
            Ended::QueueClosed
        } else if self.silent(seen) {
            Ended::Expired
        } else {
            return Some(spot);
        };
        self.lines.remove(spot);
        self.depart(spot.place(), reason);
        None
    }

    fn live_slot(&self, user: &str) -> Option<&Slot> {
        self.slots.get(user).filter(|slot| match slot.claimed {
            Some((_, exp)) => self.now < exp * 1000,
            None => self.now <= slot.lease_end,
        })
    }

    fn end_slot(&mut self, user: &str, reason: Ended) {
        if let Some(slot) = self.slots.remove(user) {
            self.depart(slot.place, reason);
        }
    }

    fn admit(&mut self, user: &str, place: u64, in_window: bool) {
        self.end_slot(user, Ended::Expired);
        let lease_end = self.now + i64::from(self.settings.claim_window_seconds) * 1000;
        let slot = Slot { place, jti: None, admitted_at: self.now, claimed: None, lease_end };
        self.slots.insert(user.to_owned(), slot);
        self.admissions.push(Admitted { at: self.now, place, in_window });
        self.totals.admitted += 1;
    }

    fn claim(&mut self, user: &str) {
        let second = self.now.div_euclid(1000);
        let ttl = i64::from(self.settings.entry_ttl_seconds);
        let lifetime = self.settings.entry_max_lifetime_seconds.map_or(ttl, i64::from);
        let slot = self.slots.get_mut(user).unwrap();
        let claimed = match slot.claimed {
            None => (second, second + ttl),
            Some((iat, exp)) if lifetime > ttl => (iat, exp.max((second + ttl).min(iat + lifetime))),
            Some(_) => return,
        };
        if slot.claimed != Some(claimed) {
            slot.claimed = Some(claimed);
            slot.lease_end = claimed.1 * 1000 + LEEWAY_MS;
        }
    }

    fn stand_in_line(&mut self, spot: Spot, news: News) -> Said {
        let place = spot.place();
        let (now, opened) = (self.now, self.opened());
        self.lines.person(spot).seen = tenths(now);
        if !opened {
            return Said::Scheduled { place, news };
        }
        Said::Waiting { place, position: self.lines.position(spot), news }
    }

    pub fn join(&mut self, user: &str, lane: &str) -> Said {
        let in_line = self.live_spot(user);
        let active = self.live_slot(user).map(|slot| slot.place);
        let has = in_line.map(Spot::place).or(active);
        match (self.settings.rejoin, has) {
            (Rejoin::Reject, Some(_)) => return Said::AlreadyInQueue,
            (Rejoin::Keep, Some(place)) => {
                if let Some(spot) = in_line {
                    return self.stand_in_line(spot, News::Known);
                }
                self.claim(user);
                return Said::Active { place, news: News::Known };
            }
            _ => {}
        }
        match self.state() {
            QueueState::Closed => return Said::Ended(Ended::QueueClosed),
            QueueState::Draining => return Said::Draining,
            _ => {}
        }
        if let Some(spot) = in_line {
            self.lines.remove(spot);
            self.depart(spot.place(), Ended::Replaced);
        } else if active.is_some() {
            self.end_slot(user, Ended::Replaced);
        }
        self.new_stay(user, lane, if has.is_some() { News::Replaced } else { News::Fresh })
    }

    fn new_stay(&mut self, user: &str, lane: &str, news: News) -> Said {
        let free =
            self.settings.instant_admission && self.state() == QueueState::Open && self.lines.is_empty();
        if free && self.window_room() > 0 && self.cap_room() > 0 {
            self.instants += 1;
            let place = NO_LANE + self.instants;
            self.latest.insert(user.to_owned(), place);
            self.admit(user, place, true);
            self.claim(user);
            return Said::Active { place, news };
        }
        let named = self.named_lanes();
        let lane_number = named.iter().position(|named| named.lane == lane).map_or(0, |index| index + 1);
        let is_drawn = self.settings.order == Order::Lottery && !self.opened();
        let seed = self.seed.clone().filter(|_| is_drawn);
        let spot = self.lines.add(lane_number, user, seed.as_deref());
        self.latest.insert(user.to_owned(), spot.place());
        self.stand_in_line(spot, news)
    }

    pub fn look(&mut self, user: &str, place: Option<u64>) -> Said {
        let is_meant = |found: u64| place.is_none_or(|place| place == found);
        let in_line = self.live_spot(user);
        if let Some(found) = in_line.filter(|found| is_meant(found.place())) {
            return self.stand_in_line(found, News::Known);
        }
        let active = self.live_slot(user).map(|slot| slot.place);
        if let Some(found) = active.filter(|found| in_line.is_none() && is_meant(*found)) {
            self.claim(user);
            return Said::Active { place: found, news: News::Known };
        }
        match place {
            None => Said::NoPlace,
            Some(place) if self.slots.get(user).is_some_and(|slot| slot.place == place) => {
                Said::Ended(Ended::Expired)
            }
            Some(place) => Said::Ended(self.departure(place)),
        }
    }

    pub fn leave(&mut self, user: &str, place: Option<u64>) -> Left {
        let is_meant = |found: u64| place.is_none_or(|place| place == found);
        if let Some(found) = self.live_spot(user) {
            if !is_meant(found.place()) {
                return Left::Nothing;
            }
            self.lines.remove(found);
            self.depart(found.place(), Ended::Left);
            return Left::PlaceInLine;
        }
        if !self.live_slot(user).is_some_and(|slot| is_meant(slot.place)) {
            return Left::Nothing;
        }
        self.end_slot(user, Ended::Left);
        Left::Admission
    }

    pub fn tick(&mut self, forced: Option<u64>) -> u64 {
        let over: Vec<String> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.lease_end < self.now)
            .map(|(user, _)| user.clone())
            .collect();
        for user in &over {
            self.end_slot(user, Ended::Expired);
        }
        if self.state() == QueueState::Closed {
            self.close_line();
        }
        let admits = matches!(self.state(), QueueState::Open | QueueState::Draining);
        let room = match forced {
            _ if !self.opened() || self.state() == QueueState::Closed => 0,
            Some(users) => users.min(self.cap_room()),
            None if admits => self.window_room().min(self.cap_room()),
            None => 0,
        };
        if room > 0 {
            self.lines.shorten_turns();
        }
        let mut admitted = 0;
        while admitted < room
            && let Some(spot) = self.lines.next()
        {
            let person = self.lines.person(spot).clone();
            self.lines.remove(spot);
            if self.silent(person.seen) {
                self.depart(spot.place(), Ended::Expired);
            } else {
                self.admit(&person.user, spot.place(), forced.is_none());
                self.lines.count_turn(spot.lane);
                admitted += 1;
            }
        }
        admitted
    }

    pub fn complete(&mut self, jtis: &[String]) -> u64 {
        let mut released = 0;
        for jti in jtis {
            let slot = self.slots.iter().find(|(_, slot)| slot.jti.as_ref() == Some(jti));
            if let Some(user) = slot.map(|(user, _)| user.clone()) {
                self.end_slot(&user, Ended::Completed);
                released += 1;
            }
        }
        released
    }

    pub fn lapse(&mut self) -> u64 {
        let everybody = self.lines.all().map(|(spot, person)| (spot, person.seen)).collect::<Vec<_>>();
        let silent: Vec<_> = everybody.into_iter().filter(|(_, seen)| self.silent(*seen)).collect();
        for (spot, _) in &silent {
            self.lines.remove(*spot);
            self.depart(spot.place(), Ended::Expired);
        }
        silent.len() as u64
    }

    /// A replica writes that a place was seen: on time it counts as of now, else the later sign counts.
    pub fn beat(&mut self, place: u64, seen: u32) {
        let now = tenths(self.now);
        let seen = i64::from(seen) * 100 + SEEN_EPOCH_MS;
        let spot = self.lines.all().map(|(spot, _)| spot).find(|spot| spot.place() == place);
        if let Some(spot) = spot {
            let known = &mut self.lines.person(spot).seen;
            *known = if seen < now - 500 { seen.max(*known) } else { now };
        }
    }

    /// Somebody behind the line says how hard it has it; the outflow before and after, in thousandths.
    pub fn pressure(&mut self, reporter: &str, is_too_hard: bool) -> (u32, u32) {
        let (now, pressure) = (self.now, &mut self.pressure);
        pressure.reports.insert(reporter.to_owned(), (now, is_too_hard));
        pressure.reports.retain(|_, (at, _)| now - *at <= 5_000);
        let before = pressure.outflow;
        if now >= pressure.changed_at + 1_000 {
            pressure.changed_at = now;
            let is_slowed = pressure.reports.values().any(|(_, is_too_hard)| *is_too_hard);
            pressure.outflow = if is_slowed { (before * 7 / 10).max(50) } else { (before + 50).min(1000) };
        }
        (before, pressure.outflow)
    }

    /// Takes new settings and the seed that is in force with them; false when the order of those in
    /// line forbids it.
    pub fn put(&mut self, settings: Settings, seed: Option<String>) -> bool {
        let reopens = self.opened() && settings.opens_at.is_some_and(|at| at.timestamp_millis() > self.now);
        let breaks = settings.order != self.settings.order || (settings.order == Order::Lottery && reopens);
        let named =
            |settings: &Settings| settings.lanes.iter().flatten().map(|l| l.lane.clone()).collect::<Vec<_>>();
        let lanes_move = !named(&settings).starts_with(&named(&self.settings));
        if (breaks || lanes_move) && !self.lines.is_empty() {
            return false;
        }
        let (old, new) = (self.settings.waiting_ttl_seconds, settings.waiting_ttl_seconds);
        let opens = !self.opened() && settings.opens_at.is_none_or(|at| at.timestamp_millis() <= self.now);
        if opens || (new > 0 && old == 0) {
            self.silence_from = self.now + LONGEST_POLL_MS;
        } else if new > 0 && new < old {
            self.silence_from = self.now + LONGEST_POLL_MS.min(i64::from(old) * 1000 / 3);
        }
        self.lines.name(settings.lanes.as_deref().unwrap_or_default());
        self.settings = settings;
        self.seed = seed;
        true
    }

    pub fn stop(&mut self, stop: Option<Stop>) {
        if self.state() == QueueState::Closed || stop == Some(Stop::Closed) {
            self.close_line();
        }
        self.stop = stop;
    }

    /// Compares what was said to `user`; learns the jti of an admission when it is first told, and
    /// from then on insists on it.
    pub fn agree(&mut self, user: &str, said: &Said, verdict: &Verdict) {
        let heard = match verdict {
            Verdict::Stands { place, standing: Standing::Scheduled, news } => {
                Said::Scheduled { place: *place, news: *news }
            }
            Verdict::Stands { place, standing: Standing::Waiting { position }, news } => {
                Said::Waiting { place: *place, position: *position, news: *news }
            }
            Verdict::Stands { place, standing: Standing::Active(admission), news } => {
                let slot = self.slots.get_mut(user).expect("the model has the slot too");
                let jti = slot.jti.get_or_insert_with(|| admission.jti.clone());
                assert_eq!(*jti, admission.jti, "an admission has one jti");
                assert_eq!(slot.admitted_at, admission.admitted_at.timestamp_millis());
                assert_eq!(slot.claimed, Some((admission.iat, admission.exp)));
                Said::Active { place: *place, news: *news }
            }
            Verdict::Ended(ended) => Said::Ended(*ended),
            Verdict::NoPlace => Said::NoPlace,
            Verdict::AlreadyInQueue => Said::AlreadyInQueue,
            Verdict::Draining => Said::Draining,
        };
        assert_eq!(heard, *said, "{user} at {}", self.now);
    }

    /// The whole of the numbers.
    pub fn compare(&self, report: &Report) {
        let in_line = self.lines.len();
        assert_eq!(report.state, self.state());
        assert_eq!(report.waiting + report.scheduled, in_line);
        assert_eq!(report.waiting, self.waiting());
        assert_eq!(report.active, self.active());
        let totals = &self.totals;
        assert_eq!(
            (report.admitted_total, report.expired_total, report.left_total, report.completed_total),
            (totals.admitted, totals.expired, totals.left, totals.completed)
        );
        assert_eq!((report.replaced_total, report.closed_total), (totals.replaced, totals.closed));
    }

    /// What can be said of the admissions alone: nobody was let in twice, and without a draw all
    /// came in the order of their places.
    pub fn check_order(&self) {
        let mut places: Vec<u64> = self.admissions.iter().map(|admitted| admitted.place).collect();
        let of_lane = |lane: u64| places.iter().filter(|place| **place / LANE == lane).collect::<Vec<_>>();
        let in_order = (0..8).all(|lane| of_lane(lane).is_sorted());
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "somebody was let in twice: {places:?}");
        assert!(in_order || self.seed.is_some(), "{:?}", self.admissions);
    }
}

/// Signs of life are kept in tenths of seconds, rounded up.
fn tenths(now: i64) -> i64 {
    now.div_euclid(100) * 100 + if now.rem_euclid(100) > 0 { 100 } else { 0 }
}

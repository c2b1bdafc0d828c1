//! Standings, waits and the poll economy. No I/O, no clock.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::keys::LANE;
use crate::queues::model::{Pace, QueueState, Report};
use crate::queues::settings::{Lane, Rate};

/// An admission that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub jti: String,
    /// When the slot was given.
    pub admitted_at: DateTime<Utc>,
    /// When it was claimed, in whole seconds since 1970.
    pub iat: i64,
    /// When its entry token ends, in whole seconds since 1970.
    pub exp: i64,
}

/// Where a person with a live place stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In line before the opening.
    Scheduled,
    /// In line; `position` 1 is next.
    Waiting { position: u64 },
    /// Let in.
    Active(Admission),
}

/// Why a place has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Expired,
    Left,
    Completed,
    Replaced,
    QueueClosed,
}

impl Ended {
    /// From the word of the scripts.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "token_expired" => Some(Self::Expired),
            "token_left" => Some(Self::Left),
            "token_completed" => Some(Self::Completed),
            "token_replaced" => Some(Self::Replaced),
            "queue_closed" => Some(Self::QueueClosed),
            _ => None,
        }
    }
}

/// What one step of a script saw of the whole queue.
#[derive(Clone, Debug)]
pub struct Scene {
    pub now: DateTime<Utc>,
    pub state: QueueState,
    pub opens_at: Option<DateTime<Utc>>,
    pub redirect_url: Option<String>,
    pub waiting: u64,
    /// As `waiting`, but also before the opening.
    pub in_line: u64,
    pub pace: Pace,
    pub waiting_ttl_ms: u64,
    pub claim_window_ms: u64,
    /// What is let in at present; below the setting while the service behind has it hard.
    pub rate: Option<Rate>,
    /// The lanes beside everybody's.
    pub lanes: Vec<Lane>,
    /// Nobody is let in, because the store has forgotten something.
    pub is_held: bool,
    /// What is left to buy.
    pub remaining: Option<u64>,
    /// Polling while active renews the entry token.
    pub renews: bool,
    /// Before this moment nobody could be heard: the store was away, or has forgotten.
    pub silence_from: Option<DateTime<Utc>>,
}

/// The number of the lane that a place is in.
pub fn lane_of(place: u64) -> usize {
    usize::try_from(place / LANE).unwrap_or(usize::MAX)
}

/// A wait, in seconds, from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Wait {
    pub min: u64,
    pub max: u64,
}

const SHORTEST_POLL_MS: f64 = 1_000.0;
const LONGEST_POLL_MS: f64 = 30_000.0;
/// How many polls a second the whole crowd may make together.
const POLL_BUDGET_PER_SECOND: f64 = 25_000.0;
const JITTER: f64 = 0.3;
/// Measured rates scatter; the range says so.
const SPREAD: f64 = 0.15;

impl Scene {
    /// Nobody is silent before this moment.
    pub fn silence_since(&self) -> Option<DateTime<Utc>> {
        self.opens_at.max(self.silence_from)
    }

    /// The scene of a report, for somebody who is not in it.
    pub fn at_the_back(report: &Report, now: DateTime<Utc>) -> Self {
        Self {
            now,
            state: report.state,
            opens_at: report.opens_at,
            redirect_url: None,
            waiting: report.waiting,
            in_line: report.waiting + report.scheduled,
            pace: report.pace,
            waiting_ttl_ms: u64::from(report.settings.waiting_ttl_seconds) * 1000,
            claim_window_ms: u64::from(report.settings.claim_window_seconds) * 1000,
            rate: report.settings.admission,
            lanes: report.settings.lanes.clone().unwrap_or_default(),
            is_held: report.held_until.is_some(),
            remaining: report.remaining,
            renews: report.settings.entry_max_lifetime_seconds > Some(report.settings.entry_ttl_seconds),
            silence_from: None,
        }
    }

    /// What the lane of a place is called; `None` = everybody's.
    pub fn lane_name(&self, place: u64) -> Option<&str> {
        Some(self.lanes.get(lane_of(place).checked_sub(1)?)?.lane.as_str())
    }

    /// The share of the admissions that the lane of a place has, however full the others are.
    fn guaranteed_share(&self, place: u64) -> f64 {
        let named: u32 = self.lanes.iter().map(|lane| lane.share_percent).sum();
        let lane = lane_of(place).checked_sub(1).and_then(|index| self.lanes.get(index));
        f64::from(lane.map_or(100_u32.saturating_sub(named), |lane| lane.share_percent)) / 100.0
    }

    /// How long the person at `position` of the lane of `place` will wait, by the admissions measured over
    /// one and five minutes: at the least if the other lanes were empty, at the most if they stay full.
    /// Unknown when nobody is being let in, or nobody was.
    pub fn estimated_wait(&self, place: u64, position: u64) -> Option<Wait> {
        if !self.state.admits() || self.is_held {
            return None;
        }
        let (slow, fast) =
            (self.pace.minute.min(self.pace.five_minutes), self.pace.minute.max(self.pace.five_minutes));
        if slow <= 0.0 {
            return None;
        }
        // No measured burst makes the line faster than its rate allows.
        let fastest = self.rate.map_or(f64::INFINITY, per_second);
        let position = as_f64(position);
        let min = (position / fast.min(fastest)) * (1.0 - SPREAD);
        let max = (position / (slow.min(fastest) * self.guaranteed_share(place))) * (1.0 + SPREAD);
        Some(Wait { min: as_u64(min.floor()), max: as_u64(max.ceil()) })
    }

    /// How long somebody will wait who joins now, behind `ahead` others of everybody's lane: not at all when the
    /// line is empty and there is room.
    pub fn wait_of_a_newcomer(&self, ahead: u64, has_room: bool) -> Option<Wait> {
        let is_let_in = has_room && self.waiting == 0 && self.state.admits() && !self.is_held;
        if is_let_in { Some(Wait { min: 0, max: 0 }) } else { self.estimated_wait(0, ahead + 1) }
    }

    /// When to poll next, in milliseconds; `random` is in 0..1.
    ///
    /// An eighth of the expected wait, between one and thirty seconds, longer when the crowd would
    /// otherwise poll more than its budget, plus up to 30 % jitter; always below a third of what
    /// silence costs the place, and below half of the claim window for who may be let in before.
    pub fn poll_after_ms(&self, place: u64, standing: &Standing, now: DateTime<Utc>, random: f64) -> u64 {
        let (wanted, silence_ms) = match standing {
            Standing::Scheduled => {
                let left = self.opens_at.map_or(TimeDelta::zero(), |at| at - now);
                (as_f64(u64::try_from(left.num_milliseconds()).unwrap_or(0)) / 8.0, 0)
            }
            Standing::Waiting { position } => {
                (self.expected_wait_ms(place, *position) / 8.0, self.waiting_ttl_ms)
            }
            Standing::Active(admission) => {
                let left = (admission.exp * 1000 - now.timestamp_millis()).max(1_000).unsigned_abs();
                (as_f64(left) / 8.0, left)
            }
        };
        let crowd = as_f64(self.in_line) / POLL_BUDGET_PER_SECOND * 1000.0;
        let base = wanted.clamp(SHORTEST_POLL_MS, LONGEST_POLL_MS).max(crowd);
        let mut jittered = base * (1.0 + JITTER * random);
        if let Standing::Waiting { position } = standing
            && self.may_be_let_in_within(jittered, *position)
        {
            jittered = jittered.min(as_f64(self.claim_window_ms) / 2.0);
        }
        let ceiling = if silence_ms == 0 { f64::INFINITY } else { as_f64(silence_ms) / 3.0 - 1.0 };
        as_u64(jittered.min(ceiling))
    }

    /// Whether the rate allows that the person at `position` is let in before so long.
    fn may_be_let_in_within(&self, ms: f64, position: u64) -> bool {
        self.rate.is_none_or(|rate| {
            let windows = 1.0 + ms / (f64::from(rate.every_seconds) * 1000.0);
            as_f64(position) <= f64::from(rate.users) * windows
        })
    }

    fn expected_wait_ms(&self, place: u64, position: u64) -> f64 {
        match (self.estimated_wait(place, position), self.rate) {
            (Some(wait), _) => as_f64(wait.max) * 1000.0,
            (None, Some(rate)) => as_f64(position) / per_second(rate) * 1000.0,
            (None, None) => as_f64(position) * 10.0,
        }
    }
}

fn per_second(rate: Rate) -> f64 {
    f64::from(rate.users) / f64::from(rate.every_seconds)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate; exact up to 2^52")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; an estimate")]
fn as_u64(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(minute: f64, five_minutes: f64) -> Scene {
        Scene {
            now: DateTime::UNIX_EPOCH,
            state: QueueState::Open,
            opens_at: None,
            redirect_url: None,
            waiting: 1_000,
            in_line: 1_000,
            pace: Pace { minute, five_minutes },
            waiting_ttl_ms: 120_000,
            claim_window_ms: 60_000,
            rate: Some(Rate { users: 100, every_seconds: 1 }),
            lanes: Vec::new(),
            is_held: false,
            remaining: None,
            renews: false,
            silence_from: None,
        }
    }

    #[test]
    fn a_wait_is_known_only_from_measured_admissions_of_a_running_queue() {
        assert_eq!(scene(0.0, 0.0).estimated_wait(1, 10), None);
        let paused = Scene { state: QueueState::Paused, ..scene(5.0, 5.0) };
        assert_eq!(paused.estimated_wait(1, 10), None);
        let wait = scene(10.0, 5.0).estimated_wait(1, 100).unwrap();
        assert_eq!(wait, Wait { min: 8, max: 23 });
        // 100 people at 100 per second cannot be let in sooner than in a second.
        assert_eq!(scene(900.0, 900.0).estimated_wait(1, 1000), Some(Wait { min: 8, max: 12 }));
    }

    #[test]
    fn who_joins_an_empty_line_does_not_wait_for_what_was_measured() {
        let idle = Scene { waiting: 0, in_line: 0, ..scene(0.01, 0.01) };
        assert_eq!(idle.wait_of_a_newcomer(0, true), Some(Wait { min: 0, max: 0 }));
        let slow = Some(Wait { min: 85, max: 115 });
        assert_eq!(idle.wait_of_a_newcomer(0, false), slow);
        assert_eq!(scene(0.01, 0.01).wait_of_a_newcomer(0, true), slow);
        for nobody in [Scene { state: QueueState::Paused, ..idle.clone() }, Scene { is_held: true, ..idle }] {
            assert_eq!(nobody.wait_of_a_newcomer(0, true), None);
        }
    }

    #[test]
    fn a_lane_waits_by_its_share_at_the_most() {
        let lanes = vec![Lane { lane: "vip".into(), share_percent: 50 }];
        let scene = Scene { lanes, ..scene(10.0, 10.0) };
        assert_eq!(scene.estimated_wait(LANE + 1, 100), Some(Wait { min: 8, max: 23 }));
        assert_eq!((scene.lane_name(1), scene.lane_name(LANE + 1)), (None, Some("vip")));
    }

    #[test]
    fn who_is_far_back_polls_rarely_and_nobody_later_than_a_third_of_silence() {
        let scene = scene(10.0, 10.0);
        let poll =
            |position, random| scene.poll_after_ms(1, &Standing::Waiting { position }, scene.now, random);
        assert_eq!(poll(1, 0.0), 1_000);
        assert!(poll(1_000_000, 0.0) >= 30_000);
        assert!(poll(1_000_000, 0.999) < 40_000);
        for ttl in [1_000, 2_000, 120_000] {
            let scene = Scene { waiting_ttl_ms: ttl, ..scene.clone() };
            for position in [1, 50, 1_000_000] {
                assert!(scene.poll_after_ms(1, &Standing::Waiting { position }, scene.now, 0.999) < ttl / 3);
            }
        }
    }

    #[test]
    fn a_million_people_stay_within_the_budget() {
        let scene =
            Scene { in_line: 1_000_000, waiting_ttl_ms: 0, claim_window_ms: 600_000, ..scene(1e9, 1e9) };
        assert!(scene.poll_after_ms(1, &Standing::Waiting { position: 1 }, scene.now, 0.0) >= 40_000);
        assert!(scene.poll_after_ms(1, &Standing::Scheduled, scene.now, 0.0) >= 40_000);
    }

    #[test]
    fn who_may_be_let_in_polls_within_the_claim_window() {
        let rate = Some(Rate { users: 1, every_seconds: 60 });
        let scene = Scene { rate, claim_window_ms: 3_000, ..scene(0.0, 0.0) };
        assert!(scene.poll_after_ms(1, &Standing::Waiting { position: 1 }, scene.now, 0.999) <= 1_500);
        assert!(scene.poll_after_ms(1, &Standing::Waiting { position: 9 }, scene.now, 0.0) > 1_500);
    }

    #[test]
    fn an_active_person_polls_before_the_token_ends_however_often_it_was_renewed() {
        let scene = scene(1.0, 1.0);
        let admission = Admission { jti: "j".into(), admitted_at: DateTime::UNIX_EPOCH, iat: -500, exp: 20 };
        assert!(scene.poll_after_ms(1, &Standing::Active(admission), scene.now, 0.999) < 20_000 / 3);
    }
}

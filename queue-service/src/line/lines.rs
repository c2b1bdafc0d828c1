//! The lines of a queue as one replica sees them. No I/O, no clock.
//!
//! ```text
//!   departures, each with its moment ─▶ now:  who is in line (membership)
//!                └── waiting for the horizon ─▶ then: how many were before whom (positions)
//! ```
//!
//! All replicas show positions as they were at the same moment, the horizon, so that a person who asks
//! one after the other never sees a position rise. Membership is as fresh as it can be: who has just
//! left, or was let in, must not hear that they wait.

use std::collections::VecDeque;

use super::feed::{Departure, LaneNumbers, Move};
use super::gone::Gone;
use super::lottery::Draw;
use super::model::lane_of;
use crate::keys::{LANE, SEEN_CHUNK};

/// Everybody's, and seven that may be named.
const MOST_LANES: usize = 8;

/// The lines, lane by lane.
#[derive(Debug, Default)]
pub struct Lines {
    lanes: Vec<Lane>,
    pending: VecDeque<(i64, Change)>,
}

#[derive(Debug, Default)]
struct Lane {
    now: Gone,
    then: Gone,
    /// The last number that was handed out, as far as was heard.
    last: u64,
    /// Numbers up to this one have their places by lot.
    drawn: u64,
    draw: Option<Draw>,
}

#[derive(Debug)]
enum Change {
    Moves(Vec<Move>),
    /// Chunks before this one are of no use any more.
    Floor {
        lane: usize,
        floor: u64,
    },
}

impl Lines {
    /// Begins with what is gone at present; `recent` are departures that it may contain already, oldest
    /// first. What lies behind the horizon of them is taken back.
    pub fn new(gone: Vec<Gone>, recent: &[Departure], horizon_ms: i64) -> Self {
        let mut lines = Self::default();
        lines.lanes.extend(gone.into_iter().map(|gone| Lane {
            then: gone.clone(),
            now: gone,
            ..Lane::default()
        }));
        lines.lanes.resize_with(MOST_LANES, Lane::default);
        for departure in recent.iter().rev().filter(|departure| departure.at_ms > horizon_ms) {
            departure.moves.iter().rev().for_each(|step| lines.take_back(*step));
        }
        for departure in recent {
            lines.hear(departure);
        }
        for lane in &mut lines.lanes {
            lane.then.count();
        }
        lines
    }

    fn take_back(&mut self, step: Move) {
        let (place, is_gone) = match step {
            Move::Gone(place) => (place, false),
            Move::Back(place) => (place, true),
            // Nobody of that line is told a position any more.
            Move::GoneThrough(_) | Move::GoneBetween(..) => return,
        };
        if let Some(lane) = self.lanes.get_mut(lane_of(place)) {
            lane.then.set(place % LANE, is_gone);
        }
    }

    /// Takes note of a departure: at once for membership, at its time for positions.
    pub fn hear(&mut self, departure: &Departure) {
        for step in &departure.moves {
            if let Some(lane) = self.lanes.get_mut(lane_of(step.place())) {
                step.apply(&mut lane.now);
                // Nobody was ever there: who joins behind it must not be told that they wait behind thousands.
                if matches!(step, Move::GoneBetween(..)) {
                    step.apply(&mut lane.then);
                    lane.then.count();
                }
            }
        }
        self.pending.push_back((departure.at_ms, Change::Moves(departure.moves.clone())));
    }

    /// Takes note of how far the lanes have come at `at_ms`.
    pub fn hear_numbers(&mut self, at_ms: i64, numbers: &[LaneNumbers]) {
        for (index, numbers) in numbers.iter().enumerate().take(MOST_LANES) {
            let lane = &mut self.lanes[index];
            (lane.last, lane.drawn) = (lane.last.max(numbers.last), numbers.drawn);
            if numbers.floor > self.lanes[index].now.floor() {
                self.lanes[index].now.raise_floor(numbers.floor);
                self.pending.push_back((at_ms, Change::Floor { lane: index, floor: numbers.floor }));
            }
        }
    }

    /// Whether positions would change if the horizon were there.
    pub fn lags_behind(&self, horizon_ms: i64) -> bool {
        self.pending.front().is_some_and(|(at_ms, _)| *at_ms <= horizon_ms)
    }

    /// Moves the horizon on. It cannot go back: what has been counted stays counted.
    pub fn advance(&mut self, horizon_ms: i64) {
        while let Some((_, change)) = self.pending.pop_front_if(|(at_ms, _)| *at_ms <= horizon_ms) {
            match change {
                Change::Moves(moves) => {
                    for step in moves {
                        if let Some(lane) = self.lanes.get_mut(lane_of(step.place())) {
                            step.apply(&mut lane.then);
                            match (&mut lane.draw, step) {
                                (Some(draw), Move::Gone(place)) => draw.set(place % LANE, true),
                                (Some(draw), Move::Back(place)) => draw.set(place % LANE, false),
                                _ => {}
                            }
                        }
                    }
                }
                Change::Floor { lane, floor } => self.lanes[lane].then.raise_floor(floor),
            }
        }
        for lane in &mut self.lanes {
            lane.then.count();
            lane.draw.as_mut().map(Draw::count);
        }
    }

    /// Whether the place is in line, as far as was heard. One that was never handed out is not.
    pub fn has(&self, place: u64) -> bool {
        let number = place % LANE;
        self.lanes.get(lane_of(place)).is_some_and(|lane| number <= lane.last && !lane.now.contains(number))
    }

    /// Whether it was heard that the place has left the line; so it is for one outside of every lane.
    pub fn has_left(&self, place: u64) -> bool {
        self.lanes.get(lane_of(place)).is_none_or(|lane| lane.now.contains(place % LANE))
    }

    /// Whether a place is so far beyond what was heard of that there must be a gap between.
    pub fn is_beyond_a_gap(&self, place: u64) -> bool {
        self.lanes.get(lane_of(place)).is_some_and(|lane| place % LANE > lane.last + SEEN_CHUNK / 2)
    }

    /// Whether a place is beyond what was heard of.
    pub fn is_news(&self, place: u64) -> bool {
        self.lanes.get(lane_of(place)).is_some_and(|lane| place % LANE > lane.last)
    }

    /// The place was handed out.
    pub fn hear_place(&mut self, place: u64) {
        if let Some(lane) = self.lanes.get_mut(lane_of(place)) {
            lane.last = lane.last.max(place % LANE);
        }
    }

    /// Whether the place has left the line and positions do not show it yet.
    pub fn is_pending(&self, place: u64) -> bool {
        let is_pending = |lane: &Lane| lane.now.contains(place % LANE) && !lane.then.contains(place % LANE);
        self.lanes.get(lane_of(place)).is_some_and(is_pending)
    }

    /// How many were before a place that is in line, plus one. `None`: not known yet.
    pub fn position(&self, place: u64) -> Option<u64> {
        let lane = self.lanes.get(lane_of(place))?;
        let number = place % LANE;
        match &lane.draw {
            Some(draw) if draw.has(number) => draw.position(number),
            _ if number <= lane.drawn => None,
            _ => Some(number - lane.then.before(number)),
        }
    }

    /// The numbers of a lane's draw that still count: from the first to `drawn`, when it is not known yet.
    pub fn undrawn(&self, lane: usize, drawn: u64) -> Option<std::ops::RangeInclusive<u64>> {
        let kept = self.lanes.get(lane)?;
        let first = (kept.then.floor() * SEEN_CHUNK).max(1);
        (first <= drawn && kept.draw.as_ref().is_none_or(|draw| !draw.has(drawn))).then_some(first..=drawn)
    }

    /// Takes a draw over.
    pub fn draw(&mut self, lane: usize, mut draw: Draw) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        for number in draw.numbers() {
            draw.set(number, lane.then.contains(number));
        }
        draw.count();
        lane.draw = Some(draw);
    }

    /// There is no draw any more.
    pub fn forget_draws(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.draw = None);
    }
}

impl Move {
    fn place(self) -> u64 {
        match self {
            Self::Gone(place)
            | Self::GoneThrough(place)
            | Self::Back(place)
            | Self::GoneBetween(_, place) => place,
        }
    }

    fn apply(self, gone: &mut Gone) {
        match self {
            Self::Gone(place) => gone.set(place % LANE, true),
            Self::GoneThrough(place) => gone.set_through(place % LANE),
            Self::GoneBetween(first, last) => (first..=last).for_each(|place| gone.set(place % LANE, true)),
            Self::Back(place) => gone.set(place % LANE, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departure(at_ms: i64, moves: &[Move]) -> Departure {
        Departure { id: format!("{at_ms}-0"), at_ms, moves: moves.to_vec(), slots_ended: Vec::new() }
    }

    fn numbers(last: u64) -> LaneNumbers {
        LaneNumbers { last, floor: 0, drawn: 0 }
    }

    #[test]
    fn membership_is_fresh_and_positions_are_of_the_horizon() {
        let mut lines = Lines::new(vec![Gone::default()], &[], 100);
        lines.hear_numbers(100, &[numbers(9)]);
        lines.hear(&departure(150, &[Move::Gone(1), Move::Gone(3)]));
        assert_eq!((lines.has(1), lines.has(2), lines.position(4)), (false, true, Some(4)));
        assert!(!lines.lags_behind(149) && lines.lags_behind(150));
        lines.advance(150);
        assert_eq!((lines.position(2), lines.position(4)), (Some(1), Some(2)));
    }

    #[test]
    fn a_view_that_begins_shows_what_one_that_was_there_shows() {
        let events = [departure(100, &[Move::Gone(1)]), departure(200, &[Move::Gone(2), Move::Gone(4)])];
        let mut gone = Gone::default();
        for number in [1, 2, 4] {
            gone.set(number, true);
        }
        let mut lines = Lines::new(vec![gone], &events, 150);
        lines.hear_numbers(150, &[numbers(9)]);
        assert_eq!(
            (lines.has(4), lines.has(9), lines.has(10), lines.position(5)),
            (false, true, false, Some(4))
        );
        lines.advance(200);
        assert_eq!(lines.position(5), Some(2));
    }

    #[test]
    fn until_the_draw_is_known_nobody_drawn_has_a_position() {
        let mut lines = Lines::new(vec![Gone::default()], &[], 0);
        lines.hear_numbers(1, &[LaneNumbers { last: 6, floor: 0, drawn: 5 }]);
        assert_eq!((lines.has(5), lines.position(5), lines.position(6)), (true, None, Some(6)));
        lines.draw(0, Draw::new("seed", 1..=5));
        let mut positions: Vec<_> = (1..=5).map(|number| lines.position(number)).collect();
        positions.sort_unstable();
        assert_eq!(positions, [Some(1), Some(2), Some(3), Some(4), Some(5)]);
    }

    #[test]
    fn a_gap_counts_at_once() {
        let mut lines = Lines::new(vec![Gone::default()], &[], 0);
        lines.hear_numbers(0, &[numbers(2)]);
        assert!(lines.is_beyond_a_gap(70_000));
        lines.hear(&departure(500, &[Move::GoneBetween(3, 69_999)]));
        lines.hear_place(70_000);
        assert_eq!((lines.position(70_000), lines.has(70_000), lines.has(3)), (Some(3), true, false));
        assert!(!lines.is_beyond_a_gap(70_001));
    }

    #[test]
    fn lanes_are_lines_of_their_own() {
        let mut lines = Lines::new(vec![Gone::default(), Gone::default()], &[], 0);
        lines.hear_numbers(0, &[numbers(9), numbers(9)]);
        lines.hear(&departure(1, &[Move::Gone(LANE + 1), Move::GoneThrough(2)]));
        lines.advance(1);
        assert_eq!((lines.position(3), lines.position(LANE + 3)), (Some(1), Some(2)));
        assert_eq!((lines.has(2), lines.has(LANE + 2), lines.has(15 * LANE + 1)), (false, true, false));
    }
}

//! The lines of the model: one a lane, in the order in which people are let in.

use std::collections::BTreeMap;

use crate::keys::LANE;
use crate::line::lottery::lot;
use crate::queues::settings::Lane;

/// What orders a line: those drawn by lot come first, the others by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Drawn { lot: u32, number: u64 },
    ByNumber(u64),
}

impl Rank {
    pub fn drawn(seed: &str, number: u64) -> Self {
        Self::Drawn { lot: lot(seed, number), number }
    }

    fn number(self) -> u64 {
        match self {
            Self::Drawn { number, .. } | Self::ByNumber(number) => number,
        }
    }
}

/// Somebody in line.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: String,
    pub seen: i64,
}

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub lane: usize,
    pub rank: Rank,
}

impl Spot {
    pub fn place(self) -> u64 {
        self.lane as u64 * LANE + self.rank.number()
    }
}

/// One lane.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub people: BTreeMap<Rank, Person>,
    /// The last number handed out.
    pub last: u64,
    pub closed_through: u64,
    /// How much of its share the lane has had.
    turn: u64,
}

/// All lanes, everybody's first.
#[derive(Clone, Debug)]
pub struct Lines {
    pub lanes: Vec<Line>,
    /// Of the last admission, before it.
    turns: u64,
    /// The share of each lane that was ever named, everybody's first.
    weights: Vec<u64>,
}

impl Lines {
    pub fn new() -> Self {
        Self { lanes: vec![Line::default(); 8], turns: 0, weights: vec![100] }
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.people.is_empty())
    }

    pub fn len(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.people.len() as u64).sum()
    }

    pub fn all(&self) -> impl Iterator<Item = (Spot, &Person)> {
        self.lanes.iter().enumerate().flat_map(|(lane, line)| {
            line.people.iter().map(move |(rank, person)| (Spot { lane, rank: *rank }, person))
        })
    }

    pub fn find(&self, user: &str) -> Option<Spot> {
        self.all().find(|(_, person)| person.user == user).map(|(spot, _)| spot)
    }

    pub fn person(&mut self, spot: Spot) -> &mut Person {
        self.lanes[spot.lane].people.get_mut(&spot.rank).unwrap()
    }

    pub fn position(&self, spot: Spot) -> u64 {
        self.lanes[spot.lane].people.range(..spot.rank).count() as u64 + 1
    }

    pub fn remove(&mut self, spot: Spot) {
        self.lanes[spot.lane].people.remove(&spot.rank);
    }

    /// A new number in a lane; drawn by lot when there is a seed for it.
    pub fn add(&mut self, lane: usize, user: &str, seed: Option<&str>) -> Spot {
        let has_lanes = self.weights.len() > 1;
        let turns = self.turns;
        let own = &mut self.lanes[lane];
        if own.people.is_empty() && has_lanes {
            own.turn = own.turn.max(turns);
        }
        own.last += 1;
        let rank = seed.map_or(Rank::ByNumber(own.last), |seed| Rank::drawn(seed, own.last));
        own.people.insert(rank, Person { user: user.to_owned(), seen: 0 });
        Spot { lane, rank }
    }

    /// Who is next: the front of the lane that had least of its share.
    pub fn next(&self) -> Option<Spot> {
        let fronts = self.lanes.iter().enumerate().filter(|(_, line)| !line.people.is_empty());
        let (lane, own) = fronts.min_by_key(|(number, own)| (own.turn, *number))?;
        Some(Spot { lane, rank: *own.people.keys().next()? })
    }

    /// Gives the lanes their shares; one that is not named any more has the least.
    pub fn name(&mut self, named: &[Lane]) {
        let shares: Vec<u64> = named.iter().map(|lane| lane.share_percent.into()).collect();
        let ever = self.weights.len().max(named.len() + 1);
        self.weights = [100 - shares.iter().sum::<u64>()].into_iter().chain(shares).collect();
        self.weights.resize(ever, 1);
    }

    /// No lane sits out a longer turn than that of its present share.
    pub fn shorten_turns(&mut self) {
        if self.weights.len() > 1 {
            for (own, weight) in self.lanes.iter_mut().zip(&self.weights) {
                own.turn = own.turn.min(self.turns + 1_000_000 / weight);
            }
        }
    }

    /// The lane has had one admission.
    pub fn count_turn(&mut self, lane: usize) {
        if self.weights.len() > 1 {
            self.turns = self.lanes[lane].turn;
            self.lanes[lane].turn += 1_000_000 / self.weights[lane];
        }
    }
}

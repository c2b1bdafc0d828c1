//! The feed: what a replica hears of the line to keep its view, and what it gives back.

mod store;

use tokio::time::Instant;

use super::model::{Admission, Scene};

pub use store::{MOST_DEPARTURES, beat, follow, gone, regain, seen};

/// What a replica has so far.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Id of the last departure; empty = it begins.
    pub last: String,
    /// Version of the settings.
    pub version: String,
}

/// What happened since.
#[derive(Debug)]
pub struct News {
    pub scene: Scene,
    pub asked_at: Instant,
    /// Other replicas that follow.
    pub others: u64,
    /// The others may not have known of this replica.
    pub is_newcomer: bool,
    pub lanes: Vec<LaneNumbers>,
    pub departures: Vec<Departure>,
    /// Fields and values, when the version differs.
    pub settings: Vec<String>,
}

/// How far one lane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneNumbers {
    pub last: u64,
    /// The first chunk that counts; all before are gone.
    pub floor: u64,
    /// Numbers up to this one were drawn by lot.
    pub drawn: u64,
}

/// What one call of a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    pub id: String,
    pub at_ms: i64,
    pub moves: Vec<Move>,
    /// Places whose slots were given up.
    pub slots_ended: Vec<u64>,
}

/// What became of places in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Gone(u64),
    /// All of the place's lane, up to it.
    GoneThrough(u64),
    /// From the first to the last: never to be handed out.
    GoneBetween(u64, u64),
    /// Lost and proven.
    Back(u64),
}

type Event = (String, String, String);

impl Departure {
    fn parse((id, gone, ended): Event) -> Option<Self> {
        let at_ms = id.split_once('-')?.0.parse().ok()?;
        let one = |word: &str| match word.as_bytes().first()? {
            b'<' => word[1..].parse().ok().map(Move::GoneThrough),
            b'+' => word[1..].parse().ok().map(Move::Back),
            _ => match word.split_once('-') {
                Some((first, last)) => Some(Move::GoneBetween(first.parse().ok()?, last.parse().ok()?)),
                None => word.parse().ok().map(Move::Gone),
            },
        };
        let slot = |word: &str| word.split(['@', '!']).next()?.parse().ok();
        Some(Self {
            at_ms,
            moves: gone.split_whitespace().filter_map(one).collect(),
            slots_ended: ended.split_whitespace().filter_map(slot).collect(),
            id,
        })
    }
}

/// An admission that this replica has told somebody of.
#[derive(Clone, Debug)]
pub struct Claim {
    pub user: String,
    pub place: u64,
    pub admission: Admission,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_departure_says_who_left_who_is_back_and_which_slots_ended() {
        let event =
            ("1790000000007-3".to_owned(), "5 <9 +7 11-14".to_owned(), "3@1790000000000 4!".to_owned());
        let moves = vec![Move::Gone(5), Move::GoneThrough(9), Move::Back(7), Move::GoneBetween(11, 14)];
        let told = Departure::parse(event).unwrap();
        assert_eq!((told.at_ms, told.moves, told.slots_ended), (1_790_000_000_007, moves, vec![3, 4]));
    }
}

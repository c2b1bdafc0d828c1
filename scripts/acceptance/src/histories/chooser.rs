//! What clients wish: random, but of what their user knows, so that most wishes meet something.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use super::history::{Answer, Outcome, Wish};

/// What there is to wish for.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Numbered from 1.
    pub seats: i32,
    /// Of these, from 1, as many are wanted by half of all holds.
    pub hot: i32,
    pub most_seats: usize,
    /// The most points of a charge; a use has at most half of it.
    pub most_points: i64,
}

/// What a user knows of what is theirs.
#[derive(Clone, Debug, Default)]
pub struct Pocket {
    held: Vec<Uuid>,
    /// Held too, and left alone for a while: some are asked for shortly before, some after their deadline.
    late: Vec<Uuid>,
    paid: Vec<Uuid>,
    /// Reservations and payments that have ended; asked about now and then.
    ended: Vec<Uuid>,
    refunded: Vec<Uuid>,
}

const REMEMBERED: usize = 12;

impl Pocket {
    /// Learns from an answer.
    pub fn hear(&mut self, wish: &Wish, outcome: &Outcome) {
        match (wish, outcome) {
            (Wish::Hold { .. }, Outcome::Ok(Answer::Held(held))) if held.id.as_u128() % 4 == 0 => {
                remember(&mut self.late, held.id);
            }
            (Wish::Hold { .. }, Outcome::Ok(Answer::Held(held))) => self.held.push(held.id),
            (Wish::Pay { reservation }, Outcome::Ok(Answer::Paid { payment, .. })) => {
                self.end(*reservation);
                self.paid.push(*payment);
            }
            (Wish::Pay { reservation }, Outcome::Refused { code, .. }) if code != "insufficient_points" => {
                self.end(*reservation);
            }
            (Wish::Release { reservation }, Outcome::Ok(_) | Outcome::Refused { .. }) => {
                self.end(*reservation);
            }
            (Wish::Refund { payment }, Outcome::Ok(_) | Outcome::Refused { .. }) => {
                self.paid.retain(|known| known != payment);
                remember(&mut self.refunded, *payment);
            }
            _ => {}
        }
    }

    /// One of its reservations, for others to try their hands at.
    pub fn any(&self) -> Option<Uuid> {
        self.held.last().or(self.ended.last()).copied()
    }

    fn end(&mut self, reservation: Uuid) {
        self.held.retain(|known| *known != reservation);
        self.late.retain(|known| *known != reservation);
        remember(&mut self.ended, reservation);
    }
}

fn remember(list: &mut Vec<Uuid>, id: Uuid) {
    if !list.contains(&id) {
        list.push(id);
    }
    if list.len() > REMEMBERED {
        list.remove(0);
    }
}

/// The wishes of one client, and its other whims.
pub struct Chooser {
    random: StdRng,
    shape: Shape,
}

impl Chooser {
    /// The same seed and answers make the same wishes.
    pub fn new(seed: u64, shape: Shape) -> Self {
        Self { random: StdRng::seed_from_u64(seed), shape }
    }

    /// The next wish of a user who has `pocket`; `foreign` is a reservation of somebody else.
    pub fn next(&mut self, pocket: &Pocket, foreign: Option<Uuid>) -> Wish {
        let eager = u32::try_from(pocket.paid.len() * 3).unwrap_or(u32::MAX).min(24);
        let many = |list: &[Uuid], weight| if list.is_empty() { 0 } else { weight };
        let weights = [
            26,
            many(&pocket.held, 24),
            many(&pocket.held, 7),
            eager,
            6,
            9,
            many(&pocket.held, 10) + many(&pocket.ended, 4),
            28,
            3,
            16,
            many(&pocket.ended, 2),
            many(&pocket.ended, 1),
            many(&pocket.refunded, 1),
            2 * u32::from(foreign.is_some()),
            many(&pocket.late, 5),
            many(&pocket.late, 2),
            many(&pocket.late, 3),
        ];
        let mut drawn = self.random.random_range(0..weights.iter().sum());
        let mut choice = 0;
        while drawn >= weights[choice] {
            drawn -= weights[choice];
            choice += 1;
        }
        match choice {
            1 => Wish::Pay { reservation: self.one(&pocket.held) },
            2 => Wish::Release { reservation: self.one(&pocket.held) },
            3 => Wish::Refund { payment: self.one(&pocket.paid) },
            4 => Wish::Charge { amount: self.random.random_range(1..=self.shape.most_points) },
            5 => Wish::Use { amount: self.random.random_range(1..=self.shape.most_points / 2) },
            6 => {
                let known = [&pocket.held[..], &pocket.ended[..]].concat();
                Wish::ReadReservation { reservation: self.one(&known) }
            }
            7 => Wish::ReadBalance,
            8 => Wish::ReadMap,
            9 => Wish::ReadHistory,
            10 => Wish::Pay { reservation: self.one(&pocket.ended) },
            11 => Wish::Release { reservation: self.one(&pocket.ended) },
            12 => Wish::Refund { payment: self.one(&pocket.refunded) },
            13 => Wish::Pay { reservation: foreign.unwrap_or_default() },
            14 => Wish::Pay { reservation: self.one(&pocket.late) },
            15 => Wish::Release { reservation: self.one(&pocket.late) },
            16 => Wish::ReadReservation { reservation: self.one(&pocket.late) },
            _ => Wish::Hold { seats: self.seats() },
        }
    }

    fn seats(&mut self) -> Vec<i32> {
        let wanted = self.random.random_range(1..=self.shape.most_seats);
        let hot = self.random.random_bool(0.5);
        let mut seats = Vec::with_capacity(wanted);
        while seats.len() < wanted {
            // The first may be hot, the others are near it or anywhere.
            let number = if hot && (seats.is_empty() || self.random.random_bool(0.5)) {
                self.random.random_range(1..=self.shape.hot)
            } else {
                self.random.random_range(1..=self.shape.seats)
            };
            if !seats.contains(&number) {
                seats.push(number);
            }
        }
        seats
    }

    fn one(&mut self, of: &[Uuid]) -> Uuid {
        of.choose(&mut self.random).copied().unwrap_or_default()
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: f64) -> bool {
        self.random.random_bool(percent / 100.0)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.random.random_range(0..limit)
    }
}

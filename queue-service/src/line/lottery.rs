//! The order of those who were drawn: a pure function of seed and number. docs/FAIRNESS.md says it in words.

use std::ops::RangeInclusive;

use aws_lc_rs::digest;

use super::gone::Gone;

/// The lot of a number: the first six hexadecimal digits of SHA-1 over `<seed>:<number>`.
pub fn lot(seed: &str, number: u64) -> u32 {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{seed}:{number}").as_bytes());
    let bytes = digest.as_ref();
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

/// The numbers in the order of the draw: the smaller lot first, of equal lots the smaller number.
pub fn order(seed: &str, numbers: RangeInclusive<u64>) -> Vec<u64> {
    let mut drawn: Vec<(u32, u64)> = numbers.map(|number| (lot(seed, number), number)).collect();
    drawn.sort_unstable();
    drawn.into_iter().map(|(_, number)| number).collect()
}

/// Who is before whom among those who were drawn.
#[derive(Debug)]
pub struct Draw {
    first: u64,
    /// Where each number stands, from `first` on; 1 is the front.
    ranks: Vec<u32>,
    gone: Gone,
}

impl Draw {
    /// Draws; a million numbers take about a second of a core.
    pub fn new(seed: &str, numbers: RangeInclusive<u64>) -> Self {
        let first = *numbers.start();
        let order = order(seed, numbers);
        let mut ranks = vec![0; order.len()];
        for (rank, number) in (1..).zip(order) {
            if let Some(at) = usize::try_from(number - first).ok().and_then(|at| ranks.get_mut(at)) {
                *at = rank;
            }
        }
        Self { first, ranks, gone: Gone::default() }
    }

    /// Whether the number was drawn.
    pub fn has(&self, number: u64) -> bool {
        self.rank(number).is_some()
    }

    /// Everybody who was drawn.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.ranks.len() as u64
    }

    /// The number has left the line (or is back).
    pub fn set(&mut self, number: u64, is_gone: bool) {
        if let Some(rank) = self.rank(number) {
            self.gone.set(rank, is_gone);
        }
    }

    /// Makes the counts right again after [`Draw::set`].
    pub fn count(&mut self) {
        self.gone.count();
    }

    /// How many of those drawn are in line before the number, plus one.
    pub fn position(&self, number: u64) -> Option<u64> {
        let rank = self.rank(number)?;
        Some(rank - self.gone.before(rank))
    }

    fn rank(&self, number: u64) -> Option<u64> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.ranks.get(at).copied().map(u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_lots_and_positions_follow_it() {
        let order = order("seed", 5..=104);
        assert!(order.is_sorted_by_key(|number| (lot("seed", *number), *number)));
        let mut draw = Draw::new("seed", 5..=104);
        let position = |draw: &Draw, at: usize| draw.position(order[at]);
        assert_eq!((position(&draw, 0), position(&draw, 99), draw.position(4)), (Some(1), Some(100), None));
        draw.set(order[0], true);
        draw.set(order[50], true);
        draw.count();
        assert_eq!((position(&draw, 1), position(&draw, 99)), (Some(1), Some(98)));
    }

    #[test]
    fn a_lot_is_what_a_shell_computes() {
        // printf %s abc:7 | sha1sum | cut -c 1-6
        assert_eq!(lot("abc", 7), 0x001a_af61);
    }
}

//! Which numbers of a lane have left the line: a bit each, with counts, so that how many people are
//! before a number is one look-up, a few machine words and no search. No I/O, no clock.
//!
//! Numbers are handed out 1, 2, 3, … without a hole, so who is in line is known by who is not: a
//! number that was never heard of counts as in line, and a count of those before can only fall.
//!
//! The layout is a rank structure over a bitmap (Jacobson, 1989): words of 64, and for each block of
//! eight words how many bits are set before it. Strings of [`SEEN_CHUNK`] numbers come and go whole.

use std::collections::VecDeque;

use crate::keys::SEEN_CHUNK;

const WORD: u64 = 64;
const BLOCK_WORDS: usize = 8;
const CHUNK_WORDS: usize = (SEEN_CHUNK / WORD) as usize;
const CHUNK_BLOCKS: usize = CHUNK_WORDS / BLOCK_WORDS;

/// The numbers of one lane that are not in line any more.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// Everything below this chunk is gone.
    floor: u64,
    words: VecDeque<u64>,
    /// Bits set before each block, from `floor` on.
    before: VecDeque<u32>,
    /// The first block whose successors' counts are not right.
    stale_from: Option<usize>,
}

impl Gone {
    /// Everything below chunk `floor` is gone, nothing else.
    pub fn from_floor(floor: u64) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Takes a chunk over as Redis keeps it: bit 0 is the highest of the first byte.
    pub fn load(&mut self, chunk: u64, bytes: &[u8]) {
        for (at, eight) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            // The first word of all begins with 0, which is no number.
            let within = chunk * SEEN_CHUNK + at as u64 * WORD + 1;
            if let Some(index) = self.index(within) {
                let no_number = u64::from(within == 1);
                self.words[index] = u64::from_be_bytes(word).reverse_bits() & !no_number;
                self.mark_stale(index);
            }
        }
    }

    /// The first chunk that is kept.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Lets go of the chunks below `floor`: all of them are gone.
    pub fn raise_floor(&mut self, floor: u64) {
        while self.floor < floor {
            let kept = CHUNK_WORDS.min(self.words.len());
            self.words.drain(..kept);
            self.before.drain(..CHUNK_BLOCKS.min(self.before.len()));
            self.floor += 1;
        }
        self.stale_from = Some(0);
    }

    /// `number` has left the line (or is back).
    pub fn set(&mut self, number: u64, is_gone: bool) {
        let Some(index) = self.index(number) else { return };
        let bit = 1 << (number % WORD);
        let word = self.words[index];
        self.words[index] = if is_gone { word | bit } else { word & !bit };
        self.mark_stale(index);
    }

    /// Everything up to and including `number` has left the line.
    pub fn set_through(&mut self, number: u64) {
        self.raise_floor((number + 1) / SEEN_CHUNK);
        for number in self.floor * SEEN_CHUNK..=number {
            self.set(number, true);
        }
    }

    /// Whether `number` has left the line, as far as was heard.
    pub fn contains(&self, number: u64) -> bool {
        let Some(offset) = number.checked_sub(self.floor * SEEN_CHUNK) else { return true };
        self.words.get((offset / WORD) as usize).is_some_and(|word| word >> (offset % WORD) & 1 == 1)
    }

    /// Makes the counts right again; needed before [`Gone::before`] after any change.
    pub fn count(&mut self) {
        let Some(first) = self.stale_from.take() else { return };
        let blocks = self.words.len().div_ceil(BLOCK_WORDS);
        self.before.resize(blocks, 0);
        let words = self.words.make_contiguous();
        let mut sum = if first == 0 {
            0
        } else {
            self.before[first - 1] + ones(&words[(first - 1) * BLOCK_WORDS..first * BLOCK_WORDS])
        };
        for block in first..blocks {
            self.before[block] = sum;
            let end = words.len().min((block + 1) * BLOCK_WORDS);
            sum += ones(&words[block * BLOCK_WORDS..end]);
        }
    }

    /// How many numbers from 1 up to but without `number` have left the line.
    pub fn before(&self, number: u64) -> u64 {
        // 0 is no number.
        let below = (self.floor * SEEN_CHUNK).saturating_sub(1);
        let Some(offset) = number.checked_sub(self.floor * SEEN_CHUNK) else { return number - 1 };
        let index = (offset / WORD) as usize;
        let block = index / BLOCK_WORDS;
        let Some(&before) = self.before.get(block) else { return below + self.all() };
        let whole: u32 =
            (block * BLOCK_WORDS..index).filter_map(|at| self.words.get(at)).map(|w| w.count_ones()).sum();
        let part = self.words.get(index).map_or(0, |word| (word & ((1 << (offset % WORD)) - 1)).count_ones());
        below + u64::from(before + whole + part)
    }

    fn all(&self) -> u64 {
        let Some(&before) = self.before.back() else { return 0 };
        let last = (self.before.len() - 1) * BLOCK_WORDS;
        u64::from(before + self.words.range(last..).map(|word| word.count_ones()).sum::<u32>())
    }

    /// Where the word of `number` is; room is made for it. `None`: below the floor, or no number.
    fn index(&mut self, number: u64) -> Option<usize> {
        if number == 0 {
            return None;
        }
        let index = (number.checked_sub(self.floor * SEEN_CHUNK)? / WORD) as usize;
        if index >= self.words.len() {
            self.mark_stale(self.words.len().saturating_sub(1));
            self.words.resize((index / CHUNK_WORDS + 1) * CHUNK_WORDS, 0);
        }
        Some(index)
    }

    fn mark_stale(&mut self, index: usize) {
        let block = index / BLOCK_WORDS;
        self.stale_from = Some(self.stale_from.map_or(block, |first| first.min(block)));
    }
}

fn ones(words: &[u64]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn counts_are_those_of_a_plain_set_whatever_happens() {
        for seed in 0..4 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut gone = Gone::default();
            let mut plain = BTreeSet::new();
            for _ in 0..200 {
                let number = random.random_range(1..200_000);
                match random.random_range(0..40) {
                    0 => {
                        let floor = (gone.floor() + random.random_range(0..2)).min(2);
                        plain.extend(1..floor * SEEN_CHUNK);
                        gone.raise_floor(floor);
                    }
                    1 => {
                        let through = number / 20;
                        plain.extend(1..=through);
                        gone.set_through(through);
                    }
                    2..5 if number >= gone.floor() * SEEN_CHUNK => {
                        plain.remove(&number);
                        gone.set(number, false);
                    }
                    _ => {
                        plain.insert(number);
                        gone.set(number, true);
                    }
                }
                gone.count();
                let asked = random.random_range(1..300_000);
                assert_eq!(gone.before(asked), plain.range(..asked).count() as u64, "seed {seed}, {asked}");
                assert_eq!(gone.contains(asked), plain.contains(&asked), "seed {seed}, {asked}");
            }
        }
    }

    #[test]
    fn a_chunk_is_read_as_redis_writes_it() {
        let mut gone = Gone::default();
        // SETBIT 1, 9 and 65.
        gone.load(0, &[0x40, 0x40, 0, 0, 0, 0, 0, 0, 0x40]);
        gone.count();
        let set: Vec<u64> = (0..100).filter(|number| gone.contains(*number)).collect();
        assert_eq!(set, [1, 9, 65]);
        assert_eq!((gone.before(1), gone.before(10), gone.before(66), gone.before(1_000_000)), (0, 2, 3, 3));
    }
}

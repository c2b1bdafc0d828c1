//! Signs of life: when each place was last polled, as this replica knows it.
//!
//! ```text
//!   poll ─▶ mark (memory) ─▶ every 200 ms: beat.lua, one command for many ─▶ `seen` ─▶ every replica
//!                 ▲                                                            │
//!                 └────────────── the sweep for silence reads it back ◀────────┘
//! ```
//!
//! Four bytes a place, in chunks as in Redis; a poll is two atomic operations, without a lock on the way.
//! What was marked and not yet written is lost with the replica: a fifth of a second, within the grace. Who polls
//! over and over is written once a second only, where nobody lapses before many seconds ([`Rhythm`]): so a
//! client that does not wait as long as it was told costs Redis no more than one that does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::keys::{SEEN_CHUNK, SEEN_EPOCH_MS};

/// Polls that came so late still count; the same number stands in `prelude/line.lua`.
pub const GRACE_MS: i64 = 500;

const PLACES: usize = 65_536;

/// The signs of life of one queue.
#[derive(Default)]
pub struct Signs {
    chunks: ArcSwap<HashMap<u64, Arc<Chunk>>>,
}

struct Chunk {
    /// Tenths of seconds since [`SEEN_EPOCH_MS`]; 0 = never heard of.
    seen: Box<[AtomicU32]>,
    /// A bit for each place whose sign is not written yet.
    unwritten: Box<[AtomicU64]>,
    /// A bit for each place that was written lately; only who writes touches it.
    written: Box<[AtomicU64]>,
}

/// What is written in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// All that is not written yet.
    All,
    /// What was not written since its last turn, and all of those whose turn it is in this round: one word of every
    /// [`TURNS`]. The others who poll over and over wait for theirs. All at once would be a moment each
    /// second in which Redis has a processor for itself, and polls wait for the other.
    InTurns(u64),
}

/// Rounds from one turn to the next.
const TURNS: u64 = 5;

impl Rhythm {
    /// Whether what was written before is written again.
    fn writes_again(self, word: usize) -> bool {
        match self {
            Self::All => true,
            Self::InTurns(round) => word as u64 % TURNS == round % TURNS,
        }
    }
}

/// One place and when it was seen.
pub type Sign = (u64, u32);

/// What goes to Redis in one call.
#[derive(Debug, PartialEq, Eq)]
pub struct Beat {
    /// When the earliest of them was seen, or all of them when that is a while ago.
    pub seen: u32,
    /// Those of one chunk stand together.
    pub places: Vec<u64>,
}

/// Places in one call; its words must fit the stack of Lua.
const PLACES_PER_CALL: usize = 1_500;
/// Signs of so many tenths of seconds go together; less than what is on time (`beat.lua`).
const TOGETHER: u32 = 3;

/// The signs in as few calls as may be: those of the last moment together, older ones each with their own.
pub fn beats(signs: Vec<Sign>, now_ms: i64) -> Vec<Beat> {
    let recent = tenths(now_ms).saturating_sub(TOGETHER);
    let mut by_moment: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (place, seen) in signs {
        by_moment.entry(seen.min(recent)).or_default().push(place);
    }
    let of_call = |seen| move |places: &[u64]| Beat { seen, places: places.to_vec() };
    by_moment.iter().flat_map(|(seen, places)| places.chunks(PLACES_PER_CALL).map(of_call(*seen))).collect()
}

impl Signs {
    /// The place was polled at `now_ms`.
    pub fn mark(&self, place: u64, now_ms: i64) {
        self.chunk(place / SEEN_CHUNK).mark(within(place), now_ms);
    }

    /// As [`Signs::mark`], if `is_alive` says so of when the place was last heard of; whether it did.
    pub fn mark_if(&self, place: u64, now_ms: i64, is_alive: impl Fn(Option<i64>) -> bool) -> bool {
        let chunks = self.chunks.load();
        let Some(chunk) = chunks.get(&(place / SEEN_CHUNK)) else {
            let is_alive = is_alive(None);
            if is_alive {
                self.mark(place, now_ms);
            }
            return is_alive;
        };
        let is_alive = is_alive(chunk.last(within(place)));
        if is_alive {
            chunk.mark(within(place), now_ms);
        }
        is_alive
    }

    /// Takes over what Redis knows of a chunk, and answers with what is known of it now.
    pub fn merge(&self, chunk: u64, bytes: &[u8]) -> Vec<u32> {
        let kept = self.chunk(chunk);
        let (words, _) = bytes.as_chunks::<4>();
        let merge = |(seen, word): (&AtomicU32, &[u8; 4])| {
            let (told, known) = (u32::from_be_bytes(*word), seen.load(Ordering::Relaxed));
            // Mostly nothing is new, and to look costs a tenth of an exchange.
            if told > known { seen.fetch_max(told, Ordering::Relaxed).max(told) } else { known }
        };
        kept.seen.iter().zip(words).map(merge).collect()
    }

    /// What is to be written, chunk by chunk; it counts as written from now on.
    pub fn take_unwritten(&self, rhythm: Rhythm) -> Vec<Sign> {
        let mut signs = Vec::new();
        for (number, chunk) in self.chunks.load().iter() {
            chunk.take_unwritten(number * SEEN_CHUNK, rhythm, &mut signs);
        }
        signs
    }

    /// Writing failed: these are to be written again.
    pub fn give_back(&self, beat: &Beat) {
        for place in &beat.places {
            self.chunk(place / SEEN_CHUNK).remember(within(*place));
        }
    }

    /// Forgets the chunks that `is_of_use` does not want.
    pub fn keep(&self, is_of_use: impl Fn(u64) -> bool) {
        if self.chunks.load().keys().all(|number| is_of_use(*number)) {
            return;
        }
        self.chunks.rcu(|chunks| {
            let kept = chunks.iter().filter(|(number, _)| is_of_use(**number));
            kept.map(|(number, chunk)| (*number, chunk.clone())).collect::<HashMap<_, _>>()
        });
    }

    fn chunk(&self, number: u64) -> Arc<Chunk> {
        if let Some(chunk) = self.chunks.load().get(&number) {
            return chunk.clone();
        }
        let fresh = Arc::new(Chunk::new());
        self.chunks.rcu(|chunks| {
            let mut chunks = HashMap::clone(chunks);
            chunks.entry(number).or_insert_with(|| fresh.clone());
            chunks
        });
        // Another thread may have been first, or have let go of it again.
        self.chunks.load().get(&number).cloned().unwrap_or(fresh)
    }
}

impl Chunk {
    fn new() -> Self {
        let seen = (0..PLACES).map(|_| AtomicU32::new(0)).collect();
        let bits = || (0..PLACES / 64).map(|_| AtomicU64::new(0)).collect();
        Self { seen, unwritten: bits(), written: bits() }
    }

    fn mark(&self, at: usize, now_ms: i64) {
        self.seen[at].fetch_max(tenths(now_ms), Ordering::Relaxed);
        self.remember(at);
    }

    fn remember(&self, at: usize) {
        self.unwritten[at / 64].fetch_or(1 << (at % 64), Ordering::Release);
    }

    /// When the place was last heard of, ms since 1970.
    fn last(&self, at: usize) -> Option<i64> {
        let seen = self.seen[at].load(Ordering::Relaxed);
        (seen > 0).then(|| i64::from(seen) * 100 + SEEN_EPOCH_MS)
    }

    fn take_unwritten(&self, first: u64, rhythm: Rhythm, signs: &mut Vec<Sign>) {
        for (at, (word, written)) in self.unwritten.iter().zip(&self.written).enumerate() {
            let before = if rhythm.writes_again(at) { 0 } else { written.load(Ordering::Relaxed) };
            let is_due = word.load(Ordering::Relaxed) & !before != 0;
            let mut bits = if is_due { word.fetch_and(before, Ordering::Acquire) & !before } else { 0 };
            written.store(before | bits, Ordering::Relaxed);
            while bits != 0 {
                let place = at * 64 + bits.trailing_zeros() as usize;
                signs.push((first + place as u64, self.seen[place].load(Ordering::Relaxed)));
                bits &= bits - 1;
            }
        }
    }
}

/// Where a place is in its chunk.
fn within(place: u64) -> usize {
    usize::try_from(place % SEEN_CHUNK).unwrap_or_default()
}

/// Rounded up, as the scripts do: a sign of life never looks older than it is.
fn tenths(now_ms: i64) -> u32 {
    u32::try_from((now_ms - SEEN_EPOCH_MS + 99) / 100).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(signs: &Signs, place: u64) -> Option<i64> {
        let heard = std::cell::Cell::new(None);
        let is_marked = signs.mark_if(place, 0, |last| {
            heard.set(last);
            false
        });
        assert!(!is_marked);
        heard.get()
    }

    #[test]
    fn who_is_not_alive_is_not_marked() {
        let signs = Signs::default();
        assert!(!signs.mark_if(7, SEEN_EPOCH_MS + 1_000, |last| last.is_some()));
        assert!(signs.mark_if(7, SEEN_EPOCH_MS + 1_000, |last| last.is_none()));
        assert!(signs.mark_if(7, SEEN_EPOCH_MS + 2_000, |last| last == Some(SEEN_EPOCH_MS + 1_000)));
        assert_eq!(signs.take_unwritten(Rhythm::All), [(7, 20)]);
    }

    #[test]
    fn a_chunk_has_as_many_places_as_everywhere() {
        assert_eq!(PLACES as u64, SEEN_CHUNK);
    }

    #[test]
    fn what_was_marked_is_written_once_and_known_at_once() {
        let signs = Signs::default();
        let now = SEEN_EPOCH_MS + 1_000;
        for place in [1, 64, SEEN_CHUNK + 3] {
            signs.mark(place, now);
            signs.mark(place, now - 500);
        }
        assert_eq!(
            (last(&signs, 64), last(&signs, 65), last(&signs, 9 * SEEN_CHUNK)),
            (Some(now), None, None)
        );
        let mut unwritten = signs.take_unwritten(Rhythm::All);
        unwritten.sort_unstable();
        assert_eq!(unwritten, [(1, 10), (64, 10), (SEEN_CHUNK + 3, 10)]);
        assert_eq!(signs.take_unwritten(Rhythm::All), []);
        signs.give_back(&Beat { seen: 9, places: vec![64] });
        assert_eq!(signs.take_unwritten(Rhythm::All), [(64, 10)]);
    }

    #[test]
    fn who_is_marked_over_and_over_is_written_at_once_and_then_in_turn() {
        let (signs, later) = (Signs::default(), SEEN_EPOCH_MS + 2_000);
        let mut rounds = vec![(1, vec![(7, 20)])];
        rounds.extend((2..5).map(|round| (round, vec![])));
        rounds.extend([(5, vec![(7, 20)]), (6, vec![])]);
        for (round, written) in rounds {
            signs.mark(7, later);
            assert_eq!(signs.take_unwritten(Rhythm::InTurns(round)), written, "round {round}");
        }
        signs.mark(8, later);
        assert_eq!(signs.take_unwritten(Rhythm::InTurns(7)), [(8, 20)], "another is not held up");
        assert_eq!(signs.take_unwritten(Rhythm::All), [(7, 20)]);
        assert_eq!(signs.take_unwritten(Rhythm::All), []);
    }

    #[test]
    fn a_crowd_that_polls_over_and_over_is_written_in_equal_parts() {
        let signs = Signs::default();
        let mut written = Vec::new();
        for round in 0..20 {
            (0..SEEN_CHUNK).for_each(|place| signs.mark(place, SEEN_EPOCH_MS + 2_000));
            written.push(signs.take_unwritten(Rhythm::InTurns(round)).len());
        }
        assert_eq!(written[0], PLACES, "who was not written before is, at once");
        for second in written[5..].chunks(5) {
            assert_eq!(second.iter().sum::<usize>(), PLACES, "each once a second: {written:?}");
            assert!(second.iter().all(|part| part.abs_diff(PLACES / 5) <= 64), "{written:?}");
        }
    }

    #[test]
    fn signs_of_the_last_moment_go_together_and_older_ones_keep_theirs() {
        let beat = |seen, places: &[u64]| Beat { seen, places: places.to_vec() };
        let signs = vec![(1, 100), (2, 98), (3, 97), (4, 60), (5, 101), (6, 60)];
        assert_eq!(beats(signs, SEEN_EPOCH_MS + 10_000), [beat(60, &[4, 6]), beat(97, &[1, 2, 3, 5])]);
        let many = (0..4_000).map(|place| (place, 100)).collect();
        let lengths: Vec<_> = beats(many, SEEN_EPOCH_MS).iter().map(|beat| beat.places.len()).collect();
        assert_eq!(lengths, [1_500, 1_500, 1_000]);
    }

    #[test]
    fn the_later_sign_counts_whoever_heard_it() {
        let signs = Signs::default();
        signs.mark(0, SEEN_EPOCH_MS + 5_000);
        let told: Vec<u8> = [20u32, 30].iter().flat_map(|seen| seen.to_be_bytes()).collect();
        assert_eq!(signs.merge(0, &told), [50, 30]);
        assert_eq!(last(&signs, 1), Some(SEEN_EPOCH_MS + 3_000));
    }
}

//! Group commit: requests that arrive together are one transaction.
//!
//! ```text
//!   requests ─▶ inbox ─▶ batch: claim keys ─ decide ─ write ─ remember ─ commit ─▶ each its own fate
//!                                     │         │
//!                                     │         └ an error of any kind: undone, and each goes alone
//!                                     └ refused: nothing of it is written, the others go on
//! ```
//!
//! A verb runs its batches on a [`Coalescer`] and brings the statements, which take many wishes at once. Invariants,
//! and who keeps them:
//!
//! - a refusal of one fails no other: it is decided before anything is written, by the verb; what turns up
//!   later is an error, which undoes the batch ([`end`]);
//! - a broken row or a deadlock fails only whom it is about: who was undone goes alone, in a transaction
//!   of one, and is told there;
//! - nobody waits behind somebody else's lock: a batch waits for one only a moment
//!   ([`Db::begin_impatiently`](crate::db::Db::begin_impatiently)), then each goes alone. A verb whose whole work is one
//!   statement that waits for none needs no transaction ([`judge`]);
//! - a connection that has gone silent holds up nobody for long: a batch on it is given up ([`start`]), and beside it the other
//!   lane goes on;
//! - nothing is answered before the commit: fates are handed out by the coalescer, after it;
//! - two wishes of one batch never want the same row: the second goes again ([`Apart`]).

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use shared::coalesce::{Coalescer, Shape, Unanswered};
use shared::lifecycle::Lifecycle;

use crate::db::{self, Tx};
use crate::metrics;
use crate::retry::MayConflict;

/// Two transactions of a verb at once, if there is a crowd: while one commits, the next decides. Few go together
/// behind the first: two small batches cost the database twice what one of their size does.
pub const SHAPE: Shape = Shape { lanes: 2, crowd: 24, max: 128, waiting: 8192 };

/// No batch takes so long while its connection lives. Those in it hear of it before their own time is over.
const LONGEST: Duration = Duration::from_secs(5);

/// What a batch has to say to one of its wishes.
#[derive(Debug)]
pub enum Fate<T, R> {
    Done(T),
    Refused(R),
    /// Another of the batch was in its way, or somebody was half-way.
    Again,
    /// It could not go with others.
    Alone,
}

/// The batches of a verb; `W` wish, `T` its fulfilment, `R` its refusal.
pub type Batches<W, T, R> = Coalescer<Arc<W>, Fate<T, R>, db::Error>;

/// Starts the batches of a verb; their lanes live as long as requests may be under way.
pub fn start<I, O, F, Fut>(
    lifecycle: &Lifecycle,
    verb: &'static str,
    shape: Shape,
    run: F,
) -> Coalescer<I, O, db::Error>
where
    I: Send + 'static,
    O: Send + 'static,
    F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = db::Result<Vec<O>>> + Send + 'static,
{
    let (batches, lanes) = Coalescer::new(shape, move |items| {
        let batch = tokio::time::timeout(LONGEST, run(items));
        async { batch.await.unwrap_or_else(|_| Err(db::Error::Unavailable("a batch has no end".into()))) }
    });
    for lane in lanes {
        lifecycle.spawn_support(verb, lane);
    }
    batches
}

/// Nobody answers: as with a database that is gone, the same request may work later.
impl From<Unanswered> for db::Error {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unavailable(unanswered.to_string())
    }
}

/// Fates in the making: what is not decided yet is open.
pub struct Draft<T, R>(Vec<Option<Fate<T, R>>>);

impl<T, R> Draft<T, R> {
    /// All open.
    pub fn new(wishes: usize) -> Self {
        Self((0..wishes).map(|_| None).collect())
    }

    /// Decides one.
    pub fn decide(&mut self, wish: usize, fate: Fate<T, R>) {
        if let Some(slot) = self.0.get_mut(wish) {
            *slot = Some(fate);
        }
    }

    /// The wishes that are open, in their order.
    pub fn open(&self) -> Vec<usize> {
        let open = self.0.iter().enumerate().filter(|(_, fate)| fate.is_none());
        open.map(|(wish, _)| wish).collect()
    }

    /// What was decided; what is open still goes again.
    pub fn fates(self) -> Vec<Fate<T, R>> {
        self.0.into_iter().map(|fate| fate.unwrap_or(Fate::Again)).collect()
    }
}

/// Which wishes of a batch want something that an earlier one wants.
pub struct Apart<K>(HashSet<K>);

impl<K: Eq + Hash> Apart<K> {
    /// Nobody wants anything yet.
    pub fn new() -> Self {
        Self(HashSet::new())
    }

    /// Whether nobody before wants any of these; if so, they are this one's.
    pub fn takes(&mut self, wanted: impl IntoIterator<Item = K>) -> bool {
        let wanted: Vec<K> = wanted.into_iter().collect();
        if wanted.iter().any(|key| self.0.contains(key)) {
            return false;
        }
        self.0.extend(wanted);
        true
    }
}

/// Commits a batch, or undoes it; its fates are as [`judge`] says.
pub async fn end<T, R: MayConflict>(
    tx: Tx,
    verb: &'static str,
    wishes: usize,
    outcome: Result<Vec<Fate<T, R>>, R>,
) -> db::Result<Vec<Fate<T, R>>> {
    if outcome.is_ok() {
        tx.commit().await?;
    } else {
        tx.abandon().await;
    }
    judge(verb, wishes, outcome)
}

/// The fates of a batch that has ended: of one that was undone everybody goes alone, unless nobody would come through.
pub fn judge<T, R: MayConflict>(
    verb: &'static str,
    wishes: usize,
    outcome: Result<Vec<Fate<T, R>>, R>,
) -> db::Result<Vec<Fate<T, R>>> {
    let fates = match outcome {
        Ok(fates) => fates,
        Err(reason) => {
            match reason.of_database() {
                Some(error @ (db::Error::Unavailable(_) | db::Error::Busy)) => return Err(error.clone()),
                Some(error) => tracing::warn!(verb, wishes, %error, "a batch is undone; each goes alone"),
                None => tracing::debug!(verb, wishes, "a batch is undone; each goes alone"),
            }
            (0..wishes).map(|_| Fate::Alone).collect()
        }
    };
    let alone = fates.iter().filter(|fate| matches!(fate, Fate::Alone)).count();
    metrics::batch(verb, wishes as u64, alone as u64);
    Ok(fates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_who_wants_a_thing_goes_again_and_takes_nothing() {
        let mut apart = Apart::new();
        assert!(apart.takes([1, 2]));
        assert!(!apart.takes([3, 2]));
        assert!(apart.takes([3]), "who goes again has taken nothing");
        assert!(apart.takes([]));
    }

    /// As on a connection that has gone silent
    #[tokio::test(start_paused = true)]
    async fn a_batch_without_an_end_is_given_up_before_a_request_is() {
        let lifecycle = Lifecycle::new();
        let stuck = start::<u8, u8, _, _>(&lifecycle, "stuck", SHAPE, |_| std::future::pending());
        let outcome = tokio::time::timeout(Duration::from_secs(9), stuck.submit(1)).await;
        assert!(matches!(outcome, Ok(Ok(Err(db::Error::Unavailable(_))))), "{outcome:?}");
    }

    #[test]
    fn what_was_not_decided_goes_again() {
        let mut draft = Draft::<u8, u8>::new(3);
        draft.decide(1, Fate::Refused(7));
        assert_eq!(draft.open(), [0, 2]);
        draft.decide(0, Fate::Done(1));
        let fates = draft.fates();
        assert!(matches!(fates[..], [Fate::Done(1), Fate::Refused(7), Fate::Again]));
    }
}

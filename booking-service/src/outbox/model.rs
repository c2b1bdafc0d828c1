//! How a queue answers, and what follows for the next attempt.

use std::time::{Duration, Instant};

/// The most messages of one call.
pub const BATCH: u16 = 500;
/// That many messages in a row refused alone: then it may be us who are refused, not they.
const SUSPICIOUS: u32 = 8;

/// What a queue said to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Heard,
    /// It may hear the same later: no answer, trouble of its own, a wrong secret of ours, a queue that
    /// it does not know yet. The status, where there was an answer.
    Later(Option<u16>),
    /// It will never hear this.
    Never(u16),
}

impl Verdict {
    /// Of the status that refused.
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(401 | 403 | 404 | 408 | 425 | 429) | None => Self::Later(status),
            Some(lasting @ 400..=499) => Self::Never(lasting),
            Some(_) => Self::Later(status),
        }
    }
}

/// What to do with the messages of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are done.
    Delivered,
    /// They are due again, at once or when the queue has rested.
    Released,
    /// The only one: it stands aside.
    Aside,
}

/// How one queue has been answering this replica.
///
/// ```text
///   heard: twice as many next time (up to BATCH) ─ refused for good: half as many
///        ─ refused for good and alone: aside ─ not now: the queue rests, longer each time
/// ```
///
/// So a message that is refused is closed in on in a few calls, while those before it are heard.
#[derive(Debug)]
pub struct Standing {
    batch: u16,
    failures: u32,
    failing_with: Option<Verdict>,
    alone_in_a_row: u32,
    rests_until: Option<Instant>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { batch: BATCH, failures: 0, failing_with: None, alone_in_a_row: 0, rests_until: None }
    }
}

impl Standing {
    /// How many messages to tell at once.
    pub fn batch(&self) -> u16 {
        self.batch
    }

    /// Whether it failed when it was last told.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether it is left alone.
    pub fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    /// Takes in what it said to a call of `count` messages; a rest is as long as `pause` says after so
    /// many failures.
    pub fn note(
        &mut self,
        verdict: Verdict,
        count: usize,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) -> Fate {
        match verdict {
            Verdict::Heard => {
                let batch = self.batch.saturating_mul(2).min(BATCH);
                *self = Self { batch, ..Self::default() };
                Fate::Delivered
            }
            Verdict::Later(_) => {
                self.rest(now, pause);
                Fate::Released
            }
            Verdict::Never(_) if count > 1 => {
                self.batch = u16::try_from(count / 2).unwrap_or(BATCH).clamp(1, BATCH);
                Fate::Released
            }
            Verdict::Never(_) => {
                self.batch = 1;
                self.alone_in_a_row = self.alone_in_a_row.saturating_add(1);
                if self.alone_in_a_row >= SUSPICIOUS {
                    self.rest(now, pause);
                }
                Fate::Aside
            }
        }
    }

    /// Whether this failure is news: the log was not told of it yet.
    pub fn is_news(&mut self, verdict: Verdict) -> bool {
        self.failing_with.replace(verdict) != Some(verdict)
    }

    fn rest(&mut self, now: Instant, pause: impl Fn(u32) -> Duration) {
        self.rests_until = Some(now + pause(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "any moment will do")]

    use super::*;

    /// Tells a queue that refuses the messages `bad`, of `total`, and hears the others; how many calls it took.
    fn tell(bad: &[usize], total: usize, now: Instant) -> usize {
        let (mut standing, mut waiting) = (Standing::default(), (0..total).collect::<Vec<_>>());
        let (mut aside, mut heard, mut calls) = (Vec::new(), Vec::new(), 0);
        while !waiting.is_empty() {
            calls += 1;
            assert!(calls < 10_000, "it never ends");
            let told: Vec<_> = waiting.iter().copied().take(standing.batch().into()).collect();
            let verdict =
                if told.iter().any(|one| bad.contains(one)) { Verdict::Never(422) } else { Verdict::Heard };
            match standing.note(verdict, told.len(), now, |_| Duration::ZERO) {
                Fate::Delivered => heard.extend(waiting.drain(..told.len())),
                Fate::Aside => aside.extend(waiting.drain(..1)),
                Fate::Released => {}
            }
        }
        assert_eq!(aside, bad);
        assert!(heard.is_sorted() && heard.len() + bad.len() == total);
        calls
    }

    #[test]
    fn a_refused_message_is_found_in_a_few_calls_and_the_others_are_heard_in_order() {
        let now = Instant::now();
        assert_eq!(tell(&[], 5000, now), 10);
        for bad in [0, 1, 249, 250, 499] {
            let calls = tell(&[bad], 500, now);
            assert!(calls < 60, "{calls} calls for message {bad}");
        }
        tell(&[3, 4, 5, 99], 100, now);
        tell(&(0..20).collect::<Vec<_>>(), 20, now);
    }

    #[test]
    fn a_queue_rests_longer_each_time_and_is_itself_again_when_it_hears() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let second = |failures: u32| Duration::from_secs(u64::from(failures) + 1);
        for failures in 1..4 {
            assert_eq!(standing.note(Verdict::Later(None), 5, now, second), Fate::Released);
            assert!(standing.rests(now + Duration::from_millis(failures * 1000 - 1)));
            assert!(!standing.rests(now + Duration::from_millis(failures * 1000)));
        }
        assert_eq!(standing.note(Verdict::Heard, 5, now, second), Fate::Delivered);
        assert!(!standing.is_failing() && !standing.rests(now));
    }

    #[test]
    fn who_refuses_one_after_another_is_asked_slowly() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let mut alone = || {
            standing.note(Verdict::Never(422), 1, now, |_| Duration::from_secs(1));
            standing.rests(now)
        };
        assert!((1..SUSPICIOUS).all(|_| !alone()));
        assert!(alone() && alone());
    }

    #[test]
    fn what_passes_is_told_from_what_lasts() {
        for passing in
            [None, Some(401), Some(403), Some(404), Some(408), Some(429), Some(500), Some(503), Some(302)]
        {
            assert_eq!(Verdict::of(passing), Verdict::Later(passing));
        }
        for lasting in [400, 409, 413, 422] {
            assert_eq!(Verdict::of(Some(lasting)), Verdict::Never(lasting));
        }
    }

    #[test]
    fn a_failure_is_news_once() {
        let mut standing = Standing::default();
        assert!(standing.is_news(Verdict::Later(None)) && !standing.is_news(Verdict::Later(None)));
        assert!(standing.is_news(Verdict::Later(Some(503))));
    }
}

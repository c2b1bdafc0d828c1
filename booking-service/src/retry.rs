//! Trying again: transactions that were in each other's way, and how long to wait before.

use std::time::Duration;

use crate::db;

/// Runs a transaction again when it and another were in each other's way, a few times.
pub async fn retried<T, E, F>(attempt: impl Fn() -> F) -> Result<T, E>
where
    E: MayConflict,
    F: Future<Output = Result<T, E>>,
{
    let mut left = 4;
    loop {
        match attempt().await {
            Err(error) if error.is_conflict() && left > 0 => {
                left -= 1;
                pause(Duration::from_millis(2), Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

/// A refusal behind which the database may be.
pub trait MayConflict {
    /// What the database said, if it was the database.
    fn of_database(&self) -> Option<&db::Error>;

    /// Two transactions were in each other's way: trying again at once makes sense.
    fn is_conflict(&self) -> bool {
        matches!(self.of_database(), Some(db::Error::Conflict(_)))
    }
}

/// Sleeps somewhere between the two, so that those who met do not meet again.
pub async fn pause(least: Duration, most: Duration) {
    tokio::time::sleep(jittered(least, most)).await;
}

/// A random duration between the two. Decides nothing but when to try again.
pub fn jittered(least: Duration, most: Duration) -> Duration {
    least + (most.saturating_sub(least)).mul_f64(rand::random::<f64>())
}

/// A random number below `sides`, which is at least 1. Decides nothing but who goes where.
pub fn dice(sides: usize) -> usize {
    rand::random_range(0..sides)
}

/// How long to rest after that many failures before this one: doubles from `first` to `longest`.
pub fn longer(first: Duration, longest: Duration, failures: u32) -> Duration {
    let pause = first.saturating_mul(1 << failures.min(10)).min(longest);
    jittered(pause.mul_f64(0.6), pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_below_the_longest() {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
        let pause = |failures| longer(first, longest, failures);
        assert!(pause(0) <= first);
        assert!(pause(3) > pause(0));
        assert!((0..100).all(|failures| pause(failures) <= longest));
    }
}

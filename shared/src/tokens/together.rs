//! Signatures that are verified together.
//!
//! ```text
//!   tokens never seen before ─▶ those that arrived meanwhile ─▶ one equation for all ─ it holds ─▶ all are genuine
//!                                 (`coalesce.rs`)                     └ it does not: each alone, and for a
//!                                                                       while everybody alone
//! ```
//!
//! The equations of n Ed25519 signatures are added up, each with a random factor, which takes about half as long as
//! n verifications (Bernstein et al., *High-speed high-security signatures*, 2011, section 5; the sum is
//! `ed25519_dalek::verify_batch`). A crowd that joins, or begins to hold seats, is all tokens never seen before.
//!
//! - Nobody is refused for a neighbour: a sum that does not hold says nothing of anybody, each is verified alone then.
//! - Forged tokens do not make genuine ones dearer than alone: after one, there are no sums for [`PAUSE`].
//! - Who holds the key could make a signature that one way takes and the other does not; nobody else can.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey, verify_batch};
use tokio::time::Instant;

use crate::coalesce::{Coalescer, Shape, Unanswered};
use crate::lifecycle::Lifecycle;

/// More in a sum gain little and keep each waiting.
const MOST: usize = 16;
const WAITING: usize = 16_384;
const PAUSE: Duration = Duration::from_secs(1);

/// A message and what is said to be its signature.
pub(super) struct Signed {
    pub message: Box<[u8]>,
    pub signature: Signature,
    pub key: VerifyingKey,
}

/// See the module. Clones share their batches.
#[derive(Clone)]
pub struct Together(Arc<Coalescer<Signed, bool, Infallible>>);

impl Together {
    /// Ready; ends with the process.
    pub fn start(lifecycle: &Lifecycle) -> Self {
        let lanes = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shape = Shape { lanes, crowd: 1, max: MOST, waiting: WAITING };
        let sums = Arc::new(Sums::new());
        let (coalescer, lanes) = Coalescer::new(shape, move |signed: Vec<Signed>| {
            let sums = sums.clone();
            async move { Ok(sums.verify(&signed)) }
        });
        for lane in lanes {
            lifecycle.spawn_support("signatures", lane);
        }
        Self(Arc::new(coalescer))
    }

    /// Whether the signature is genuine.
    pub(super) async fn verify(&self, signed: Signed) -> Result<bool, Unanswered> {
        let Ok(is_genuine) = self.0.submit(signed).await?;
        Ok(is_genuine)
    }
}

/// Whether signatures are added up at present.
struct Sums {
    begun: Instant,
    /// In ms since it began.
    again_at: AtomicU64,
}

impl Sums {
    fn new() -> Self {
        Self { begun: Instant::now(), again_at: AtomicU64::new(0) }
    }

    fn verify(&self, signed: &[Signed]) -> Vec<bool> {
        let now = self.begun.elapsed();
        if signed.len() > 1 && millis(now) >= self.again_at.load(Ordering::Relaxed) {
            if holds(signed) {
                return vec![true; signed.len()];
            }
            self.again_at.store(millis(now + PAUSE), Ordering::Relaxed);
        }
        signed.iter().map(|signed| signed.key.verify(&signed.message, &signed.signature).is_ok()).collect()
    }
}

fn holds(signed: &[Signed]) -> bool {
    let messages: Vec<&[u8]> = signed.iter().map(|signed| &*signed.message).collect();
    let signatures: Vec<Signature> = signed.iter().map(|signed| signed.signature).collect();
    let keys: Vec<VerifyingKey> = signed.iter().map(|signed| signed.key).collect();
    verify_batch(&messages, &signatures, &keys).is_ok()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn signed(by: u8, message: &str) -> Signed {
        let key = SigningKey::from_bytes(&[by; 32]);
        let signature = key.sign(message.as_bytes());
        Signed { message: message.as_bytes().into(), signature, key: key.verifying_key() }
    }

    fn forged(message: &str) -> Signed {
        Signed { message: b"another".as_slice().into(), ..signed(1, message) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_forged_one_is_found_among_genuine_ones_of_several_keys() {
        let sums = Sums::new();
        let genuine = || (0..16).map(|n| signed(n % 3, &format!("message {n}"))).collect::<Vec<_>>();
        for at in 0..16 {
            let mut all = genuine();
            all[at] = forged("x");
            let expected: Vec<bool> = (0..16).map(|n| n != at).collect();
            assert_eq!(sums.verify(&all), expected);
            assert!(!holds(&all));
        }
        assert_eq!(sums.verify(&genuine()), [true; 16]);
        assert!(holds(&genuine()));
        let mut swapped = genuine();
        (swapped[0].signature, swapped[1].signature) = (swapped[1].signature, swapped[0].signature);
        assert!(!holds(&swapped));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_forged_one_nobody_is_added_up_for_a_while() {
        let sums = Sums::new();
        assert_eq!(sums.verify(&[forged("x"), signed(1, "y")]), [false, true]);
        let paused = || millis(sums.begun.elapsed()) < sums.again_at.load(Ordering::Relaxed);
        assert!(paused());
        tokio::time::advance(PAUSE).await;
        assert!(!paused());
        assert_eq!(sums.verify(&[forged("x")]), [false], "alone, it is no sum");
        assert!(!paused());
    }

    #[tokio::test]
    async fn each_hears_of_its_own() {
        let lifecycle = Lifecycle::new();
        let together = Together::start(&lifecycle);
        let asked = (0..50).map(|n| {
            let of = if n % 10 == 3 { forged("x") } else { signed(1, &format!("{n}")) };
            let together = together.clone();
            async move { (n, together.verify(of).await) }
        });
        for (n, is_genuine) in futures_util::future::join_all(asked).await {
            assert_eq!(is_genuine, Ok(n % 10 != 3), "{n}");
        }
        lifecycle.drain(Duration::from_secs(5)).await;
    }
}

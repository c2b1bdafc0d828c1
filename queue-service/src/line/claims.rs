//! The admissions that this replica has told somebody of, until their tokens end and a while longer. Should the
//! store forget them, they are put back, or ended (`follower.rs`, `regain.lua`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::feed::Claim;

/// Between two removals of those that have ended.
const TIDY_EVERY: usize = 10_000;

/// How long after its end an admission is remembered: a store that is back late must hear that it was given.
const KEPT_S: i64 = 600;

/// One per user: a later admission takes the place of an older.
#[derive(Default)]
pub struct Claims {
    by_user: Mutex<(HashMap<String, Claim>, usize)>,
}

impl Claims {
    /// Somebody was told of this one.
    pub fn note(&self, claim: Claim, now_s: i64) {
        let mut guard = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        let (claims, noted) = &mut *guard;
        *noted += 1;
        if *noted >= TIDY_EVERY {
            *noted = 0;
            claims.retain(|_, claim| claim.admission.exp + KEPT_S > now_s);
        }
        claims.insert(claim.user.clone(), claim);
    }

    /// The user's place has ended.
    pub fn forget(&self, user: &str) {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner).0.remove(user);
    }

    /// All that are known.
    pub fn all(&self) -> Vec<Claim> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner).0.values().cloned().collect()
    }
}

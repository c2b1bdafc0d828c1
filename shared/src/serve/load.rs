//! How many requests a listener works on at once. A plain count: nobody ever waits for a turn.

use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
pub struct Load {
    most: usize,
    under_way: AtomicUsize,
}

/// A request under way; it ends when this is dropped.
pub struct UnderWay<'a>(&'a AtomicUsize);

impl Load {
    pub fn new(most: usize) -> Self {
        Self { most, under_way: AtomicUsize::new(0) }
    }

    /// `None` when there are as many as may be.
    pub fn begin(&self) -> Option<UnderWay<'_>> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let begun = UnderWay(&self.under_way);
        (before < self.most).then_some(begun)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_is_refused_until_one_has_ended() {
        let load = Load::new(2);
        let (first, second) = (load.begin(), load.begin());
        assert!(first.is_some() && second.is_some());
        assert!(load.begin().is_none() && load.begin().is_none());
        drop(first);
        assert!(load.begin().is_some());
    }
}

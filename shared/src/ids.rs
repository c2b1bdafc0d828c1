//! Identifiers. Every id that leaves the services is a UUIDv7; it orders by time and is never a
//! capability: knowing one opens nothing.

use uuid::Uuid;

use crate::clock::Clock;

/// A new UUIDv7 whose time part is `clock`'s.
pub fn new_id(clock: &Clock) -> Uuid {
    let now = clock.now();
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::ContextV7::new(), seconds, now.timestamp_subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_seven_and_order_by_time() {
        let clock = Clock::system();
        let first = new_id(&clock);
        clock.advance(std::time::Duration::from_millis(5));
        let second = new_id(&clock);
        assert_eq!(first.get_version_num(), 7);
        assert!(first < second);
    }
}

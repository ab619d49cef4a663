//! The newest second that any worker has seen.
//!
//! Workers read their clocks apart, so two of them can disagree about a window that is just ending. Counters are
//! judged by the newest second seen by any: whoever is behind is lifted to it. A clock that falls back by more than
//! a minute was set by someone, and is believed.

use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam::utils::CachePadded;

use crate::limits;

/// Shared by all users of one table.
#[derive(Debug, Default)]
pub(super) struct Clock {
    newest_s: CachePadded<AtomicU32>,
}

impl Clock {
    /// The time to judge by, in Unix milliseconds, given what the caller's clock says. Times after 2106 count as
    /// 2106.
    pub(super) fn lift(&self, now_ms: u64) -> u64 {
        let now_ms = now_ms.min(u64::from(u32::MAX) * 1000);
        let own_s = u32::try_from(now_ms / 1000).unwrap_or(u32::MAX);
        let mut newest_s = self.newest_s();
        loop {
            if own_s == newest_s {
                return now_ms;
            }
            if own_s < newest_s && newest_s - own_s <= limits::CLOCK_BEHIND_S {
                return u64::from(newest_s) * 1000;
            }
            match self
                .newest_s
                .compare_exchange_weak(newest_s, own_s, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return now_ms,
                Err(other_s) => newest_s = other_s,
            }
        }
    }

    /// The newest Unix second.
    pub(super) fn newest_s(&self) -> u32 {
        self.newest_s.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_behind_is_lifted() {
        let clock = Clock::default();
        assert_eq!(clock.lift(100_500), 100_500);
        assert_eq!(clock.lift(99_999), 100_000);
        assert_eq!(
            clock.lift(100_100),
            100_100,
            "within the newest second every worker keeps its own time"
        );
        assert_eq!(clock.lift(101_000), 101_000);
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed() {
        let clock = Clock::default();
        clock.lift(4_000_000_000_000);
        assert_eq!(clock.lift(1_700_000_000_123), 1_700_000_000_123);
        assert_eq!(clock.newest_s(), 1_700_000_000);
    }

    #[test]
    fn times_beyond_the_range_stand_still() {
        let clock = Clock::default();
        assert_eq!(clock.lift(u64::MAX), u64::from(u32::MAX) * 1000);
    }
}

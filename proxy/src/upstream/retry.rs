//! Whether a failed try may be made again, as a pure decision.
//!
//! RFC 9110 §9.2.2: a request that a server may have acted on is repeated only if its method is idempotent.
//! Kong's `retries` bounds how often; it never repeats because of a status. A worker's budget bounds all of them together.

use std::cell::Cell;

use crate::limits;

/// How far a try came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Tries made, this one included.
    pub tries: u32,
    /// Whether the request's head was handed to the connection.
    pub sent: bool,
    /// Whether bytes of the request's body are gone and cannot be sent again.
    pub body_consumed: bool,
    /// Whether any byte of a response came.
    pub response_began: bool,
    /// Whether the connection had served a request before and was closed: the server may have done so just before
    /// this request came. Never after a timeout, for then the server may be at work on it.
    pub reused: bool,
}

impl Progress {
    /// How far two tries came that were made beside each other, and both failed.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tries: self.tries.max(other.tries),
            sent: self.sent || other.sent,
            body_consumed: self.body_consumed || other.body_consumed,
            response_began: self.response_began || other.response_began,
            reused: self.reused && other.reused,
        }
    }
}

/// Whether to try again, with `retries` further tries allowed after the first.
pub const fn may_retry(progress: Progress, idempotent: bool, retries: u32) -> bool {
    if progress.tries > retries && !progress.reused {
        return false;
    }
    if progress.tries > retries + 2 || progress.body_consumed || progress.response_began {
        return false;
    }
    !progress.sent || idempotent
}

/// How many tries beyond the first one worker makes: a share of its exchanges, and a reserve, so that upstreams in trouble
/// do not get several times their load.
#[derive(Debug)]
pub struct RetryBudget {
    percent: u32,
    /// In hundredths of a try.
    left: Cell<u32>,
}

impl RetryBudget {
    /// So many tries for a hundred exchanges, and [`limits::RETRIES_RESERVED`] at once.
    pub const fn new(percent: u32) -> Self {
        Self {
            percent,
            left: Cell::new(limits::RETRIES_RESERVED * 100),
        }
    }

    /// An exchange is forwarded.
    pub fn earn(&self) {
        let left = self.left.get().saturating_add(self.percent);
        self.left.set(left.min(limits::RETRIES_RESERVED * 100));
    }

    /// Takes a try; false when there is none left.
    pub fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(100);
        self.left.set(left.unwrap_or(self.left.get()));
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_share_and_a_reserve() {
        for (percent, of_thousand) in [(0, 0), (20, 200), (100, 1000)] {
            let budget = RetryBudget::new(percent);
            let reserve = std::iter::repeat_with(|| budget.spend())
                .take_while(|had| *had)
                .count();
            assert_eq!(reserve, limits::RETRIES_RESERVED as usize);
            let mut made = 0;
            for _ in 0..1000 {
                budget.earn();
                made += usize::from(budget.spend());
            }
            assert_eq!(made, of_thousand, "{percent}");
        }
    }

    const FRESH: Progress = Progress {
        tries: 1,
        sent: false,
        body_consumed: false,
        response_began: false,
        reused: false,
    };

    #[test]
    fn what_was_never_sent_is_tried_again() {
        assert!(may_retry(FRESH, false, 5));
        assert!(!may_retry(FRESH, false, 0));
    }

    #[test]
    fn a_sent_request_is_repeated_only_if_idempotent() {
        let sent = Progress { sent: true, ..FRESH };
        assert!(may_retry(sent, true, 5));
        assert!(!may_retry(sent, false, 5));
    }

    #[test]
    fn a_reused_connection_that_closed_is_not_the_requests_fault() {
        let sent = Progress {
            sent: true,
            reused: true,
            ..FRESH
        };
        assert!(may_retry(sent, true, 0));
        assert!(!may_retry(sent, false, 5), "the server may have acted on it");
        assert!(!may_retry(Progress { tries: 3, ..sent }, true, 0));
    }

    #[test]
    fn two_tries_came_as_far_as_the_one_that_came_further() {
        let sent = Progress {
            tries: 2,
            sent: true,
            ..FRESH
        };
        let closed = Progress { reused: true, ..sent };
        let began = Progress {
            response_began: true,
            ..FRESH
        };
        assert_eq!((FRESH.and(sent), sent.and(FRESH)), (sent, sent));
        assert_eq!((closed.and(sent), closed.and(closed)), (sent, closed));
        assert!(!may_retry(began.and(sent), true, 5));
    }

    #[test]
    fn nothing_is_repeated_once_bytes_are_gone_either_way() {
        let sent = Progress { sent: true, ..FRESH };
        assert!(!may_retry(
            Progress {
                body_consumed: true,
                ..sent
            },
            true,
            5
        ));
        assert!(!may_retry(
            Progress {
                response_began: true,
                ..sent
            },
            true,
            5
        ));
    }
}

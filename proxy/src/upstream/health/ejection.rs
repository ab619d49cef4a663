//! Outliers: addresses that fail many times in a row are left out for a while, whatever Kong's checks say of them.
//!
//! Enters: what tries saw, from all workers. Leaves: until when an address is left out, each time for longer. Absent: who
//! else there is, and so whether an address may be left out at all; the snapshot's peers know.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Seen;
use crate::limits;

/// Ejection of one address. One atomic word, so that no failure is counted twice or lost.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    word: AtomicU64,
    /// The end that operators were told.
    told_until_ms: AtomicU64,
}

/// What the word holds: 16 bits of failures in a row, 8 of ejections, 40 of when the last one ends, in milliseconds.
#[derive(Clone, Copy)]
struct State {
    streak: u64,
    times: u64,
    until_ms: u64,
}

impl State {
    const fn of(word: u64) -> Self {
        Self {
            streak: word & 0xffff,
            times: (word >> 16) & 0xff,
            until_ms: word >> 24,
        }
    }

    const fn word(self) -> u64 {
        self.streak | self.times << 16 | self.until_ms << 24
    }
}

impl Ejection {
    /// Whether the address is left out.
    pub(super) fn holds(&self, now_ns: u64) -> bool {
        self.until_ms() > now_ns / 1_000_000
    }

    /// When the last ejection ends or ended, in milliseconds; 0 for none.
    pub(super) fn until_ms(&self) -> u64 {
        State::of(self.word.load(Ordering::Relaxed)).until_ms
    }

    /// One more failure; how many there were in a row. Those of exchanges that still run while the address is out say
    /// nothing new.
    pub(super) fn failed(&self, now_ns: u64) -> u32 {
        let one_more = |word| {
            let state = State::of(word);
            let streak = (state.streak + 1).min(0xffff);
            (state.until_ms <= now_ns / 1_000_000).then(|| State { streak, ..state }.word())
        };
        let before = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        before.map_or(0, |word| {
            u32::try_from(State::of(word).streak + 1).unwrap_or(u32::MAX)
        })
    }

    /// A success: the row is over. Most of the time there is none, and nothing is written.
    pub(super) fn succeeded(&self) {
        let _ = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let state = State::of(word);
                (state.streak != 0).then(|| State { streak: 0, ..state }.word())
            });
    }

    /// Leaves the address out: as often as it was before, and once more, times `base`. Each `base` that it has served
    /// since takes one time back.
    pub(super) fn eject(&self, base: Duration, now_ns: u64) {
        let (now_ms, base_ms) = (
            now_ns / 1_000_000,
            u64::try_from(base.as_millis()).unwrap_or(1).max(1),
        );
        let _ = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let state = State::of(word);
                let forgiven = now_ms.saturating_sub(state.until_ms) / base_ms;
                let times = (state.times.saturating_sub(forgiven) + 1).min(limits::EJECTION_TIMES);
                let out = State {
                    streak: 0,
                    times,
                    until_ms: now_ms + base_ms * times,
                };
                Some(out.word())
            });
    }

    /// Puts it back in, and forgets everything.
    pub(super) fn clear(&self) {
        self.word.store(0, Ordering::Relaxed);
    }

    /// How long the address is out from now, if operators were not told yet.
    pub(super) fn news(&self, now_ns: u64) -> Option<Duration> {
        let until = self.until_ms();
        let told = self.told_until_ms.swap(until, Ordering::Relaxed);
        let left = until.checked_sub(now_ns / 1_000_000)?;
        (told != until && left > 0).then(|| Duration::from_millis(left))
    }
}

/// When an upstream's addresses are ejected.
#[derive(Clone, Debug)]
pub struct Outliers {
    /// Failures in a row.
    pub after: u32,
    /// How long the first time.
    pub base: Duration,
    /// Percent of the addresses that may be out at once; one always may.
    pub most_percent: u32,
}

impl Outliers {
    /// Whether a try failed: no connection, no answer, a broken one, or a status of 500 and above.
    pub const fn is_failure(seen: Seen) -> bool {
        match seen {
            Seen::Connection => false,
            Seen::Status(status) => status >= 500,
            Seen::Failure | Seen::Timeout => true,
        }
    }

    /// Whether one more of `all` addresses may be out where `out` are, and `others` are neither out nor unhealthy.
    pub const fn allow(&self, all: usize, out: usize, others: usize) -> bool {
        others > 0 && (out == 0 || (out + 1) * 100 <= all * self.most_percent as usize)
    }
}

/// Ejections of one upstream: the same in every epoch that has it.
#[derive(Debug, Default)]
pub struct Ejections {
    deciding: AtomicBool,
    total: AtomicU64,
}

impl Ejections {
    /// Ejections since start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Decides whether to eject one more. While another worker decides nobody else does, so that both together do not
    /// go beyond the bound: the next failure asks again.
    pub fn decide(&self, eject: impl FnOnce() -> bool) {
        if self.deciding.swap(true, Ordering::Acquire) {
            return;
        }
        if eject() {
            self.total.fetch_add(1, Ordering::Relaxed);
        }
        self.deciding.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const BASE: Duration = Duration::from_secs(10);

    #[test]
    fn a_success_ends_the_row() {
        let ejection = Ejection::default();
        assert_eq!((ejection.failed(S), ejection.failed(S)), (1, 2));
        ejection.succeeded();
        assert_eq!(ejection.failed(S), 1);
        for _ in 0..70_000 {
            ejection.failed(S);
        }
        assert!(
            !ejection.holds(S),
            "a long row does not reach into the other counters"
        );
    }

    #[test]
    fn each_ejection_is_longer_and_time_in_use_takes_that_back() {
        let ejection = Ejection::default();
        let mut now = 100 * S;
        let lasts = |now: u64| {
            ejection.eject(BASE, now);
            ejection.until_ms() / 1000 - now / S
        };
        assert_eq!(lasts(now), 10);
        now += 10 * S;
        assert_eq!(lasts(now), 20, "again, as soon as it is back");
        now += 20 * S;
        assert_eq!(lasts(now), 30);
        now += 30 * S + 15 * S;
        assert_eq!(lasts(now), 30, "a base of good service takes one back");
        now += 30 * S + 3600 * S;
        assert_eq!(lasts(now), 10);
        for _ in 0..50 {
            now = ejection.until_ms() * 1_000_000;
            ejection.eject(BASE, now);
        }
        let longest = ejection.until_ms() / 1000 - now / S;
        assert_eq!(longest, 10 * limits::EJECTION_TIMES);
    }

    #[test]
    fn what_fails_while_it_is_out_is_not_counted() {
        let ejection = Ejection::default();
        ejection.eject(BASE, S);
        assert!(ejection.holds(11 * S - 1) && !ejection.holds(11 * S));
        assert_eq!(ejection.failed(5 * S), 0);
        assert_eq!(ejection.failed(11 * S), 1);
    }

    #[test]
    fn operators_are_told_each_ejection_once() {
        let ejection = Ejection::default();
        assert_eq!(ejection.news(S), None);
        ejection.eject(BASE, S);
        assert_eq!(ejection.news(2 * S), Some(Duration::from_secs(9)));
        assert_eq!(ejection.news(3 * S), None);
        ejection.eject(BASE, 11 * S);
        assert_eq!(ejection.news(11 * S), Some(Duration::from_secs(20)));
    }

    #[test]
    fn one_may_always_be_out_and_one_always_stays() {
        let outliers = |most_percent| Outliers {
            after: 1,
            base: BASE,
            most_percent,
        };
        assert!(outliers(10).allow(3, 0, 2));
        assert!(!outliers(10).allow(3, 1, 1));
        assert!(outliers(10).allow(20, 1, 18) && !outliers(10).allow(20, 2, 17));
        assert!(outliers(100).allow(3, 1, 1));
        assert!(!outliers(100).allow(3, 2, 0) && !outliers(100).allow(1, 0, 0));
    }

    #[test]
    fn refused_connections_silence_and_server_errors_are_failures() {
        for seen in [Seen::Failure, Seen::Timeout, Seen::Status(500), Seen::Status(599)] {
            assert!(Outliers::is_failure(seen), "{seen:?}");
        }
        for seen in [Seen::Connection, Seen::Status(200), Seen::Status(499)] {
            assert!(!Outliers::is_failure(seen), "{seen:?}");
        }
    }
}

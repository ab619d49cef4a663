//! The worker's clock: read once for each batch of work, asked as often as anybody likes.
//!
//! [`refresh`] is called where time has certainly passed: when a read completes and when the ticker wakes. Between
//! two refreshes [`now`] and [`unix_ms`] cost a thread-local load.

use std::cell::Cell;
use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on the worker's monotonic clock, in nanoseconds since the worker's thread first asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Later than every other moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// Nanoseconds.
    pub const fn ns(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Moment {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

struct Clock {
    start: Instant,
    /// When that was, counted from the first thread of the process that asked.
    start_ns: u64,
    unix_at_start_ns: Cell<u64>,
    now_ns: Cell<u64>,
}

thread_local! {
    static CLOCK: Clock = Clock::start();
}

impl Clock {
    fn start() -> Self {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let start = instant();
        let since = start.saturating_duration_since(*FIRST.get_or_init(|| start));
        Self {
            start,
            start_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            unix_at_start_ns: Cell::new(unix_ns()),
            now_ns: Cell::new(0),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
fn instant() -> Instant {
    Instant::now()
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Asks the operating system, and remembers.
pub fn refresh() -> Moment {
    CLOCK.with(|clock| {
        let now = u64::try_from(clock.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        #[cfg(test)]
        let now = now + ahead::NS.get();
        clock.now_ns.set(now);
        Moment(now)
    })
}

/// Follows changes of the wall clock. The ticker calls it.
pub(super) fn synchronise() {
    let now = refresh();
    CLOCK.with(|clock| clock.unix_at_start_ns.set(unix_ns().saturating_sub(now.0)));
}

/// The moment of the last refresh.
pub fn now() -> Moment {
    CLOCK.with(|clock| Moment(clock.now_ns.get()))
}

/// Nanoseconds on a clock that all threads of the process share, and that never goes back, at the last refresh.
pub fn uptime_ns() -> u64 {
    CLOCK.with(|clock| clock.start_ns + clock.now_ns.get())
}

/// The same after a refresh, for threads that are no workers.
pub fn refreshed_uptime_ns() -> u64 {
    refresh();
    uptime_ns()
}

/// The wall clock at the last refresh, in nanoseconds since 1970.
pub fn unix_now_ns() -> u64 {
    CLOCK.with(|clock| clock.unix_at_start_ns.get() + clock.now_ns.get())
}

/// The wall clock at the last refresh, in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    unix_now_ns() / 1_000_000
}

/// Lets a test see what happens later, without waiting.
#[cfg(test)]
pub(crate) mod ahead {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        pub(super) static NS: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn go(duration: Duration) {
        NS.set(NS.get() + u64::try_from(duration.as_nanos()).unwrap());
        super::refresh();
    }
}

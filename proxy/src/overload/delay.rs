//! How late a worker is, and what share of its requests it should turn away for that.
//!
//! After CoDel (RFC 8289): bursts make a worker late for a moment, and only who is late all the time cannot keep up. So
//! what counts is the *least* lateness of a window. The share then follows it as TCP's window does: a fraction off for
//! each window that was late, a little more again for each that was not. Between half the target and the target it
//! stays, which keeps it from swinging.

use std::time::Duration;

use crate::limits;

/// Share that is admitted, at least: a worker that admits nothing learns nothing, and lateness may have other causes.
const ADMITTED_LEAST: f64 = 1.0 / 16.0;
/// Ticks of a window, at least: one that was very late is a burst still.
const TICKS_LEAST: u32 = 3;
/// Taken off for each window at the target; a window that was later takes more, ...
const DECREASE: f64 = 0.1;
/// ... and at most this.
const DECREASE_MOST: f64 = 0.5;
/// Given back for each window in time: all of it in five seconds.
const INCREASE: f64 = 0.04;

/// Lateness of one worker.
#[derive(Debug)]
pub(super) struct Delay {
    target: Duration,
    elapsed: Duration,
    ticks: u32,
    least: Duration,
    admitted: f64,
}

impl Delay {
    /// With a target of zero, nothing is ever turned away.
    pub(super) const fn new(target: Duration) -> Self {
        Self {
            target,
            elapsed: Duration::ZERO,
            ticks: 0,
            least: Duration::MAX,
            admitted: 1.0,
        }
    }

    /// A tick came so late. Says whether that ended a window.
    pub(super) fn observe(&mut self, late: Duration) -> bool {
        self.elapsed += Duration::from_millis(limits::TICK_MS).saturating_add(late);
        self.ticks += 1;
        self.least = self.least.min(late);
        if self.elapsed < Duration::from_millis(limits::OVERLOAD_WINDOW_MS) || self.ticks < TICKS_LEAST {
            return false;
        }
        (self.elapsed, self.ticks) = (Duration::ZERO, 0);
        let least = std::mem::replace(&mut self.least, Duration::MAX);
        if !self.target.is_zero() {
            self.follow(least);
        }
        true
    }

    fn follow(&mut self, least: Duration) {
        let excess = least.div_duration_f64(self.target);
        if excess > 1.0 {
            let less = (DECREASE * excess).min(DECREASE_MOST);
            self.admitted = (self.admitted * (1.0 - less)).max(ADMITTED_LEAST);
        } else if excess < 0.5 {
            self.admitted = (self.admitted + INCREASE).min(1.0);
        }
    }

    /// Share to be turned away.
    pub(super) fn shed(&self) -> f64 {
        1.0 - self.admitted
    }
}

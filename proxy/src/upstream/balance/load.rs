//! What one target carries on one worker, and how fast it answered lately.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::worker::clock::{self, Moment};

/// Running exchanges and observed latency of a target.
#[derive(Debug, Default)]
pub struct Load {
    running: Cell<u32>,
    /// Peak EWMA in nanoseconds, as of `observed`; 0 before the first observation.
    latency_ns: Cell<f64>,
    observed: Cell<Moment>,
}

impl Load {
    /// Exchanges that run.
    pub fn running(&self) -> u32 {
        self.running.get()
    }

    /// Takes an observed latency in: at once when it is the highest, and else weighted by how long ago the last was.
    pub(super) fn observe(&self, latency: Duration, now: Moment) {
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a request fit")]
        let seen = latency.as_nanos() as f64;
        let known = self.latency_ns.get();
        let fresh = if seen >= known {
            seen
        } else {
            let kept = decay(now - self.observed.get());
            known * kept + seen * (1.0 - kept)
        };
        self.latency_ns.set(fresh);
        self.observed.set(now);
    }

    /// What one more exchange is expected to wait, in nanoseconds: the latency, fading while nobody asks, for each
    /// exchange that would run. A target of which nothing is known yet is tried at once, but by one exchange.
    pub(super) fn cost(&self, now: Moment) -> f64 {
        let running = f64::from(self.running.get());
        match self.latency_ns.get() {
            0.0 => running * 1e6 * f64::from(limits::LATENCY_UNKNOWN_MS),
            latency => latency * decay(now - self.observed.get()) * (running + 1.0),
        }
    }
}

/// What is left of an observation after `age`.
fn decay(age: Duration) -> f64 {
    (-age.as_secs_f64() / f64::from(limits::LATENCY_DECAY_S)).exp()
}

/// One exchange among those that a target carries, for as long as it lives.
#[derive(Debug)]
pub struct Hold {
    load: Rc<Load>,
    /// Whether latencies are asked for.
    timed: bool,
}

impl Hold {
    pub(super) fn new(load: &Rc<Load>, timed: bool) -> Self {
        load.running.set(load.running.get() + 1);
        Self {
            load: Rc::clone(load),
            timed,
        }
    }

    /// The response head came after `latency`.
    pub fn answered(&self, latency: Duration) {
        if self.timed {
            self.load.observe(latency, clock::now());
        }
    }

    /// The try failed after `latency`. A refused connection is quick, and must not look attractive.
    pub fn failed(&self, latency: Duration) {
        self.answered(latency.max(Duration::from_millis(limits::LATENCY_FAILED_MS)));
    }

    /// The try was given up after `waited`. Its answer would have taken longer: that tells something of a target that
    /// seemed faster, and nothing of another.
    pub fn cancelled(&self, waited: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a request fit")]
        let waited_ns = waited.as_nanos() as f64;
        if waited_ns > self.load.latency_ns.get() {
            self.answered(waited);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.load.running.set(self.load.running.get() - 1);
    }
}

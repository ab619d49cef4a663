//! The health of targets: counted from live traffic and from probes, one state for all workers.
//!
//! Enters: what a try or a probe saw. Leaves: whether a target may be used. A target's state is one atomic word, so
//! that counting never waits. Who probes and when is `control`'s business; Kong 3.x says what counts.

pub mod probe;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use probe::Probe;
pub use rules::{Rules, Seen};

/// Health of one target. Shared by all workers, and by epochs that have the same target.
#[derive(Debug, Default)]
pub struct TargetHealth {
    /// Four counters of eight bits by [`Counter`], and [`UNHEALTHY`].
    word: AtomicU64,
    /// What operators were last told.
    told_unhealthy: AtomicBool,
}

const UNHEALTHY: u64 = 1 << 32;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Successes,
    TcpFailures,
    HttpFailures,
    Timeouts,
}

impl Counter {
    const fn shift(self) -> u32 {
        self as u32 * 8
    }
}

impl TargetHealth {
    /// Whether the target may be used.
    pub fn is_healthy(&self) -> bool {
        self.word.load(Ordering::Relaxed) & UNHEALTHY == 0
    }

    /// Puts the target in or out, and forgets what was counted.
    pub fn set(&self, healthy: bool) {
        let word = if healthy { 0 } else { UNHEALTHY };
        self.word.store(word, Ordering::Relaxed);
    }

    /// Counts one more; `limit` of them change the state, 0 switches the counter off. A success forgets the failures,
    /// a failure the successes.
    fn count(&self, counter: Counter, limit: u8) {
        if limit == 0 {
            return;
        }
        // Nothing to do is the common case, and writes nothing.
        let _ = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(counted(word, counter, limit)).filter(|next| *next != word)
            });
    }

    /// The state, if it is another one than operators were told.
    pub fn news(&self) -> Option<bool> {
        let healthy = self.is_healthy();
        let told = self.told_unhealthy.swap(!healthy, Ordering::Relaxed);
        (told == healthy).then_some(healthy)
    }
}

/// The state after one more of `counter`.
const fn counted(word: u64, counter: Counter, limit: u8) -> u64 {
    const SUCCESSES: u64 = 0xff;
    let success = matches!(counter, Counter::Successes);
    let unhealthy = word & UNHEALTHY != 0;
    let kept = if success {
        word & (UNHEALTHY | SUCCESSES)
    } else {
        word & !SUCCESSES
    };
    // Successes of a healthy target and failures of an unhealthy one have nothing to bring about.
    if success != unhealthy {
        return kept;
    }
    let count = (kept >> counter.shift()) & 0xff;
    if count + 1 < limit as u64 {
        kept + (1 << counter.shift())
    } else if success {
        0
    } else {
        UNHEALTHY
    }
}

/// Health checks of one upstream.
pub struct Checks {
    /// Percent of the weight: the upstream is used while more than this is healthy.
    pub threshold: f64,
    /// What live traffic counts for.
    pub passive: Option<Rules>,
    /// How targets are probed.
    pub active: Option<Arc<Probe>>,
    /// By target.
    pub targets: Vec<Arc<TargetHealth>>,
}

impl Checks {
    /// Whether enough of the weight is healthy. `weights` are the targets'.
    pub fn suffice(&self, weights: impl Iterator<Item = u32>) -> bool {
        let (mut all, mut healthy) = (0_u64, 0_u64);
        for (weight, target) in weights.zip(&self.targets) {
            all += u64::from(weight);
            if target.is_healthy() {
                healthy += u64::from(weight);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "weights are 16 bits each")]
        let share = healthy as f64 * 100.0 / all as f64;
        share > self.threshold
    }

    /// Counts what a try with a target saw.
    pub fn saw(&self, target: usize, seen: Seen) {
        if let Some(rules) = &self.passive {
            rules.count(&self.targets[target], seen);
        }
    }
}

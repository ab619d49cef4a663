//! The health of targets: counted from live traffic and from probes, one state for all workers.
//!
//! Enters: what a try or a probe saw. Leaves: whether an address of a target may be used. Its state is one atomic word,
//! so that counting never waits. Who probes and when is `control`'s business; Kong 3.x says what counts.

mod ejection;
pub mod probe;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::worker::{Address, clock};
use ejection::Ejection;
pub use ejection::{Ejections, Outliers};
use probe::Probe;
pub use rules::{Rules, Seen};

/// Health of one address of a target. Shared by all workers, and by epochs that have the same target.
#[derive(Debug, Default)]
pub struct AddressHealth {
    /// Four counters of eight bits by [`Counter`], and [`UNHEALTHY`].
    word: AtomicU64,
    /// What operators were last told.
    told_unhealthy: AtomicBool,
    /// When the address came, or came back, in [`clock::uptime_ns`]; 0 when it was there all the time.
    came_ns: AtomicU64,
    /// Requests that it serves, where they are bounded.
    running: AtomicU32,
    /// Whether live traffic fails so often that it is left out.
    ejection: Ejection,
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

impl AddressHealth {
    /// Whether the address may be used.
    pub fn is_healthy(&self) -> bool {
        self.word.load(Ordering::Relaxed) & UNHEALTHY == 0
    }

    /// How long it has been there, and healthy: `None` for as long as the gateway knows. `now_ns` is
    /// [`clock::uptime_ns`].
    pub fn age(&self, now_ns: u64) -> Option<Duration> {
        let came = self.came_ns.load(Ordering::Relaxed);
        // From an ejection, it came back when that ended.
        let came = came.max((self.ejection.until_ms() * 1_000_000).min(now_ns));
        (came != 0).then(|| Duration::from_nanos(now_ns.saturating_sub(came)))
    }

    /// Whether it is left out now as an outlier.
    pub fn is_ejected(&self, now_ns: u64) -> bool {
        self.ejection.holds(now_ns)
    }

    /// How long it is still left out; zero when it is not.
    pub fn ejected_for(&self, now_ns: u64) -> Duration {
        Duration::from_nanos((self.ejection.until_ms() * 1_000_000).saturating_sub(now_ns))
    }

    /// Counts what a try saw towards ejection; whether that is due.
    pub fn is_outlier(&self, seen: Seen, outliers: &Outliers, now_ns: u64) -> bool {
        if Outliers::is_failure(seen) {
            return self.ejection.failed(now_ns) >= outliers.after;
        }
        self.ejection.succeeded();
        false
    }

    /// Leaves it out for a while.
    pub fn eject(&self, outliers: &Outliers, now_ns: u64) {
        self.ejection.eject(outliers.base, now_ns);
    }

    /// How long it is out from now, if operators were not told yet.
    pub fn ejection_news(&self, now_ns: u64) -> Option<Duration> {
        self.ejection.news(now_ns)
    }

    /// Puts the address in or out, and forgets what was counted.
    pub fn set(&self, healthy: bool) {
        self.ejection.clear();
        let word = if healthy { 0 } else { UNHEALTHY };
        let before = self.word.swap(word, Ordering::Relaxed);
        self.changed(before, word);
    }

    fn changed(&self, before: u64, after: u64) {
        if before & UNHEALTHY != 0 && after & UNHEALTHY == 0 {
            self.came();
        }
    }

    /// Requests that it serves on all workers, where they are bounded.
    pub fn running(&self) -> u32 {
        // In one order with what waiters publish: who frees a slot sees who waits, or is seen by it.
        self.running.load(Ordering::SeqCst)
    }

    /// It serves one request more, if it serves fewer than `most`.
    pub(super) fn begin(&self, most: u32) -> bool {
        let one_more = |running| (running < most).then_some(running + 1);
        self.running
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    /// It serves one request less.
    pub(super) fn end(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    /// It comes into use now.
    fn came(&self) {
        clock::refresh();
        self.came_ns.store(clock::uptime_ns(), Ordering::Relaxed);
    }

    /// Counts one more; `limit` of them change the state, 0 switches the counter off. A success forgets the failures,
    /// a failure the successes.
    fn count(&self, counter: Counter, limit: u8) {
        if limit == 0 {
            return;
        }
        // Nothing to do is the common case, and writes nothing.
        let counted = |word| counted(word, counter, limit);
        let before = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(counted(word)).filter(|next| *next != word)
            });
        if let Ok(before) = before {
            self.changed(before, counted(before));
        }
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

/// Health of a target: of each address that it has, or that a worker still uses.
#[derive(Debug, Default)]
pub struct TargetHealth {
    #[expect(
        clippy::disallowed_types,
        reason = "cold: taken when a name's addresses change, and to probe and to show"
    )]
    addresses: std::sync::Mutex<BTreeMap<Address, Arc<AddressHealth>>>,
    /// Whether addresses that come now are new: the first ones of a target that was there from the start are not.
    arrivals: AtomicBool,
}

impl TargetHealth {
    /// Of a target that `arrives`, or was there when the gateway started.
    pub fn new(arrives: bool) -> Self {
        Self {
            arrivals: AtomicBool::new(arrives),
            ..Self::default()
        }
    }

    /// The health of an address. One that was not known is healthy.
    pub fn of(&self, address: Address) -> Arc<AddressHealth> {
        self.with(|known| {
            let health = known.entry(address).or_insert_with(|| {
                let health = AddressHealth::default();
                if self.arrivals.load(Ordering::Relaxed) {
                    health.came();
                }
                Arc::new(health)
            });
            Arc::clone(health)
        })
    }

    /// What is known, by address.
    pub fn all(&self) -> Vec<(Address, Arc<AddressHealth>)> {
        self.with(|known| {
            known
                .iter()
                .map(|(address, health)| (*address, Arc::clone(health)))
                .collect()
        })
    }

    /// These are all of its addresses now. Forgets what is not among them, and used by nobody; others that come later
    /// are new.
    pub fn keep(&self, addresses: &[Address]) {
        self.arrivals.store(true, Ordering::Relaxed);
        self.with(|known| {
            known.retain(|address, health| addresses.contains(address) || Arc::strong_count(health) > 1);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Address, Arc<AddressHealth>>) -> T) -> T {
        act(&mut self
            .addresses
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
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
    /// Whether enough of the weight is healthy: of addresses, the weights and whether they are.
    pub fn suffice(&self, addresses: impl Iterator<Item = (u32, bool)>) -> bool {
        let (mut all, mut healthy) = (0_u64, 0_u64);
        for (weight, is_healthy) in addresses {
            all += u64::from(weight);
            if is_healthy {
                healthy += u64::from(weight);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "weights are 24 bits each")]
        let share = healthy as f64 * 100.0 / all as f64;
        share > self.threshold
    }

    /// Counts what a try with an address saw.
    pub fn saw(&self, address: &AddressHealth, seen: Seen) {
        if let Some(rules) = &self.passive {
            rules.count(address, seen);
        }
    }
}

//! The health of targets: counted from live traffic and from probes, one state for all workers.
//!
//! Enters: what a try or a probe saw. Leaves: whether an address of a target may be used. Its state is one atomic word,
//! so that counting never waits. Who probes and when is `control`'s business; Kong 3.x says what counts.

pub mod probe;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use probe::Probe;
pub use rules::{Rules, Seen};

/// Health of one address of a target. Shared by all workers, and by epochs that have the same target.
#[derive(Debug, Default)]
pub struct AddressHealth {
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

impl AddressHealth {
    /// Whether the address may be used.
    pub fn is_healthy(&self) -> bool {
        self.word.load(Ordering::Relaxed) & UNHEALTHY == 0
    }

    /// Puts the address in or out, and forgets what was counted.
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

/// Health of a target: of each address that it has, or that a worker still uses.
#[derive(Debug, Default)]
pub struct TargetHealth {
    #[expect(
        clippy::disallowed_types,
        reason = "cold: taken when a name's addresses change, and to probe and to show"
    )]
    addresses: std::sync::Mutex<BTreeMap<SocketAddr, Arc<AddressHealth>>>,
}

impl TargetHealth {
    /// The health of an address. One that was not known is healthy.
    pub fn of(&self, address: SocketAddr) -> Arc<AddressHealth> {
        self.with(|known| Arc::clone(known.entry(address).or_default()))
    }

    /// What is known, by address.
    pub fn all(&self) -> Vec<(SocketAddr, Arc<AddressHealth>)> {
        self.with(|known| {
            known
                .iter()
                .map(|(address, health)| (*address, Arc::clone(health)))
                .collect()
        })
    }

    /// Forgets what is not among these addresses, and used by nobody.
    pub fn keep(&self, addresses: &[SocketAddr]) {
        self.with(|known| {
            known.retain(|address, health| addresses.contains(address) || Arc::strong_count(health) > 1);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<SocketAddr, Arc<AddressHealth>>) -> T) -> T {
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

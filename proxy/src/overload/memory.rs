//! The process' memory against its bound. One thread looks, all workers read.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Thousandths by which the share that is turned away falls from one look to the next, at most: what was refused comes
/// again, and must not all at once.
const FALL: u32 = 50;

/// Memory of the process. Below 7/8 of the bound nothing happens; from there to the bound ever more requests are turned
/// away; at the bound all are but critical ones, and no connection is accepted until 15/16 of it are free to use again.
#[derive(Debug, Default)]
pub struct Memory {
    most: Option<u64>,
    used: AtomicU64,
    /// Thousandths of requests to be turned away.
    shed: AtomicU32,
    full: AtomicBool,
}

impl Memory {
    /// With a bound in bytes, or none.
    pub fn new(most: Option<u64>) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// So many bytes are in use now. Says whether it is time to give back what is kept for later.
    pub fn saw(&self, used: u64) -> bool {
        self.used.store(used, Ordering::Relaxed);
        let Some(most) = self.most else { return false };
        let (low, again) = (most / 8 * 7, most / 16 * 15);
        let over = used.saturating_sub(low).saturating_mul(1000) / (most - low).max(1);
        let over = u32::try_from(over).unwrap_or(u32::MAX).min(1000);
        let before = self.shed.load(Ordering::Relaxed);
        self.shed
            .store(over.max(before.saturating_sub(FALL)), Ordering::Relaxed);
        let full = used >= most || (self.is_full() && used >= again);
        self.full.store(full, Ordering::Relaxed);
        over > 0
    }

    /// Share of requests to be turned away, 0 to 1.
    pub fn shed(&self) -> f64 {
        f64::from(self.shed.load(Ordering::Relaxed)) / 1000.0
    }

    /// Whether the bound is reached.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Bytes in use when somebody last looked.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The bound in bytes.
    pub const fn most(&self) -> Option<u64> {
        self.most
    }
}

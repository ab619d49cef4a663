//! Counters with one writer: the owner adds without a locked instruction, anybody may read.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Source;
use crate::limits;

/// A count that only one thread writes.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// For the owner only. Two writers would lose counts, nothing worse.
    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Responses by status code and source: the codes a route really gives, found by a short scan.
#[derive(Debug, Default)]
pub(super) struct Codes {
    slots: [CodeSlot; limits::METRIC_CODES],
    others: Counter,
}

#[derive(Debug, Default)]
struct CodeSlot {
    /// 0 while unused.
    label: AtomicU32,
    count: Counter,
}

const USED: u32 = 1 << 31;
const FROM_GATEWAY: u32 = 1 << 16;

impl Codes {
    #[inline]
    pub(super) fn count(&self, code: u16, source: Source) {
        let from = if source == Source::Gateway {
            FROM_GATEWAY
        } else {
            0
        };
        let label = USED | from | u32::from(code);
        for slot in &self.slots {
            let present = slot.label.load(Ordering::Relaxed);
            if present == 0 {
                slot.label.store(label, Ordering::Relaxed);
            }
            if present == 0 || present == label {
                slot.count.add(1);
                return;
            }
        }
        self.others.add(1);
    }

    /// Every code with its source and count, and at last `None` with the count of those that found no slot.
    pub(super) fn each(&self, mut visit: impl FnMut(Option<(u16, Source)>, u64)) {
        for slot in &self.slots {
            let label = slot.label.load(Ordering::Relaxed);
            if label != 0 {
                let source = if label & FROM_GATEWAY == 0 {
                    Source::Upstream
                } else {
                    Source::Gateway
                };
                let code = u16::try_from(label & 0xffff).unwrap_or(0);
                visit(Some((code, source)), slot.count.get());
            }
        }
        visit(None, self.others.get());
    }
}

/// Durations by upper bound, `N` of them and one for all above.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    buckets: [Counter; N],
    above: Counter,
    sum_ns: Counter,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            above: Counter::default(),
            sum_ns: Counter::default(),
        }
    }
}

impl<const N: usize> Histogram<N> {
    #[inline]
    pub(super) fn observe(&self, bounds_ms: &[u32; N], duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bounds_ms
            .iter()
            .position(|bound_ms| ns <= u64::from(*bound_ms) * 1_000_000);
        bucket.map_or(&self.above, |bucket| &self.buckets[bucket]).add(1);
        self.sum_ns.add(ns);
    }

    pub(super) fn add_to(&self, sum: &mut HistogramSum<N>) {
        for (bucket, count) in sum.buckets.iter_mut().zip(&self.buckets) {
            *bucket += count.get();
        }
        sum.above += self.above.get();
        sum.sum_ns = sum.sum_ns.wrapping_add(self.sum_ns.get());
    }
}

/// The same histogram of all workers added up. Buckets are not cumulative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistogramSum<const N: usize> {
    /// Observations at most as large as the bound, and larger than the one before.
    pub buckets: [u64; N],
    /// Observations above the last bound.
    pub above: u64,
    /// Sum in nanoseconds.
    pub sum_ns: u64,
}

impl<const N: usize> Default for HistogramSum<N> {
    fn default() -> Self {
        Self {
            buckets: [0; N],
            above: 0,
            sum_ns: 0,
        }
    }
}

impl<const N: usize> HistogramSum<N> {
    /// All observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.above
    }
}

//! Counts that carry a consumer: an open-addressed table of fixed size, one for each worker.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cell::Counter;
use crate::limits;

/// What is counted for a consumer. Two counts each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Responses of the upstream; the detail is the status code.
    FromUpstream,
    /// Responses of the gateway; the detail is the status code.
    FromGateway,
    /// Bytes received and sent.
    Bandwidth,
    /// Calls of a model; the detail is the mode.
    Calls,
    /// Tokens of prompts and completions.
    Tokens,
    /// Micro-units of money.
    Cost,
}

const KINDS: [Kind; 6] = [
    Kind::FromUpstream,
    Kind::FromGateway,
    Kind::Bandwidth,
    Kind::Calls,
    Kind::Tokens,
    Kind::Cost,
];

/// Which series, packed: a mark, kind, detail (16 bits), row (16 bits), consumer (20 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeriesKey(u64);

impl SeriesKey {
    pub(super) fn new(kind: Kind, detail: u16, row: u32, consumer: u32) -> Self {
        debug_assert!(
            (row as usize) < limits::METRIC_ROUTES && (consumer as usize) < limits::METRIC_CONSUMERS
        );
        let place = u64::from(detail) << 36 | u64::from(row) << 20 | u64::from(consumer);
        Self(1 << 63 | (kind as u64) << 52 | place)
    }

    pub(super) fn kind(self) -> Kind {
        KINDS[(self.0 >> 52 & 7) as usize]
    }

    pub(super) fn detail(self) -> u16 {
        (self.0 >> 36 & 0xffff) as u16
    }

    pub(super) fn row(self) -> u32 {
        (self.0 >> 20 & 0xffff) as u32
    }

    pub(super) fn consumer(self) -> u32 {
        (self.0 & 0xf_ffff) as u32
    }
}

#[derive(Debug, Default)]
struct Entry {
    key: AtomicU64,
    counts: [Counter; 2],
}

/// One worker's series.
#[derive(Debug)]
pub(super) struct Series(Box<[Entry]>);

const PROBES: usize = 16;

impl Default for Series {
    fn default() -> Self {
        Self(
            (0..limits::METRIC_CONSUMER_SERIES)
                .map(|_| Entry::default())
                .collect(),
        )
    }
}

impl Series {
    /// False when there is no room for a new series.
    pub(super) fn add(&self, key: SeriesKey, counts: [u64; 2]) -> bool {
        let start = (key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        for probe in 0..PROBES {
            let entry = &self.0[(start + probe) & (self.0.len() - 1)];
            let present = entry.key.load(Ordering::Relaxed);
            if present == 0 {
                entry.key.store(key.0, Ordering::Relaxed);
            }
            if present == 0 || present == key.0 {
                entry.counts[0].add(counts[0]);
                entry.counts[1].add(counts[1]);
                return true;
            }
        }
        false
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (SeriesKey, [u64; 2])> {
        let used = self
            .0
            .iter()
            .map(|entry| (entry.key.load(Ordering::Relaxed), entry));
        used.filter(|(key, _)| *key != 0)
            .map(|(key, entry)| (SeriesKey(key), [entry.counts[0].get(), entry.counts[1].get()]))
    }
}

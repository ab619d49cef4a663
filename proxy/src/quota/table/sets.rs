//! The memory of a table: sets of 15 counters, allocated a page at a time when first touched.

use std::sync::OnceLock;

use portable_atomic::AtomicU128;

use crate::quota::counter::Counter;
use crate::quota::set::Set;

const WAYS: usize = 15;
const SEGMENT_SETS: usize = 16;

pub(super) type TableSet = Set<AtomicU128, WAYS>;

/// A power of two of pages of sets.
#[derive(Debug)]
pub(super) struct Sets {
    segments: Box<[OnceLock<Segment>]>,
}

type Segment = Box<[TableSet; SEGMENT_SETS]>;

impl Sets {
    pub(super) fn new(counters: usize) -> Self {
        let segments = counters.div_ceil(WAYS * SEGMENT_SETS).next_power_of_two();
        Self {
            segments: (0..segments).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.segments.len() * SEGMENT_SETS * WAYS
    }

    pub(super) fn resident_bytes(&self) -> usize {
        let touched = self
            .segments
            .iter()
            .filter(|segment| segment.get().is_some())
            .count();
        touched * SEGMENT_SETS * size_of::<TableSet>() + size_of_val(&*self.segments)
    }

    pub(super) fn set(&self, place: usize) -> &TableSet {
        let segment = &self.segments[(place / SEGMENT_SETS) & (self.segments.len() - 1)];
        let sets = segment.get_or_init(|| Box::new(std::array::from_fn(|_| TableSet::default())));
        &sets[place % SEGMENT_SETS]
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = Counter> {
        self.segments
            .iter()
            .filter_map(OnceLock::get)
            .flat_map(|sets| sets.iter())
            .flat_map(Set::counters)
    }
}

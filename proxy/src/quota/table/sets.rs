//! The memory of a table: sets of 15 counters one after the other, of which pages are in use as keys come.

use std::sync::atomic::{AtomicU64, Ordering};

use portable_atomic::AtomicU128;

use crate::memory::{self, Aligned};
use crate::quota::counter::Counter;
use crate::quota::set::Set;

const WAYS: usize = 15;
const WORDS: usize = WAYS + 1;
const PAGE_SETS: usize = 16;

pub(super) type TableSet<'t> = Set<'t, AtomicU128, WAYS>;

/// A power of two of pages of sets.
#[derive(Debug)]
pub(super) struct Sets {
    words: Box<[Aligned<WORDS>]>,
    /// One bit for each page that has had a key.
    pages: Box<[AtomicU64]>,
}

impl Sets {
    pub(super) fn new(counters: usize) -> Self {
        let pages = counters.div_ceil(WAYS * PAGE_SETS).next_power_of_two();
        Self {
            words: memory::zeroed(pages * PAGE_SETS),
            pages: (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.words.len() * WAYS
    }

    pub(super) fn resident_bytes(&self) -> usize {
        let pages: u32 = self
            .pages
            .iter()
            .map(|pages| pages.load(Ordering::Relaxed).count_ones())
            .sum();
        pages as usize * size_of::<[Aligned<WORDS>; PAGE_SETS]>() + size_of_val(&*self.pages)
    }

    pub(super) fn prefer_huge_pages(&self) {
        memory::prefer_huge_pages(&self.words);
        for pages in &self.pages {
            pages.fetch_or(u64::MAX, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn set(&self, place: usize) -> TableSet<'_> {
        Set::new(&self.words[self.number(place)].0)
    }

    /// To be called before a key is entered into a set.
    pub(super) fn touch(&self, place: usize) {
        let page = self.number(place) / PAGE_SETS;
        self.pages[page / 64].fetch_or(1 << (page % 64), Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = Counter> {
        let pages = self.words.chunks_exact(PAGE_SETS).enumerate();
        pages
            .filter(|(page, _)| self.pages[page / 64].load(Ordering::Relaxed) >> (page % 64) & 1 == 1)
            .flat_map(|(_, sets)| sets)
            .flat_map(|words| TableSet::new(&words.0).counters())
    }

    const fn number(&self, place: usize) -> usize {
        place & (self.words.len() - 1)
    }
}

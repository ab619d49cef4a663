//! Places for things that any thread may put there and any thread may take, without a lock and without waiting.
//!
//! Each place has a tag beside it: what is looked for, or that the place is free, or that somebody is at it. Only who has
//! changed the tag to `BUSY` may touch the place, and whoever meets a busy place passes it by. So a thing is with one place or
//! one thread at any time, and a search reads nothing but tags. Absent: what things and tags are.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::atomic::AtomicCell;

const FREE: u64 = 0;
const BUSY: u64 = 1;

/// So many places; things with one tag are in `reach` of them, which begin where the tag says. First places are filled and
/// emptied first, so that what is not needed stays in the last ones and grows old.
pub(super) struct Slots<T> {
    tags: Box<[AtomicU64]>,
    /// Boxed: a pointer is what the processor swaps at once.
    items: Box<[AtomicCell<Option<Box<T>>>]>,
    reach: usize,
    closed: AtomicBool,
}

impl<T> Slots<T> {
    pub(super) fn new(count: usize, reach: usize) -> Self {
        Self {
            tags: (0..count).map(|_| AtomicU64::new(FREE)).collect(),
            items: (0..count).map(|_| AtomicCell::new(None)).collect(),
            reach: reach.min(count),
            closed: AtomicBool::new(false),
        }
    }

    /// Places, free or not.
    pub(super) const fn count(&self) -> usize {
        self.tags.len()
    }

    /// Places that are taken.
    pub(super) fn held(&self) -> usize {
        let taken = |tag: &&AtomicU64| tag.load(Ordering::Relaxed) != FREE;
        self.tags.iter().filter(taken).count()
    }

    /// A place for something with this tag, if there is one.
    pub(super) fn reserve(&self, tag: u64) -> Option<Place<'_, T>> {
        let tag = named(tag);
        let at = self.within_reach(tag).find(|&at| self.claim(at, FREE))?;
        Some(Place {
            slots: self,
            at,
            tag,
            after: FREE,
        })
    }

    /// Something with this tag that is what is wanted.
    pub(super) fn take(&self, tag: u64, is_wanted: impl Fn(&T) -> bool) -> Option<Box<T>> {
        let tag = named(tag);
        self.within_reach(tag).find_map(|at| {
            self.claim(at, tag).then_some(())?;
            let item = self.items[at].take();
            if item.as_deref().is_some_and(&is_wanted) {
                self.leave(at, FREE);
                return item;
            }
            // Another thing with the same tag.
            self.items[at].store(item);
            self.leave(at, tag);
            None
        })
    }

    /// Drops what is not to be kept of what is in these places.
    pub(super) fn retain(&self, places: Range<usize>, keep: impl Fn(&T) -> bool) {
        for at in places {
            self.look(at, &keep);
        }
    }

    /// Drops everything, now and from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.retain(0..self.count(), |_| false);
    }

    fn look(&self, at: usize, keep: impl Fn(&T) -> bool) {
        let tag = self.tags[at].load(Ordering::SeqCst);
        if tag == FREE || tag == BUSY || !self.claim(at, tag) {
            return;
        }
        let item = self.items[at].take();
        if item.as_deref().is_some_and(keep) {
            self.items[at].store(item);
            self.leave(at, tag);
        } else {
            self.leave(at, FREE);
        }
    }

    fn within_reach(&self, tag: u64) -> impl Iterator<Item = usize> + use<T> {
        let count = self.count();
        let start = usize::try_from(tag % count.max(1) as u64).unwrap_or(0);
        (start..start + self.reach).map(move |at| at % count)
    }

    /// Makes a place busy that has this tag.
    fn claim(&self, at: usize, tag: u64) -> bool {
        let place = &self.tags[at];
        place.load(Ordering::Relaxed) == tag
            && place
                .compare_exchange(tag, BUSY, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
    }

    /// Ends that, with this tag from now on.
    fn leave(&self, at: usize, tag: u64) {
        self.tags[at].store(tag, Ordering::SeqCst);
        // Who closes passes by what is busy. The one sees the other, whoever is first: both orders are `SeqCst`.
        if tag != FREE && self.closed.load(Ordering::SeqCst) {
            self.look(at, |_| false);
        }
    }
}

/// A place that waits for something. Dropping it frees it.
pub(super) struct Place<'s, T> {
    slots: &'s Slots<T>,
    at: usize,
    tag: u64,
    after: u64,
}

impl<T> Place<'_, T> {
    /// Puts something there, for whoever looks for the tag.
    pub(super) fn put(mut self, item: T) {
        self.slots.items[self.at].store(Some(Box::new(item)));
        self.after = self.tag;
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.slots.leave(self.at, self.after);
    }
}

/// A tag that is none of those with a meaning.
const fn named(tag: u64) -> u64 {
    if tag > BUSY { tag } else { tag + BUSY + 1 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Put(u64),
        Take(u64),
        /// Keeps the things whose number, divided by this, leaves something.
        Retain(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..40_u64).prop_map(Step::Put),
            3 => (0..40_u64).prop_map(Step::Take),
            1 => (2..5_usize).prop_map(Step::Retain),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn what_was_put_is_taken_once_under_its_own_tag(steps in steps(), count in 0..24_usize, reach in 1..9_usize) {
            let slots = Slots::new(count, reach);
            let mut there: BTreeSet<(u64, usize)> = BTreeSet::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(tag) => match slots.reserve(tag) {
                        Some(place) => {
                            place.put((tag, number));
                            there.insert((tag, number));
                        }
                        None => prop_assert!(there.len() >= reach.min(count), "there was room"),
                    },
                    Step::Take(tag) => match slots.take(tag, |item| item.0 == tag) {
                        Some(item) => {
                            prop_assert_eq!(item.0, tag);
                            prop_assert!(there.remove(&item));
                        }
                        None => prop_assert!(there.iter().all(|item| item.0 != tag), "it is there"),
                    },
                    Step::Retain(divisor) => {
                        slots.retain(0..count, |item| item.1 % divisor != 0);
                        there.retain(|item| item.1 % divisor != 0);
                    }
                }
                prop_assert_eq!(slots.held(), there.len());
                for tag in 0..40 {
                    prop_assert!(there.iter().filter(|item| item.0 == tag).count() <= reach);
                }
            }
        }
    }

    #[test]
    fn a_pointer_is_swapped_without_a_lock() {
        assert!(AtomicCell::<Option<Box<[u8; 100]>>>::is_lock_free());
    }

    #[test]
    fn a_place_that_gets_nothing_is_free_again() {
        let slots: Slots<u8> = Slots::new(1, 1);
        drop(slots.reserve(7).expect("it is free"));
        let place = slots.reserve(8).expect("it is free again");
        assert!(slots.reserve(7).is_none(), "somebody is at it");
        assert!(slots.take(8, |_| true).is_none(), "nothing is there yet");
        place.put(1);
        assert_eq!(slots.take(8, |_| true).as_deref(), Some(&1));
    }

    /// Counts how often it is dropped.
    struct Counted<'c>(usize, &'c AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn threads_lose_nothing_double_nothing_and_leave_nothing_once_it_is_closed() {
        const EACH: usize = 20_000;
        for _ in 0..5 {
            let (dropped, put, taken) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
            let slots = Slots::new(16, 8);
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (slots, dropped, put, taken) = (&slots, &dropped, &put, &taken);
                    scope.spawn(move || {
                        for number in 0..EACH {
                            let tag = number as u64 % 5;
                            if number % 2 == thread % 2 {
                                if let Some(place) = slots.reserve(tag) {
                                    put.fetch_add(1, Ordering::SeqCst);
                                    place.put(Counted(number % 5, dropped));
                                }
                            } else if let Some(item) = slots.take(tag, |item| item.0 as u64 == tag) {
                                assert_eq!(item.0 as u64, tag);
                                taken.fetch_add(1, Ordering::SeqCst);
                            }
                            if number % 64 == 0 {
                                slots.retain(0..16, |item| item.0 != 3);
                            }
                            if thread == 0 && number == EACH / 2 {
                                slots.close();
                            }
                        }
                    });
                }
            });
            assert!(taken.load(Ordering::SeqCst) > 0, "the threads met");
            assert_eq!(slots.held(), 0, "whatever was on its way when it was closed");
            assert_eq!(dropped.load(Ordering::SeqCst), put.load(Ordering::SeqCst));
        }
    }
}

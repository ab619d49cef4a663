//! One set of the table: a few counters and the protocol by which a key gets exactly one of them.
//!
//! Finding a key is a scan of plain loads. A new key is entered in two steps that any worker can finish for any
//! other: the head word announces "slot i becomes key K", then the slot is written, then the head is cleared. All
//! insertions of a set pass through its head, so a key never has two counters, and a worker that stops in the
//! middle holds nobody up. Absent: time and hashing, which are `table`'s.

use super::counter::{Counter, Fingerprint, Head, Word};

/// `WAYS` counters and their head, which stand before them: 256 bytes for 15.
#[derive(Debug)]
pub(super) struct Set<'w, W, const WAYS: usize> {
    head: &'w W,
    slots: &'w [W; WAYS],
}

impl<W, const WAYS: usize> Clone for Set<'_, W, WAYS> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<W, const WAYS: usize> Copy for Set<'_, W, WAYS> {}

/// What [`Set::claim`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The key has a slot now; [`Set::find`] gives it.
    Present,
    /// The key has none and must not get one as long as the set is as this head saw it.
    Full(Head),
}

impl<'w, W: Word, const WAYS: usize> Set<'w, W, WAYS> {
    /// The set that these words are.
    #[inline]
    pub(super) fn new<const WORDS: usize>(words: &'w [W; WORDS]) -> Self {
        const { assert!(WORDS == WAYS + 1, "a head and the counters") };
        let (head, slots) = words.split_first().expect("there is a head");
        let slots = slots.try_into().expect("the counters are what is left");
        Self { head, slots }
    }

    /// Where the key is counted, if it is in this set.
    #[inline]
    pub(super) fn find(self, fingerprint: Fingerprint, start: usize) -> Option<(usize, Counter)> {
        for slot in probe::<WAYS>(start) {
            let word = self.slots[slot].load();
            let counter = Counter::unpack(word);
            if counter.fingerprint == fingerprint {
                return Some((slot, counter));
            }
            // A slot never returns to zero, and a key takes the first free slot on its way.
            if word == 0 {
                return None;
            }
        }
        None
    }

    /// Gives the key a slot with usage zero, at the place of a counter that is spent. `admit` may refuse the
    /// insertion for the set as seen; `now_s` reads the newest time that any worker has seen.
    pub(super) fn claim(
        self,
        fingerprint: Fingerprint,
        start: usize,
        now_s: &impl Fn() -> u32,
        admit: impl Fn(Head) -> bool,
    ) -> Claim {
        loop {
            let head = self.settled_head(now_s);
            let now = now_s();
            let mut free = None;
            for slot in probe::<WAYS>(start) {
                let word = self.slots[slot].load();
                let counter = Counter::unpack(word);
                if counter.fingerprint == fingerprint {
                    return Claim::Present;
                }
                if free.is_none() && counter.is_spent(now) {
                    free = Some(slot);
                }
                if word == 0 {
                    break;
                }
            }
            let Some(slot) = free.filter(|_| admit(head)) else {
                // The scan is only a fact if nothing was entered while it ran.
                if self.head.load() == head.pack() {
                    return Claim::Full(head);
                }
                continue;
            };
            let announced = head.next(Some((slot, fingerprint)));
            if self.head.swap(head.pack(), announced.pack()) {
                self.complete(announced, slot, fingerprint, now_s);
            }
        }
    }

    /// Replaces a counter that was read by [`Set::find`]; false when it has changed since.
    #[inline]
    pub(super) fn swap(self, slot: usize, from: Counter, to: Counter) -> bool {
        debug_assert!(
            from.fingerprint == to.fingerprint,
            "a slot changes owner only through the head"
        );
        self.slots[slot].swap(from.pack(), to.pack())
    }

    /// Records that a key which found the set as in `full` was counted elsewhere until `until_s`; false when
    /// the set has changed since, so that the key may have a slot by now.
    pub(super) fn mark_overflowed(self, full: Head, until_s: u32) -> bool {
        let marked = Head {
            overflowed_until_s: full.overflowed_until_s.max(until_s),
            ..full.next(None)
        };
        self.head.swap(full.pack(), marked.pack())
    }

    /// Until when keys of this set may have usage in an overflow counter.
    pub(super) fn overflowed_until_s(self) -> u32 {
        Head::unpack(self.head.load()).overflowed_until_s
    }

    /// Every counter in use, for inspection.
    pub(super) fn counters(self) -> impl Iterator<Item = Counter> + use<'w, W, WAYS> {
        self.slots
            .iter()
            .map(Word::load)
            .filter(|word| *word != 0)
            .map(Counter::unpack)
    }

    fn settled_head(self, now_s: &impl Fn() -> u32) -> Head {
        loop {
            let head = Head::unpack(self.head.load());
            match head.pending {
                Some((slot, fingerprint)) => self.complete(head, slot, fingerprint, now_s),
                None => return head,
            }
        }
    }

    /// Carries out the announced insertion, or withdraws it when the slot's owner came back meanwhile.
    ///
    /// A helper that comes too late does no harm: its swap expects the spent counter that it read *before* it
    /// saw the head still announce. Once that counter is replaced or renewed it never comes back, because every
    /// renewal moves `until_s` forward.
    fn complete(self, announced: Head, slot: usize, fingerprint: Fingerprint, now_s: &impl Fn() -> u32) {
        loop {
            let old = self.slots[slot].load();
            let counter = Counter::unpack(old);
            if counter.fingerprint == fingerprint {
                break;
            }
            if self.head.load() != announced.pack() {
                return;
            }
            let now = now_s();
            if !counter.is_spent(now) {
                break;
            }
            // Live for one second: its first user gives it its window. Later than that user's window means
            // that the user's clock is behind, and it will look again.
            let fresh = Counter {
                fingerprint,
                until_s: now.saturating_add(1),
                count: 0,
            };
            if self.slots[slot].swap(old, fresh.pack()) {
                break;
            }
        }
        self.head.swap(announced.pack(), announced.next(None).pack());
    }
}

/// The order in which a key visits the slots of its set.
#[inline]
fn probe<const WAYS: usize>(start: usize) -> impl Iterator<Item = usize> {
    let start = start % WAYS;
    (start..WAYS).chain(0..start)
}

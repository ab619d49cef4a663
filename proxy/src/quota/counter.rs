//! The two 128-bit words of which the quota table is made, and how their fields are packed.
//!
//! One word holds a whole counter, so that one compare-and-swap checks the key, the window and the usage
//! together: a worker that was preempted for an hour can never add to a counter that has changed owner.

use std::sync::atomic::Ordering;

/// The largest usage one counter holds: 2⁴⁸ − 1, which is 281 million dollars in micro-dollars.
/// A limit above it is enforced as this number; an amount above it never fits.
pub const USAGE_MAX: u64 = (1 << 48) - 1;

/// A shared 128-bit atomic. The table runs on `portable_atomic::AtomicU128` (`cmpxchg16b`, `casp`);
/// the model check runs the same protocol on loom's atomics.
pub(super) trait Word: Default {
    /// Acquire load.
    fn load(&self) -> u128;
    /// Replaces `from` by `to` (acquire and release); false when the word was not `from`.
    fn swap(&self, from: u128, to: u128) -> bool;
}

impl Word for portable_atomic::AtomicU128 {
    #[inline]
    fn load(&self) -> u128 {
        self.load(Ordering::SeqCst)
    }

    #[inline]
    fn swap(&self, from: u128, to: u128) -> bool {
        self.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

/// The 48 bits by which a counter is recognised inside its set. Never zero: zero marks an unused slot.
///
/// With the set index, at least 60 keyed bits tell two counters apart. A key that meets a set of 15 others is
/// confused with one of them with probability below 2⁻⁴⁴; the two then share one counter, which can only
/// deny earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    /// Takes the high 48 bits of a keyed hash. `held` counters live until they are back at zero, whatever
    /// the time.
    pub(super) fn new(hash: u64, held: bool) -> Self {
        Self((hash >> 16) & !1 | 2 | u64::from(held))
    }

    fn is_held(self) -> bool {
        self.0 & 1 == 1
    }
}

/// One counter, read out of its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    pub(super) fingerprint: Fingerprint,
    /// Unix second from which the counter says nothing any more. For a window counter it also names the window.
    pub(super) until_s: u32,
    /// Usage, at most [`USAGE_MAX`].
    pub(super) count: u64,
}

impl Counter {
    pub(super) fn unpack(word: u128) -> Self {
        Self {
            fingerprint: Fingerprint(bits(word, 80, 48)),
            until_s: bits32(word, 48),
            count: bits(word, 0, 48),
        }
    }

    pub(super) fn pack(self) -> u128 {
        debug_assert!(self.count <= USAGE_MAX, "usage is clamped before it is stored");
        u128::from(self.fingerprint.0) << 80
            | u128::from(self.until_s) << 48
            | u128::from(self.count & USAGE_MAX)
    }

    /// True when forgetting this counter loses nothing.
    pub(super) fn is_spent(self, now_s: u32) -> bool {
        self.until_s <= now_s && (self.count == 0 || !self.fingerprint.is_held())
    }

    /// True for a counter that follows what is in flight instead of a window.
    pub(super) fn is_held(self) -> bool {
        self.fingerprint.is_held()
    }
}

/// The word that orders the insertions of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Rises with every change, so that a decision taken on an old view of the set is refused.
    pub(super) version: u64,
    /// The insertion that has been decided and that every passer-by completes before going on.
    pub(super) pending: Option<(usize, Fingerprint)>,
    /// Until this second, keys of this set may have usage in their limit's overflow counter.
    pub(super) overflowed_until_s: u32,
}

impl Head {
    pub(super) fn unpack(word: u128) -> Self {
        let slot = (word >> 48 & 0xf) as usize;
        let pending = (word >> 52 & 1 == 1).then(|| (slot, Fingerprint(bits(word, 0, 48))));
        Self {
            version: bits(word, 53, 43),
            pending,
            overflowed_until_s: bits32(word, 96),
        }
    }

    pub(super) fn pack(self) -> u128 {
        let pending = match self.pending {
            Some((slot, fingerprint)) => 1 << 52 | (slot as u128 & 0xf) << 48 | u128::from(fingerprint.0),
            None => 0,
        };
        u128::from(self.overflowed_until_s) << 96 | u128::from(self.version & ((1 << 43) - 1)) << 53 | pending
    }

    /// The same set one change later.
    pub(super) fn next(self, pending: Option<(usize, Fingerprint)>) -> Self {
        Self {
            version: (self.version + 1) & ((1 << 43) - 1),
            pending,
            ..self
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "masked to at most 48 bits")]
fn bits(word: u128, shift: u32, width: u32) -> u64 {
    (word >> shift) as u64 & ((1 << width) - 1)
}

#[expect(clippy::cast_possible_truncation, reason = "the field is these 32 bits")]
fn bits32(word: u128, shift: u32) -> u32 {
    (word >> shift) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_counter_survives_its_word(hash: u64, held: bool, until_s: u32, count in 0..=USAGE_MAX) {
            let counter = Counter { fingerprint: Fingerprint::new(hash, held), until_s, count };
            prop_assert_eq!(Counter::unpack(counter.pack()), counter);
            prop_assert!(counter.pack() != 0);
            prop_assert_eq!(counter.is_held(), held);
        }

        #[test]
        fn every_head_survives_its_word(version in 0..1u64 << 43, slot in 0..15usize, hash: u64,
                                        pending: bool, overflowed_until_s: u32) {
            let pending = pending.then(|| (slot, Fingerprint::new(hash, false)));
            let head = Head { version, pending, overflowed_until_s };
            prop_assert_eq!(Head::unpack(head.pack()), head);
        }
    }

    #[test]
    fn the_word_is_lock_free_on_this_machine() {
        assert!(portable_atomic::AtomicU128::is_lock_free());
    }
}

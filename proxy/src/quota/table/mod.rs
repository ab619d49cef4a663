//! All counters of the process: a table of fixed size that every worker shares.
//!
//! A key is hashed with secrets drawn at start and leads to one set of 15 counters. A counter gives way to another
//! key only when its window is over and nothing is held in it, so nobody can push a limited key out. A key that
//! finds its set full of live counters is counted in its limit's shared overflow counter, and stays there as long
//! as that counter's window: it can be denied early, never admitted late. Nothing is ever moved or freed; memory
//! appears page by page as keys do. Absent: what a limit is.

mod sets;

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;

use super::clock::Clock;
use super::counter::{Counter, Fingerprint, Head};
use super::set::Claim;
use super::window::{Span, Window};
use crate::limits;
use sets::{Sets, TableSet};

/// The counters of one process. Shared by reference; all methods take `&self`.
#[derive(Debug)]
pub struct Table {
    own: Sets,
    overflow: Sets,
    clock: Clock,
    secrets: [RandomState; 2],
    overflowed: AtomicU64,
    reservations: AtomicU64,
}

/// Who is counted: a limit, by its stable id, and an identifier under it. 128 keyed bits; the identifier itself is
/// not kept. Good for one table only.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    limit: u64,
    high: u64,
    low: u64,
}

/// One counter of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    key: Key,
    salt: u64,
    life: Life,
}

#[derive(Clone, Copy, Debug)]
enum Life {
    /// Counts in a window and is remembered until `until_s`, which also names that window. Whoever asks at
    /// `end_s` or later is behind.
    Window { end_s: u32, until_s: u32 },
    /// Counts what is in flight.
    Held,
}

impl Cell {
    /// Usage of a key in a window of a span, as seen during the window `current`: the same one, or the next.
    pub(super) fn window(key: Key, span: Span, window: Window, current: Window) -> Self {
        let (kept_s, odd) = match span {
            // The usage of the window before is needed to its end, so neighbours alternate.
            Span::Sliding(_) => (window.length_s(), window.is_odd()),
            Span::Calendar(_) | Span::Fixed(_) => (0, false),
        };
        let second = |second: u64| u32::try_from(second).unwrap_or(u32::MAX);
        let life = Life::Window {
            end_s: second(current.end_s),
            until_s: second(window.end_s + kept_s),
        };
        Self {
            key,
            salt: span.salt() << 1 | u64::from(odd),
            life,
        }
    }

    /// What a key holds against the limit of a span.
    pub(super) fn held(key: Key, span: Span) -> Self {
        Self {
            key,
            salt: span.salt() << 1 | 1 << 63,
            life: Life::Held,
        }
    }

    fn of(self, key: Key) -> Self {
        Self { key, ..self }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(mix(self.key.high ^ self.salt), matches!(self.life, Life::Held))
    }

    /// Bits that choose the set and the first slot.
    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
    fn place(&self) -> usize {
        mix(self.key.low ^ self.salt) as usize
    }
}

/// Where a key was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Own,
    Overflow,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Update {
    /// Done; the usage was `before`.
    Changed { before: u64, place: Place },
    /// The change did not want this usage.
    Refused { usage: u64 },
    /// The window is over for somebody already: lift the clock and look again.
    Behind,
    /// Neither the key nor its limit's overflow found room. Never reached with fewer than some ten thousand limits.
    Full,
}

impl Table {
    /// With room for at least so many counters, at 17 bytes each; a limit with two periods needs two for each
    /// identifier, a token budget two or three. Sets stay clear of overflow while a quarter is in use, and one
    /// key in 250 overflows at one half.
    pub fn new(counters: usize) -> Self {
        Self {
            own: Sets::new(counters),
            overflow: Sets::new(limits::QUOTA_OVERFLOW_COUNTERS),
            clock: Clock::default(),
            secrets: [RandomState::new(), RandomState::new()],
            overflowed: AtomicU64::new(0),
            reservations: AtomicU64::new(0),
        }
    }

    /// The key of an identifier under a limit.
    pub fn key(&self, limit: u64, identifier: &[u8]) -> Key {
        let [high, low] = [0, 1].map(|secret: usize| {
            let mut hasher = self.secrets[secret].build_hasher();
            hasher.write_u64(limit);
            hasher.write(identifier);
            hasher.finish()
        });
        Key { limit, high, low }
    }

    /// The key of an identifier that a 64-bit digest stands for: the id of an entity, which no client chooses. It has
    /// nothing to do with the key of the digest's bytes.
    #[inline]
    pub fn key_of_digest(&self, limit: u64, digest: u64) -> Key {
        let mut hasher = self.secrets[0].build_hasher();
        hasher.write_u64(limit);
        hasher.write_u64(digest);
        let high = hasher.finish();
        // There are no more than 64 bits to tell apart, and `mix` tells all of them.
        let low = high.rotate_left(32) ^ OTHER_HALF;
        Key { limit, high, low }
    }

    /// Makes ready for so many known callers. When they would come to use every page sooner or later, all pages are
    /// there from now on, and as huge ones where the system has them: walking the page tables for small ones is a
    /// tenth of a decision.
    pub fn expect(&self, callers: usize) {
        if callers >= limits::QUOTA_KNOWN_CALLERS {
            self.own.prefer_huge_pages();
        }
    }

    /// Counters that the table has room for.
    pub fn capacity(&self) -> usize {
        self.own.capacity()
    }

    /// Bytes of counters that are backed by memory so far.
    pub fn resident_bytes(&self) -> usize {
        self.own.resident_bytes() + self.overflow.resident_bytes()
    }

    /// Times a key was counted in an overflow counter since start.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// What is held in flight by all keys, added up over their limits. Walks the whole table.
    pub fn held(&self) -> u64 {
        let held = |sets: &Sets| -> u64 {
            sets.counters()
                .filter(|counter| counter.is_held())
                .map(|counter| counter.count)
                .sum()
        };
        held(&self.own) + held(&self.overflow)
    }

    /// Reservations that are not settled yet.
    pub fn reservations(&self) -> u64 {
        self.reservations.load(Ordering::Relaxed)
    }

    pub(super) fn count_reservation(&self, begun: bool) {
        if begun {
            self.reservations.fetch_add(1, Ordering::Relaxed);
        } else {
            self.reservations.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The newest time that anybody has seen, in Unix milliseconds.
    pub(super) fn newest_ms(&self) -> u64 {
        u64::from(self.clock.newest_s()) * 1000
    }

    /// The time to judge by; see [`Clock::lift`].
    pub(super) fn lift(&self, now_ms: u64) -> u64 {
        self.clock.lift(now_ms)
    }

    /// A usage, 0 for one that was never counted; `None` when the window is over for somebody already.
    pub(super) fn usage(&self, cell: &Cell) -> Option<u64> {
        let set = self.own.set(cell.place());
        if let Some((_slot, counter)) = set.find(cell.fingerprint(), start(cell)) {
            return self.current(counter, cell.life);
        }
        if set.overflowed_until_s() > self.clock.newest_s() {
            self.overflow_usage(cell)
        } else {
            Some(0)
        }
    }

    /// Changes a usage by `change`, which sees it and may refuse, in one atomic step. The new usage must not
    /// exceed [`super::USAGE_MAX`].
    pub(super) fn update(&self, cell: &Cell, change: impl Fn(u64) -> Option<u64>) -> Update {
        let set = self.own.set(cell.place());
        let newest_s = || self.clock.newest_s();
        loop {
            if let Some(update) = self.change(set, cell, Place::Own, &change) {
                return update;
            }
            let admit = |head: Head| {
                head.overflowed_until_s <= newest_s()
                    || self.overflow_usage(cell).is_some_and(|usage| usage == 0)
            };
            self.own.touch(cell.place());
            let Claim::Full(head) = set.claim(cell.fingerprint(), start(cell), &newest_s, admit) else {
                continue;
            };
            let update = self.update_overflow(cell, &change);
            if matches!(update, Update::Behind | Update::Full) {
                return update;
            }
            // Marked after a refusal too, so that `usage` looks where the refusal came from.
            if set.mark_overflowed(head, self.marked_until_s(cell)) {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                return update;
            }
            // The set has changed since it was seen full, so the key may have a counter of its own by now.
            if let Update::Changed { before, .. } = update {
                let after = change(before).unwrap_or(before);
                self.take_back(cell, Place::Overflow, after.saturating_sub(before));
            }
        }
    }

    /// Takes an amount back from where it was counted. Does nothing when that window is forgotten.
    pub(super) fn take_back(&self, cell: &Cell, place: Place, amount: u64) {
        let back = |usage: u64| Some(usage.saturating_sub(amount));
        match place {
            Place::Own => self.change(self.own.set(cell.place()), cell, place, &back),
            Place::Overflow => {
                let cell = self.overflow_cell(cell);
                self.change(self.overflow.set(cell.place()), &cell, place, &back)
            }
        };
    }

    fn update_overflow(&self, cell: &Cell, change: &impl Fn(u64) -> Option<u64>) -> Update {
        let cell = self.overflow_cell(cell);
        let set = self.overflow.set(cell.place());
        loop {
            if let Some(update) = self.change(set, &cell, Place::Overflow, change) {
                return update;
            }
            let newest_s = || self.clock.newest_s();
            self.overflow.touch(cell.place());
            if let Claim::Full(_) = set.claim(cell.fingerprint(), start(&cell), &newest_s, |_head| true) {
                return Update::Full;
            }
        }
    }

    /// `None` when the cell has no counter in this set.
    fn change(
        &self,
        set: TableSet<'_>,
        cell: &Cell,
        place: Place,
        change: &impl Fn(u64) -> Option<u64>,
    ) -> Option<Update> {
        loop {
            let (slot, counter) = set.find(cell.fingerprint(), start(cell))?;
            let Some(before) = self.current(counter, cell.life) else {
                return Some(Update::Behind);
            };
            let Some(count) = change(before) else {
                return Some(Update::Refused { usage: before });
            };
            let until_s = match cell.life {
                Life::Window { until_s, .. } => until_s,
                // A counter that falls to zero may be given away; a later end tells it from its former selves.
                Life::Held if count == 0 => self.clock.newest_s().max(counter.until_s).saturating_add(1),
                Life::Held => counter.until_s,
            };
            if set.swap(
                slot,
                counter,
                Counter {
                    until_s,
                    count,
                    ..counter
                },
            ) {
                return Some(Update::Changed { before, place });
            }
        }
    }

    /// What a counter says about the cell's window; `None` when it has gone on to a later one.
    fn current(&self, counter: Counter, life: Life) -> Option<u64> {
        match life {
            Life::Held => Some(counter.count),
            Life::Window { until_s, .. } if counter.until_s == until_s => Some(counter.count),
            // Written when the clock ran ahead, before it was set back: worth nothing.
            Life::Window { end_s, until_s } if counter.until_s > until_s => {
                (self.clock.newest_s() < end_s).then_some(0)
            }
            Life::Window { .. } => Some(0),
        }
    }

    fn overflow_cell(&self, cell: &Cell) -> Cell {
        cell.of(self.key(cell.key.limit, b""))
    }

    fn overflow_usage(&self, cell: &Cell) -> Option<u64> {
        let cell = self.overflow_cell(cell);
        match self
            .overflow
            .set(cell.place())
            .find(cell.fingerprint(), start(&cell))
        {
            Some((_slot, counter)) => self.current(counter, cell.life),
            None => Some(0),
        }
    }

    fn marked_until_s(&self, cell: &Cell) -> u32 {
        match cell.life {
            Life::Window { until_s, .. } => until_s,
            Life::Held => self.clock.newest_s().saturating_add(limits::RESERVATION_S),
        }
    }
}

/// Any odd looking number: it keeps the two halves of a digest's key from being each other's.
const OTHER_HALF: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where a cell's search begins in its set.
fn start(cell: &Cell) -> usize {
    cell.place() >> (usize::BITS - 4)
}

/// Spreads a keyed hash and a salt over all bits (the finaliser of MurmurHash3).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ bits >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ bits >> 33
}

#[cfg(test)]
mod tests;

//! `sticky-sessions`: a cookie names the target; who has none gets the next of the wheel.

use xxhash_rust::xxh3::xxh3_64;

use super::Member;
use super::wheel::Wheel;

/// The wheel, and how targets are named.
pub(super) struct Sticky {
    wheel: Wheel,
    /// By number. The same on every worker and node; not an address that a client could read.
    marks: Box<[u64]>,
}

impl Sticky {
    /// For targets with these names, `host:port`.
    pub(super) fn new<'n>(wheel: Wheel, names: impl Iterator<Item = &'n str>) -> Self {
        Self {
            wheel,
            marks: names.map(|name| xxh3_64(name.as_bytes())).collect(),
        }
    }

    /// The target that `mark` names, while it may be used; else another.
    pub(super) fn next(
        &mut self,
        members: &[Member],
        mark: u64,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let named = self.marks.iter().position(|it| *it == mark);
        named
            .filter(|number| members[*number].weight > 0 && allowed(*number))
            .or_else(|| self.wheel.next(allowed))
    }

    /// Gives a target another share of the new sessions.
    pub(super) fn reweigh(&mut self, number: usize, weight: u32) {
        self.wheel.reweigh(number, weight);
    }

    /// What names a target.
    pub(super) fn mark(&self, number: usize) -> u64 {
        self.marks[number]
    }
}

//! `latency`: of two targets drawn at random, the one that is expected to answer sooner for its weight.
//!
//! Two choices rather than the best of all: when a target recovers, not every exchange of every worker falls on it.

use super::Member;
use crate::worker::clock::Moment;

/// Draws the two.
pub(super) struct TwoChoices {
    random: u64,
}

impl TwoChoices {
    pub(super) const fn new(worker: usize) -> Self {
        // Xorshift stays at zero; an odd multiple of anything is not zero.
        Self {
            random: (worker as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    pub(super) fn next(
        &mut self,
        members: &[Member],
        now: Moment,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let usable = |number: &usize| members[*number].weight > 0 && allowed(*number);
        let count = (0..members.len()).filter(usable).count();
        if count == 0 {
            return None;
        }
        let nth = |place: usize| (0..members.len()).filter(usable).nth(place);
        let first = self.below(count);
        let one = nth(first)?;
        if count == 1 {
            return Some(one);
        }
        // Any of the others.
        let second = (first + 1 + self.below(count - 1)) % count;
        let other = nth(second)?;
        let cost = |number: usize| members[number].load.cost(now) / f64::from(members[number].weight);
        Some(if cost(other) < cost(one) { other } else { one })
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // The high half of a product is uniform enough for any bound that a file can hold, and below it.
        usize::try_from((u128::from(self.random) * bound as u128) >> 64).unwrap_or(0)
    }
}

//! `least-connections`: the target that carries least for its weight.

use super::Member;

/// Where the search begins; it moves on, so that equals take turns.
pub(super) struct Least {
    start: usize,
}

impl Least {
    pub(super) const fn new(start: usize) -> Self {
        Self { start }
    }

    /// The smallest (running + 1) ÷ weight, as Kong reckons.
    pub(super) fn next(&mut self, members: &[Member], allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let count = members.len();
        let mut best: Option<usize> = None;
        for step in 0..count {
            let number = (self.start + step) % count;
            if members[number].weight == 0 || !allowed(number) {
                continue;
            }
            if best.is_none_or(|best| carries_less(&members[number], &members[best])) {
                best = Some(number);
            }
        }
        self.start = best? + 1;
        best
    }
}

/// Compares the two fractions without dividing.
fn carries_less(one: &Member, other: &Member) -> bool {
    let side =
        |load: &Member, weight: &Member| (u64::from(load.load.running()) + 1) * u64::from(weight.weight);
    side(one, other) < side(other, one)
}

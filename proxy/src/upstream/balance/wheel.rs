//! Weighted round-robin, one wheel for each worker and upstream.
//!
//! The smooth variant: every turn each target gains its weight and the richest one pays the sum, so that a target of
//! weight 3 beside one of weight 1 is chosen a, a, b, a and never three times in a row beside a free one.

/// The targets of one upstream, seen by one worker.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Wheel {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    weight: i64,
    credit: i64,
}

impl Wheel {
    /// A wheel for targets with these weights. A weight of zero takes a target out.
    ///
    /// `start` moves the first choice on, so that workers do not all begin with the same target.
    pub(in crate::upstream) fn new(weights: impl IntoIterator<Item = u32>, start: usize) -> Self {
        let entries = weights
            .into_iter()
            .map(|weight| Entry {
                weight: i64::from(weight),
                credit: 0,
            })
            .collect();
        let mut wheel = Self { entries };
        for _ in 0..start {
            wheel.next(|_| true);
        }
        wheel
    }

    /// Gives a target another weight. Its turns come as they did, and then at the new rate.
    pub(in crate::upstream) fn reweigh(&mut self, number: usize, weight: u32) {
        self.entries[number].weight = i64::from(weight);
    }

    /// The next target among those allowed. `None` when none of them has weight.
    pub(in crate::upstream) fn next(&mut self, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let usable = |number: usize, entry: &Entry| entry.weight > 0 && allowed(number);
        let mut sum = 0;
        let mut best: Option<usize> = None;
        for number in 0..self.entries.len() {
            if !usable(number, &self.entries[number]) {
                continue;
            }
            let entry = &mut self.entries[number];
            entry.credit += entry.weight;
            sum += entry.weight;
            if best.is_none_or(|best| self.entries[number].credit > self.entries[best].credit) {
                best = Some(number);
            }
        }
        let best = best?;
        self.entries[best].credit -= sum;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weights_are_smooth() {
        let mut wheel = Wheel::new([3, 1], 0);
        let turns: Vec<_> = (0..8).filter_map(|_| wheel.next(|_| true)).collect();
        assert_eq!(turns, [0, 0, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn no_weight_means_no_target() {
        assert_eq!(Wheel::new([0, 0], 0).next(|_| true), None);
        assert_eq!(Wheel::new([], 3).next(|_| true), None);
    }

    proptest! {
        #[test]
        fn every_target_gets_its_share(weights in proptest::collection::vec(0_u32..50, 1..8), start in 0_usize..20) {
            let sum: u32 = weights.iter().sum();
            prop_assume!(sum > 0);
            let mut wheel = Wheel::new(weights.clone(), start);
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..sum {
                counts[wheel.next(|_| true).expect("some target has weight")] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}

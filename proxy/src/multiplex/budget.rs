//! How much nuisance a peer may make: so much at once, and so much more with every second.

use crate::worker::clock::Moment;

/// A bucket that empties with each nuisance and fills with time.
#[derive(Debug)]
pub(super) struct Budget {
    most: u32,
    per_second: u32,
    left: u32,
    filled: Moment,
    /// Whether it was not full any more when time last added to it.
    lasting: bool,
}

impl Budget {
    pub(super) const fn new(most: u32, per_second: u32, now: Moment) -> Self {
        Self {
            most,
            per_second,
            left: most,
            filled: now,
            lasting: false,
        }
    }

    /// Takes one; false when there is none left.
    pub(super) fn spend(&mut self, now: Moment) -> bool {
        let seconds = (now - self.filled).as_secs();
        if seconds > 0 {
            let more = u64::from(self.per_second).saturating_mul(seconds);
            self.earn(u32::try_from(more).unwrap_or(self.most));
            self.lasting = self.left < self.most;
            self.filled = now;
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }

    /// Whether what was spent came over so much time that it is the rate that was too high, not the burst.
    pub(super) const fn is_rate(&self) -> bool {
        self.lasting
    }

    /// Adds what honest work is allowed to cost.
    pub(super) fn earn(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::worker::clock;

    #[test]
    fn a_burst_and_a_rate_are_told_apart() {
        let start = clock::refresh();
        let mut budget = Budget::new(3, 1, start);
        assert_eq!([(); 4].map(|()| budget.spend(start)), [true, true, true, false]);
        assert!(!budget.is_rate());
        let mut budget = Budget::new(3, 1, start);
        let spent = [0, 0, 1, 1, 2, 2].map(|second| budget.spend(start + Duration::from_secs(second)));
        assert_eq!(spent, [true, true, true, true, true, false]);
        assert!(budget.is_rate());
        budget.earn(3);
        assert!(budget.spend(start + Duration::from_secs(9)) && !budget.is_rate());
    }
}

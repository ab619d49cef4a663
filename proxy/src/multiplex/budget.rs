//! How much nuisance a peer may make: so much at once, and so much more with every second.

use crate::worker::clock::Moment;

/// A bucket that empties with each nuisance and fills with time.
#[derive(Debug)]
pub(super) struct Budget {
    most: u32,
    per_second: u32,
    left: u32,
    filled: Moment,
}

impl Budget {
    pub(super) const fn new(most: u32, per_second: u32, now: Moment) -> Self {
        Self {
            most,
            per_second,
            left: most,
            filled: now,
        }
    }

    /// Takes one; false when there is none left.
    pub(super) fn spend(&mut self, now: Moment) -> bool {
        let seconds = (now - self.filled).as_secs();
        if seconds > 0 {
            let more = u64::from(self.per_second).saturating_mul(seconds);
            self.earn(u32::try_from(more).unwrap_or(self.most));
            self.filled = now;
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }

    /// Adds what honest work is allowed to cost.
    pub(super) fn earn(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.most);
    }
}

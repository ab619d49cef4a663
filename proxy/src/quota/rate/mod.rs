//! Kong's `rate-limiting`: requests per second, minute, hour, day, month and year, any of them together.

use super::USAGE_MAX;
use super::table::{Cell, Key, Place, Table, Update};
use super::window::{Period, Span};

/// Requests allowed in each of some periods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    limits: [u64; Period::ALL.len()],
    /// One bit for each limited period.
    limited: u8,
}

/// One period of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub period: Period,
    /// Requests allowed.
    pub limit: u64,
    /// Requests still allowed after this one.
    pub remaining: u64,
    /// Seconds until the window is over; [`Period::reset_s`].
    pub reset_s: u64,
}

/// Whether a request was within its limits, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// False for a request over a limit. It was not counted.
    pub admitted: bool,
    limit: RateLimit,
    remaining: [u64; Period::ALL.len()],
    now_ms: u64,
}

impl Decision {
    /// Every limited period, shortest first.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.limit.periods().map(|(period, limit)| Standing {
            period,
            limit,
            remaining: self.remaining[period as usize],
            reset_s: period.reset_s(self.now_ms),
        })
    }

    /// The period with the fewest requests remaining; the longest of those.
    pub fn tightest(&self) -> Option<Standing> {
        self.standings()
            .min_by_key(|standing| (standing.remaining, std::cmp::Reverse(standing.period)))
    }
}

impl RateLimit {
    /// Limits a period. Limits above [`USAGE_MAX`] are as good as none and enforced as that.
    #[must_use]
    #[inline]
    pub fn with(mut self, period: Period, limit: u64) -> Self {
        self.limits[period as usize] = limit;
        self.limited |= 1 << period as u8;
        self
    }

    /// Counts one request if every period has room for it: all periods or none, never more than a limit in a
    /// window, exactly the limit for requests that come one after the other. Requests that race for the last
    /// place may all see it taken while one of them is being refused by another period.
    #[inline]
    pub fn take(&self, table: &Table, now_ms: u64, key: Key) -> Decision {
        loop {
            let now_ms = table.lift(now_ms);
            if let Some(decision) = self.try_take(table, now_ms, key) {
                return decision;
            }
        }
    }

    /// `None` when somebody got in between: look again.
    #[inline]
    fn try_take(&self, table: &Table, now_ms: u64, key: Key) -> Option<Decision> {
        if self.limited & self.limited.wrapping_sub(1) != 0 && !self.fits(table, now_ms, key)? {
            return self.denied(table, now_ms, key);
        }
        let mut decision = self.decision(true, now_ms);
        let mut taken = [None; Period::ALL.len()];
        for (period, limit) in self.periods() {
            let admit = |usage: u64| (usage < limit.min(USAGE_MAX)).then_some(usage + 1);
            match table.update(&cell(key, period, now_ms), admit) {
                Update::Changed { before, place } => {
                    taken[period as usize] = Some(place);
                    decision.remaining[period as usize] = limit - before - 1;
                }
                refused => {
                    take_back(table, now_ms, key, taken);
                    return match refused {
                        Update::Refused { .. } => self.denied(table, now_ms, key),
                        // Without a counter nothing may pass.
                        Update::Full => Some(self.decision(false, now_ms)),
                        Update::Behind | Update::Changed { .. } => None,
                    };
                }
            }
        }
        Some(decision)
    }

    fn fits(&self, table: &Table, now_ms: u64, key: Key) -> Option<bool> {
        for (period, limit) in self.periods() {
            if table.usage(&cell(key, period, now_ms))? >= limit.min(USAGE_MAX) {
                return Some(false);
            }
        }
        Some(true)
    }

    /// What a denied request is told; `None` when it would fit after all.
    #[cold]
    fn denied(&self, table: &Table, now_ms: u64, key: Key) -> Option<Decision> {
        let mut decision = self.decision(false, now_ms);
        let mut exceeded = false;
        for (period, limit) in self.periods() {
            let usage = table.usage(&cell(key, period, now_ms))?;
            exceeded |= usage >= limit.min(USAGE_MAX);
            if usage < USAGE_MAX {
                decision.remaining[period as usize] = limit.saturating_sub(usage);
            }
        }
        exceeded.then_some(decision)
    }

    /// With nothing remaining.
    const fn decision(&self, admitted: bool, now_ms: u64) -> Decision {
        Decision {
            admitted,
            limit: *self,
            remaining: [0; Period::ALL.len()],
            now_ms,
        }
    }

    fn periods(&self) -> impl Iterator<Item = (Period, u64)> + use<> {
        let limited = self.limits.into_iter().zip(Period::ALL).zip(0..);
        let set = self.limited;
        limited.filter_map(move |((limit, period), bit)| (set >> bit & 1 == 1).then_some((period, limit)))
    }
}

#[inline]
fn cell(key: Key, period: Period, now_ms: u64) -> Cell {
    let window = period.window(now_ms);
    Cell::window(key, Span::Calendar(period), window, window)
}

#[cold]
fn take_back(table: &Table, now_ms: u64, key: Key, taken: [Option<Place>; Period::ALL.len()]) {
    for (period, place) in Period::ALL.into_iter().zip(taken) {
        if let Some(place) = place {
            table.take_back(&cell(key, period, now_ms), place, 1);
        }
    }
}

#[cfg(test)]
mod tests;

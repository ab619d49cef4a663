//! Kong's `rate-limiting`: requests per second, minute, hour, day, month and year, any of them together.

use super::USAGE_MAX;
use super::table::{Cell, Key, Place, Table, Update};
use super::window::{Period, Span};

/// Requests allowed in each period, by [`Period`]; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    limits: [Option<u64>; 6],
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
    standings: [Option<Standing>; 6],
}

impl Decision {
    /// Every limited period, shortest first.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.standings.iter().flatten().copied()
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
    pub fn with(mut self, period: Period, limit: u64) -> Self {
        self.limits[period as usize] = Some(limit);
        self
    }

    /// Counts one request if every period has room for it: all periods or none, never more than a limit in a
    /// window, exactly the limit for requests that come one after the other. Requests that race for the last
    /// place may all see it taken while one of them is being refused by another period.
    pub fn take(&self, table: &Table, now_ms: u64, key: Key) -> Decision {
        loop {
            let now_ms = table.lift(now_ms);
            if let Some(decision) = self.try_take(table, now_ms, key) {
                return decision;
            }
        }
    }

    /// `None` when somebody got in between: look again.
    fn try_take(&self, table: &Table, now_ms: u64, key: Key) -> Option<Decision> {
        let mut standings = [None; 6];
        let several = self.limits.iter().flatten().nth(1).is_some();
        if several && !self.fits(table, now_ms, key)? {
            return self.denied(table, now_ms, key);
        }
        let mut taken = [None; 6];
        for (index, period, limit) in self.periods() {
            let cell = cell(key, period, now_ms);
            let admit = |usage: u64| (usage < limit.min(USAGE_MAX)).then_some(usage + 1);
            match table.update(&cell, admit) {
                Update::Changed { before, place } => {
                    taken[index] = Some((cell, place));
                    let remaining = limit - before - 1;
                    standings[index] = Some(Standing {
                        period,
                        limit,
                        remaining,
                        reset_s: period.reset_s(now_ms),
                    });
                }
                refused => {
                    take_back(table, &taken);
                    return match refused {
                        Update::Refused { .. } => self.denied(table, now_ms, key),
                        Update::Full => Some(self.unknown(now_ms)),
                        Update::Behind | Update::Changed { .. } => None,
                    };
                }
            }
        }
        Some(Decision {
            admitted: true,
            standings,
        })
    }

    fn fits(&self, table: &Table, now_ms: u64, key: Key) -> Option<bool> {
        for (_index, period, limit) in self.periods() {
            if table.usage(&cell(key, period, now_ms))? >= limit.min(USAGE_MAX) {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The standings of a denied request; `None` when it would fit after all.
    fn denied(&self, table: &Table, now_ms: u64, key: Key) -> Option<Decision> {
        let mut standings = [None; 6];
        let mut exceeded = false;
        for (index, period, limit) in self.periods() {
            let usage = table.usage(&cell(key, period, now_ms))?;
            exceeded |= usage >= limit.min(USAGE_MAX);
            let remaining = if usage >= USAGE_MAX {
                0
            } else {
                limit.saturating_sub(usage)
            };
            standings[index] = Some(Standing {
                period,
                limit,
                remaining,
                reset_s: period.reset_s(now_ms),
            });
        }
        exceeded.then_some(Decision {
            admitted: false,
            standings,
        })
    }

    /// Without a counter nothing may pass.
    fn unknown(&self, now_ms: u64) -> Decision {
        let mut standings = [None; 6];
        for (index, period, limit) in self.periods() {
            standings[index] = Some(Standing {
                period,
                limit,
                remaining: 0,
                reset_s: period.reset_s(now_ms),
            });
        }
        Decision {
            admitted: false,
            standings,
        }
    }

    fn periods(&self) -> impl Iterator<Item = (usize, Period, u64)> {
        let limited = self.limits.iter().zip(Period::ALL).enumerate();
        limited.filter_map(|(index, (limit, period))| limit.map(|limit| (index, period, limit)))
    }
}

fn cell(key: Key, period: Period, now_ms: u64) -> Cell {
    let window = period.window(now_ms);
    Cell::window(key, Span::Calendar(period), window, window)
}

fn take_back(table: &Table, taken: &[Option<(Cell, Place)>]) {
    for (cell, place) in taken.iter().flatten() {
        table.take_back(cell, *place, 1);
    }
}

#[cfg(test)]
mod tests;

//! Token and money budgets: hold an upper bound before a call, settle for the real count after it.
//!
//! Two counters per budget: what is held by calls in flight, whatever their window, and what was settled in the
//! window. A call adds to the first and then reads the second; settling adds to the second before it takes from the
//! first. So held + used is never less than the truth, and concurrent calls never spend more than the limit, at
//! window edges too: a call that outlives its window stays held and is settled into the window then current.

use std::sync::Arc;

use super::USAGE_MAX;
use super::table::{Cell, Key, Place, Table, Update};
use super::window::{Span, Window};
use crate::limits;

/// What one call asks of one budget.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Whose.
    pub key: Key,
    /// The windows.
    pub span: Span,
    /// Allowed in a window: tokens, or micro-units of money. At most [`USAGE_MAX`] counts.
    pub limit: u64,
    /// Upper bound of what the call will use, in the same unit.
    pub amount: u64,
}

/// Where a budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Allowed in a window.
    pub limit: u64,
    /// What neither was used nor is held.
    pub remaining: u64,
    /// Seconds, at least 1: on a denial until the amount fits if nobody uses anything and all that is held is
    /// used up; otherwise until the window is over.
    pub reset_s: u64,
}

/// Answer to [`reserve`].
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives in the exchange; a box would be an allocation for each call"
)]
pub enum Reserve {
    /// Every budget holds its amount.
    Held(Reservation),
    /// Nothing is held.
    Denied {
        /// The first budget, in the order given, that has no room.
        index: usize,
        /// Where it stands.
        standing: Standing,
    },
}

/// Holds every amount or none, in the order given. An amount fits if held + used + amount ≤ limit.
///
/// At most [`limits::BUDGETS`] budgets; the one after is denied.
pub fn reserve(table: &Arc<Table>, now_ms: u64, budgets: &[Budget]) -> Reserve {
    let mut reservation = Reservation {
        table: Arc::clone(table),
        seen_ms: now_ms,
        holds: [None; limits::BUDGETS],
    };
    table.count_reservation(true);
    for (index, budget) in budgets.iter().enumerate() {
        let held = match reservation.holds.get_mut(index) {
            Some(place) => hold(table, now_ms, budget).map(|hold| *place = Some(hold)),
            None => Err(Standing {
                limit: budget.limit,
                remaining: 0,
                reset_s: 1,
            }),
        };
        if let Err(standing) = held {
            // Dropped with nothing observed: all that was held so far goes back.
            return Reserve::Denied { index, standing };
        }
    }
    Reserve::Held(reservation)
}

/// Where a budget stands now, before a call: the largest amount that fits.
pub fn standing(table: &Table, now_ms: u64, key: Key, span: Span, limit: u64) -> Standing {
    loop {
        let now_ms = table.lift(now_ms);
        let held = table.usage(&Cell::held(key, span)).unwrap_or(0);
        if let Some(used) = Used::read(table, key, span, now_ms) {
            let remaining = limit.min(USAGE_MAX).saturating_sub(held + used.now());
            return Standing {
                limit,
                remaining,
                reset_s: used.window_s(),
            };
        }
    }
}

/// Amounts held for one call. Settles exactly once: by [`settle`](Self::settle), or when dropped, with what was
/// [observed](Self::observe) until then – a client that left, an upstream that broke off, a panic.
#[derive(Debug)]
pub struct Reservation {
    table: Arc<Table>,
    /// Newest time that the call has seen, for the case that it is dropped.
    seen_ms: u64,
    holds: [Option<Hold>; limits::BUDGETS],
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    key: Key,
    span: Span,
    place: Place,
    amount: u64,
    observed: u64,
    standing: Standing,
}

/// Differences between what was held and what was used, by budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    returned: [i64; limits::BUDGETS],
}

impl Settlement {
    /// What a budget got back; negative for what the call used beyond its reservation, which was charged.
    pub fn returned(&self, index: usize) -> i64 {
        self.returned.get(index).copied().unwrap_or(0)
    }
}

impl Reservation {
    /// Where a budget stood after its amount was held.
    pub fn standing(&self, index: usize) -> Option<Standing> {
        self.hold(index).map(|hold| hold.standing)
    }

    /// What is held of a budget.
    pub fn amount(&self, index: usize) -> u64 {
        self.hold(index).map_or(0, |hold| hold.amount)
    }

    /// Takes note of what the call has certainly used of a budget so far. The largest count is kept.
    pub fn observe(&mut self, now_ms: u64, index: usize, count: u64) {
        self.seen_ms = self.seen_ms.max(now_ms);
        if let Some(hold) = self.holds.get_mut(index).and_then(Option::as_mut) {
            hold.observed = hold.observed.max(count);
        }
    }

    /// Holds more of every budget, all or none; `more` gives the additional amount by index.
    ///
    /// # Errors
    /// The budget without room and where it stands; what was held before is still held.
    pub fn extend(&mut self, now_ms: u64, more: impl Fn(usize) -> u64) -> Result<(), (usize, Standing)> {
        self.seen_ms = self.seen_ms.max(now_ms);
        for index in 0..self.holds.len() {
            let Some(held) = self.holds[index] else { break };
            let budget = Budget {
                key: held.key,
                span: held.span,
                limit: held.standing.limit,
                amount: more(index),
            };
            let refused = match hold(&self.table, now_ms, &budget) {
                Ok(added) if added.place == held.place => {
                    let standing = added.standing;
                    self.holds[index] = Some(Hold {
                        amount: held.amount + budget.amount,
                        standing,
                        ..held
                    });
                    continue;
                }
                // Its counter moved, which takes longer than any call may: one hold has one place.
                Ok(added) => {
                    self.table
                        .take_back(&Cell::held(held.key, held.span), added.place, budget.amount);
                    added.standing
                }
                Err(standing) => standing,
            };
            for earlier in 0..index {
                if let Some(hold) = &mut self.holds[earlier] {
                    let cell = Cell::held(hold.key, hold.span);
                    self.table.take_back(&cell, hold.place, more(earlier));
                    hold.amount -= more(earlier);
                }
            }
            return Err((index, refused));
        }
        Ok(())
    }

    /// Replaces what is held by what was used, by index: the rest is returned, an excess is charged.
    pub fn settle(mut self, now_ms: u64, actual: impl Fn(usize) -> u64) -> Settlement {
        self.close(self.table.lift(now_ms), |index, _hold| actual(index))
    }

    fn hold(&self, index: usize) -> Option<&Hold> {
        self.holds.get(index).and_then(Option::as_ref)
    }

    fn close(&mut self, now_ms: u64, actual: impl Fn(usize, &Hold) -> u64) -> Settlement {
        let mut settlement = Settlement {
            returned: [0; limits::BUDGETS],
        };
        for (index, place) in self.holds.iter_mut().enumerate() {
            let Some(hold) = place.take() else { break };
            let actual = actual(index, &hold).min(USAGE_MAX);
            charge(&self.table, now_ms, &hold, actual);
            settlement.returned[index] = hold.amount.cast_signed() - actual.cast_signed();
        }
        settlement
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Lifted, so that no worker takes a window that this call was the first to see for a mistake.
        let now_ms = self.table.lift(self.seen_ms.max(self.table.newest_ms()));
        self.close(now_ms, |_index, hold| hold.observed);
        self.table.count_reservation(false);
    }
}

fn hold(table: &Table, now_ms: u64, budget: &Budget) -> Result<Hold, Standing> {
    let &Budget {
        key,
        span,
        limit,
        amount,
    } = budget;
    let held_cell = Cell::held(key, span);
    let fits = |held: u64, used: u64| {
        let sum = held.saturating_add(used).saturating_add(amount);
        sum <= limit.min(USAGE_MAX)
    };
    let standing = |used: &Used, held: u64, reset_s: u64| {
        let remaining = limit.min(USAGE_MAX).saturating_sub(held + used.now());
        Standing {
            limit,
            remaining,
            reset_s,
        }
    };
    loop {
        let now_ms = table.lift(now_ms);
        // Look first, so that a call that cannot fit disturbs nobody.
        let held = table.usage(&held_cell).unwrap_or(0);
        let Some(used) = Used::read(table, key, span, now_ms) else {
            continue;
        };
        if !fits(held, used.now()) {
            if table.usage(&held_cell) != Some(held) {
                continue;
            }
            let room = limit
                .min(USAGE_MAX)
                .checked_sub(amount)
                .and_then(|room| room.checked_sub(held));
            return Err(standing(&used, held, used.until_fits_s(room)));
        }
        let add = |held: u64| fits(held, used.now()).then(|| held + amount);
        match table.update(&held_cell, add) {
            Update::Changed { before, place } => {
                // What was settled meanwhile counts too; what is settled from here on is in `before`.
                let used = used_now(table, key, span, now_ms);
                if fits(before, used.now()) {
                    let standing = standing(&used, before + amount, used.window_s());
                    return Ok(Hold {
                        key,
                        span,
                        place,
                        amount,
                        observed: 0,
                        standing,
                    });
                }
                table.take_back(&held_cell, place, amount);
            }
            Update::Full => return Err(standing(&used, USAGE_MAX, used.window_s())),
            Update::Refused { .. } | Update::Behind => {}
        }
    }
}

/// Adds to the window now current, then lets go of what was held.
fn charge(table: &Table, now_ms: u64, hold: &Hold, actual: u64) {
    let charged = actual == 0 || add(table, now_ms, hold, actual);
    // Without a counter to charge, it stays charged as held.
    let release = if charged {
        hold.amount
    } else {
        hold.amount.saturating_sub(actual)
    };
    table.take_back(&Cell::held(hold.key, hold.span), hold.place, release);
}

fn add(table: &Table, mut now_ms: u64, hold: &Hold, actual: u64) -> bool {
    loop {
        let window = hold.span.window(now_ms);
        let cell = Cell::window(hold.key, hold.span, window, window);
        match table.update(&cell, |used| Some((used + actual).min(USAGE_MAX))) {
            Update::Changed { .. } => return true,
            Update::Behind => now_ms = now_ms.max(table.newest_ms()),
            Update::Full | Update::Refused { .. } => return false,
        }
    }
}

/// What was used, seen at a time.
struct Used {
    window: Window,
    now_ms: u64,
    current: u64,
    previous: u64,
    /// Whether usage fades after its window; else it is forgotten with it.
    fades: bool,
}

fn used_now(table: &Table, key: Key, span: Span, now_ms: u64) -> Used {
    loop {
        if let Some(used) = Used::read(table, key, span, table.lift(now_ms)) {
            return used;
        }
    }
}

impl Used {
    /// `None` when the window is over for somebody already.
    fn read(table: &Table, key: Key, span: Span, now_ms: u64) -> Option<Self> {
        let window = span.window(now_ms);
        let current = table.usage(&Cell::window(key, span, window, window))?;
        let previous = match (span, window.before()) {
            (Span::Sliding(_), Some(before)) => table.usage(&Cell::window(key, span, before, window))?,
            _ => 0,
        };
        Some(Self {
            window,
            now_ms,
            current,
            previous,
            fades: matches!(span, Span::Sliding(_)),
        })
    }

    fn now(&self) -> u64 {
        self.current + self.window.fading(self.previous, self.now_ms)
    }

    fn window_s(&self) -> u64 {
        self.window.left_ms(self.now_ms).div_ceil(1000).max(1)
    }

    /// Seconds until usage has faded to `room`, at least 1. Without room it never does: until the next window is
    /// over.
    fn until_fits_s(&self, room: Option<u64>) -> u64 {
        if !self.fades {
            return self.window_s();
        }
        let length_ms = self.window.length_s() * 1000;
        let left_ms = self.window.left_ms(self.now_ms);
        // When so much of a usage has faded that `room` is left, counted back from the end of the fading.
        let tail_ms = |usage: u64, room: u64| {
            let share = u128::from(room) * u128::from(length_ms) / u128::from(usage.max(1));
            u64::try_from(share).unwrap_or(length_ms).min(length_ms)
        };
        let wait_ms = match room {
            Some(room) if room >= self.current && self.previous > 0 => {
                left_ms.saturating_sub(tail_ms(self.previous, room - self.current))
            }
            Some(room) => left_ms + length_ms - tail_ms(self.current, room),
            None => left_ms + length_ms,
        };
        wait_ms.div_ceil(1000).max(1)
    }
}

#[cfg(test)]
mod tests;

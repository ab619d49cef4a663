//! Who is turned away: the least important first, as many as make up the share.
//!
//! Requests stand in ranks: by priority, and among the same priority unknown callers below known ones. How many come of
//! each rank is counted, so that a share of all requests becomes a share of each rank, whatever the traffic is made of.

use policy::table::Priority;

/// Ranks of requests that may be turned away. Critical ones have none.
const RANKS: usize = 6;
/// Of the windows before, this much is remembered after each.
const MEMORY: f64 = 0.5;
/// Share of a rank that is turned away at most while the process has memory: a caller on a new connection must be able to
/// prove who it is.
const SHED_MOST: f64 = 31.0 / 32.0;

/// One rank.
#[derive(Clone, Copy, Debug, Default)]
struct Rank {
    /// Requests of this window.
    offered: u32,
    /// Requests of a window, as far as the past tells.
    usual: f64,
    /// Share that is turned away.
    shed: f64,
    /// What of it is still due: spreads refusals evenly.
    due: f64,
}

/// The ranks, least important first.
#[derive(Debug, Default)]
pub(super) struct Mix {
    ranks: [Rank; RANKS],
    quiet: bool,
}

impl Mix {
    /// A window has ended.
    pub(super) fn turn(&mut self) {
        for rank in &mut self.ranks {
            let offered = f64::from(std::mem::take(&mut rank.offered));
            rank.usual = rank.usual * MEMORY + offered * (1.0 - MEMORY);
        }
    }

    /// Turns this share of all requests away, 0 to 1.
    pub(super) fn shed(&mut self, share: f64) {
        if share <= 0.0 && self.quiet {
            return;
        }
        self.quiet = share <= 0.0;
        let usual: f64 = self.ranks.iter().map(|rank| rank.usual).sum();
        let mut left = share * usual;
        for rank in &mut self.ranks {
            rank.shed = if share >= 1.0 {
                1.0
            } else if usual <= 0.0 {
                // Nothing is known of what comes.
                share.min(SHED_MOST)
            } else if left >= rank.usual {
                // Beyond the last rank to be turned away nothing is left.
                if left > 0.0 { SHED_MOST } else { 0.0 }
            } else {
                (left / rank.usual).min(SHED_MOST)
            };
            left = (left - rank.usual).max(0.0);
        }
    }

    /// Counts a request, and says whether it is served.
    pub(super) fn admit(&mut self, priority: Priority, known: bool) -> bool {
        let Some(rank) = rank(priority, known) else {
            return true;
        };
        let rank = &mut self.ranks[rank];
        rank.offered = rank.offered.saturating_add(1);
        if rank.shed <= 0.0 {
            return true;
        }
        rank.due += rank.shed;
        let admitted = rank.due < 1.0;
        if !admitted {
            rank.due -= 1.0;
        }
        admitted
    }
}

const fn rank(priority: Priority, known: bool) -> Option<usize> {
    let of_priority = match priority {
        Priority::Low => 0,
        Priority::Normal => 2,
        Priority::High => 4,
        Priority::Critical => return None,
    };
    Some(of_priority + known as usize)
}

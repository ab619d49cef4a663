//! Quotas and budgets: how much a caller has used in a window, and whether more fits.
//!
//! Enters: a limit's stable id, an identifier, the time. Leaves: a decision with everything its headers need. One
//! [`Table`] serves all workers; admission is one atomic step per counter, exact for any number of workers, and
//! state carries over reloads because keys hold stable ids. `rate` counts requests, `reservation` holds tokens or
//! money before a call and settles it after. Absent: I/O, clocks, locks.

mod clock;
mod counter;
pub mod headers;
pub mod identifier;
pub mod rate;
pub mod reservation;
mod set;
mod table;
pub mod window;

#[cfg(test)]
mod model;

pub use counter::USAGE_MAX;
pub use table::{Key, Table};

//! What is turned away when there is too much to do, so that the rest is served in time.
//!
//! Enters: how late a worker was at each of its ticks, how much memory the process uses, and the rank of each request.
//! Leaves: whether it is served, and when to come again if not. Absent: clocks, sockets, answers.

mod delay;
mod memory;
mod mix;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use delay::Delay;
pub use memory::Memory;
use mix::Mix;
use policy::table::Priority;

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The worker is late.
    Late,
    /// The process uses too much memory.
    Memory,
}

/// A request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// Why.
    pub reason: Reason,
    /// Seconds after which it may come again. They differ from one request to the next, so that not all come at once.
    pub retry_after_s: u32,
}

/// What one worker admits. Two causes ask for a share of requests to be turned away: its lateness, which it steers
/// itself, and the process' memory. The larger one holds; [`Mix`] turns it into who goes first.
#[derive(Debug)]
pub struct Overload {
    memory: Arc<Memory>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    delay: Delay,
    mix: Mix,
    /// Share of requests to be turned away, 0 to 1, and why.
    shed: f64,
    reason: Reason,
    turned_away: u32,
}

impl Overload {
    /// For a worker that is too late beyond `target`; zero for never.
    pub fn new(target: Duration, memory: Arc<Memory>) -> Self {
        Self {
            memory,
            state: RefCell::new(State {
                delay: Delay::new(target),
                mix: Mix::default(),
                shed: 0.0,
                reason: Reason::Late,
                turned_away: 0,
            }),
        }
    }

    /// The worker's tick came so late. Gives the share of requests that are admitted from now on, 0 to 1.
    pub fn tick(&self, late: Duration) -> f64 {
        let state = &mut *self.state.borrow_mut();
        if state.delay.observe(late) {
            state.mix.turn();
        }
        let (late, memory) = (state.delay.shed(), self.memory.shed());
        state.shed = late.max(memory);
        state.reason = if memory >= late {
            Reason::Memory
        } else {
            Reason::Late
        };
        state.mix.shed(state.shed);
        1.0 - state.shed
    }

    /// Whether a request is served. `known` is whether its connection has proved before whose it is.
    ///
    /// # Errors
    /// [`Shed`] when it is not.
    pub fn admit(&self, priority: Priority, known: bool) -> Result<(), Shed> {
        let state = &mut *self.state.borrow_mut();
        if state.mix.admit(priority, known) {
            return Ok(());
        }
        state.turned_away = state.turned_away.wrapping_add(1);
        Err(Shed {
            reason: state.reason,
            retry_after_s: 1 + state.turned_away % longest_wait_s(state.shed),
        })
    }

    /// Whether connections are left to wait in the kernel's queue: their memory is not there to be had.
    pub fn accepts(&self) -> bool {
        !self.memory.is_full()
    }
}

/// The more is turned away, the longer it should stay away.
fn longest_wait_s(shed: f64) -> u32 {
    match shed {
        ..0.25 => 2,
        ..0.5 => 4,
        _ => 8,
    }
}

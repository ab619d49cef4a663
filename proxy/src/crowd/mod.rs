//! The client connections of the process: how many there are in all, and how many come from one source.
//!
//! Enters: connections, as workers accept them. Leaves: a [`Place`] for each, which counts it until it is dropped. All
//! workers share it: a connection costs a few locked instructions, more where sources are bounded; a request costs none.

mod sources;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::settable::{self, Limit};
use sources::{Slot, Sources};

/// Who is there.
#[derive(Debug)]
pub struct Crowd {
    all: AtomicUsize,
    /// `None` where sources are not bounded.
    sources: Option<Sources>,
}

impl Crowd {
    /// For a process whose workers take at most so many connections together.
    pub fn new(most: usize) -> Arc<Self> {
        let bounded = settable::connections_per_address() > 0;
        Arc::new(Self {
            all: AtomicUsize::new(0),
            sources: bounded.then(|| Sources::new(most.min(settable::connections_most()))),
        })
    }

    /// A place for one more; `None` while there are as many as there may be.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let one_more = |all| (all < settable::connections_most()).then_some(all + 1);
        self.all
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more)
            .ok()?;
        Some(self.place())
    }

    /// A place for one more, however many there are.
    pub fn press_in(self: &Arc<Self>) -> Place {
        self.all.fetch_add(1, Ordering::AcqRel);
        self.place()
    }

    fn place(self: &Arc<Self>) -> Place {
        Place {
            crowd: Arc::clone(self),
            slot: None,
        }
    }
}

/// One connection's place.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    slot: Option<Slot>,
}

impl Place {
    /// Counts the connection as one of its client's, IPv4 mapped; false, and counted as such, when as many come from there
    /// as may. Unix sockets have no address, and no bound.
    #[must_use]
    pub fn comes_from(&mut self, address: Option<u128>) -> bool {
        let (Some(sources), Some(address)) = (&self.crowd.sources, address) else {
            return true;
        };
        self.slot = sources.enter(address, settable::connections_per_address());
        if self.slot.is_none() {
            settable::reached(Limit::ConnectionsPerAddress);
        }
        self.slot.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(sources), Some(slot)) = (&self.crowd.sources, self.slot.take()) {
            sources.leave(slot);
        }
        self.crowd.all.fetch_sub(1, Ordering::AcqRel);
    }
}

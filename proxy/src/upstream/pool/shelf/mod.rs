//! Idle connections that no worker needed lately, for any that has none before it opens one.
//!
//! Enters: from each worker's pool, what idled for a while. Leaves: the same, for the same key, once it was looked at.
//! Nobody watches what lies here, so workers look through it in turns: what the server closed must not keep a descriptor,
//! nor half a connection at the server. Absent: connections opened on behalf of a client, and those that are shared anyway.

mod slots;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Idle, Key, Leased, Pool};
use crate::limits;
use crate::settable;
use crate::tls::ParkedStream;
use crate::wire::Wire;
use crate::worker::Duplicate;
use crate::worker::clock::{self, Moment};
use slots::{Place, Slots};

/// A connection that lies on the shelf.
struct Parked {
    key: Key,
    stream: ParkedStream,
    /// Requests it has served.
    requests: u32,
    /// When it served the last one, in [`clock::uptime_ns`].
    used_ns: u64,
}

impl Parked {
    /// What idles on this worker, unless its server has closed it meanwhile.
    fn of(key: &Key, idle: Idle, duplicate: Duplicate, now: Moment) -> Option<Self> {
        if idle.stream.conn().is_stale() {
            return None;
        }
        let idled_ns = u64::try_from((now - idle.since).as_nanos()).unwrap_or(u64::MAX);
        Some(Self {
            key: key.clone(),
            stream: idle.stream.park(duplicate)?,
            requests: idle.requests,
            used_ns: clock::uptime_ns().saturating_sub(idled_ns),
        })
    }

    fn is_good(&self) -> bool {
        let idled = Duration::from_nanos(clock::uptime_ns().saturating_sub(self.used_ns));
        idled < settable::upstream_idle_s() && !self.stream.is_stale()
    }
}

/// The parked connections of all workers. Where there is one worker, it has no room.
pub struct Shelf {
    slots: Slots<Parked>,
    /// The same for all workers.
    hasher: ahash::RandomState,
    /// Where who looks through it next begins.
    looked: AtomicUsize,
    /// Places that one look goes through.
    stride: usize,
    adopted: AtomicU64,
}

impl Default for Shelf {
    /// One without room.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Shelf {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        let count = if workers > 1 { limits::UPSTREAM_PARKED } else { 0 };
        let looks = workers.saturating_mul(limits::UPSTREAM_PARKED_LOOKS);
        Self {
            slots: Slots::new(count, limits::UPSTREAM_PARKED_KEY),
            hasher: ahash::RandomState::new(),
            looked: AtomicUsize::new(0),
            stride: count.div_ceil(looks.max(1)),
            adopted: AtomicU64::new(0),
        }
    }

    /// Connections on it.
    pub fn parked(&self) -> u64 {
        self.slots.held() as u64
    }

    /// Connections that workers took from it instead of opening one.
    pub fn adopted(&self) -> u64 {
        self.adopted.load(Ordering::Relaxed)
    }

    /// Closes what lies on it, and what is put there from now on.
    pub fn close(&self) {
        self.slots.close();
    }

    fn reserve(&self, key: &Key) -> Option<Place<'_, Parked>> {
        self.slots.reserve(self.hasher.hash_one(key))
    }

    fn take(&self, key: &Key) -> Option<Leased> {
        let tag = self.hasher.hash_one(key);
        loop {
            let parked = self.slots.take(tag, |parked| parked.key == *key)?;
            if !parked.is_good() {
                continue;
            }
            if let Ok(stream) = parked.stream.adopt() {
                self.adopted.fetch_add(1, Ordering::Relaxed);
                return Some(Leased {
                    wire: Wire::Bytes(stream),
                    requests: parked.requests,
                });
            }
        }
    }

    /// Closes what is no good any more in the next few places.
    fn look(&self) {
        let count = self.slots.count();
        let from = self.looked.fetch_add(self.stride, Ordering::Relaxed) % count.max(1);
        let to = from + self.stride;
        self.slots.retain(from..to.min(count), Parked::is_good);
        self.slots.retain(0..to.saturating_sub(count), Parked::is_good);
    }
}

impl Pool {
    /// Of a worker that parks on this shelf what it does not need.
    pub fn beside(shelf: Arc<Shelf>) -> Self {
        Self {
            shelf,
            ..Self::default()
        }
    }

    /// Puts what this worker did not need lately where others find it, and looks through some of what lies there. To be
    /// called every [`limits::UPSTREAM_PARK_MS`].
    ///
    /// The newest connection of a key is used first. So one that has idled for long was not needed in all that time, not
    /// even when the worker had the most requests at once.
    pub fn park_surplus(&mut self) {
        let (shelf, now) = (Arc::clone(&self.shelf), clock::now());
        shelf.look();
        let mut left = limits::UPSTREAM_PARKED_AT_ONCE;
        for (key, list) in &mut self.idle {
            if key.behalf.is_some() {
                continue;
            }
            let idled = |idle: &Idle| now - idle.since >= Duration::from_millis(limits::UPSTREAM_SURPLUS_MS);
            let mut surplus = list.partition_point(idled);
            while surplus > 0 && left > 0 {
                let Some(place) = shelf.reserve(key) else {
                    break;
                };
                // Without descriptors it is of more use where it is.
                let Ok(duplicate) = list[surplus - 1].stream.conn().duplicate() else {
                    return;
                };
                // The newest of them is the last one that its server closes.
                surplus -= 1;
                left -= 1;
                self.count -= 1;
                if let Some(parked) = Parked::of(key, list.remove(surplus), duplicate, now) {
                    place.put(parked);
                }
            }
        }
    }

    /// A connection that another worker does not need.
    #[cold]
    pub(super) fn adopt(&self, key: &Key) -> Option<Leased> {
        self.shelf.take(key)
    }
}

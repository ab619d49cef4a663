//! Requests that wait for a target with room: first come, first served, over all workers.
//!
//! A [`Queue`] belongs to an upstream, whatever the worker and the epoch: how many wait, and since when each worker's first
//! one does. A [`Line`] is one worker's part of it. Who gives a [`Slot`] back, or leaves the line, calls the request that
//! has waited longest, on another worker with a letter. A call may be in vain, and is never lost: who is called looks,
//! and passes the call on when it leaves. Absent: which target has room.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use super::health::AddressHealth;
use crate::worker::{Mailbox, clock};

/// `Seat::oldest` of a worker on which nobody waits.
const NOBODY: u64 = u64::MAX;

/// All requests that wait for targets of one upstream.
pub struct Queue {
    waiting: AtomicU32,
    refused: AtomicU64,
    seats: Box<[Seat]>,
}

/// What other workers see of a worker's line.
struct Seat {
    /// When its first one came, in [`clock::uptime_ns`].
    oldest: AtomicU64,
    /// Whether a letter that calls it is on its way.
    called: AtomicBool,
    /// Where letters go; nobody has waited on a worker without.
    mailbox: OnceLock<Mailbox>,
}

impl Queue {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        let seat = |_| Seat {
            oldest: AtomicU64::new(NOBODY),
            called: AtomicBool::new(false),
            mailbox: OnceLock::new(),
        };
        Self {
            waiting: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            seats: (0..workers).map(seat).collect(),
        }
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Requests that found the queue full, or waited in vain.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// One more was refused.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The worker whose first one has waited longest.
    fn next(&self) -> Option<usize> {
        let seats = self.seats.iter().enumerate();
        let (oldest, number) = seats
            .map(|(number, seat)| (seat.oldest.load(Ordering::SeqCst), number))
            .min()?;
        (oldest != NOBODY).then_some(number)
    }
}

/// One worker's part of a queue.
pub struct Line {
    queue: Arc<Queue>,
    worker: usize,
    places: RefCell<VecDeque<Waiting>>,
    tickets: Cell<u64>,
}

struct Waiting {
    /// Grows from one to the next.
    ticket: u64,
    came_ns: u64,
    called: bool,
    waker: Option<Waker>,
}

thread_local! {
    /// This worker's lines, for letters.
    static LINES: RefCell<Vec<Weak<Line>>> = const { RefCell::new(Vec::new()) };
}

impl Line {
    /// This worker's line of a queue: the same for every epoch. `worker` is one of those that the queue is for; letters to
    /// it come to `mailbox`.
    pub fn of(queue: &Arc<Queue>, worker: usize, mailbox: &Mailbox) -> Rc<Self> {
        LINES.with_borrow_mut(|lines| {
            lines.retain(|line| line.strong_count() > 0);
            let mut known = lines.iter().filter_map(Weak::upgrade);
            if let Some(line) = known.find(|line| Arc::ptr_eq(&line.queue, queue)) {
                return line;
            }
            let line = Rc::new(Self {
                queue: Arc::clone(queue),
                worker,
                places: RefCell::default(),
                tickets: Cell::new(0),
            });
            line.seat().mailbox.get_or_init(|| mailbox.clone());
            lines.push(Rc::downgrade(&line));
            line
        })
    }

    /// The queue that it is a part of.
    pub const fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// A place at the end, unless `most` wait already.
    pub fn enter(self: &Rc<Self>, most: u32) -> Option<Place> {
        let one_more = |waiting| (waiting < most).then_some(waiting + 1);
        let waiting = &self.queue.waiting;
        waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .ok()?;
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        self.places.borrow_mut().push_back(Waiting {
            ticket,
            came_ns: clock::uptime_ns(),
            called: false,
            waker: None,
        });
        self.publish();
        Some(Place {
            line: Rc::clone(self),
            ticket,
        })
    }

    /// Calls the request that has waited longest, on whichever worker.
    fn call_next(&self) {
        if self.queue.waiting() == 0 {
            return;
        }
        match self.queue.next() {
            Some(worker) if worker == self.worker => self.call_first(),
            Some(worker) => {
                let seat = &self.queue.seats[worker];
                if let Some(mailbox) = seat.mailbox.get()
                    && !seat.called.swap(true, Ordering::SeqCst)
                {
                    // Nothing is captured, so the letter takes no memory.
                    mailbox.send(read_letter);
                }
            }
            None => {}
        }
    }

    fn call_first(&self) {
        let waker = self.places.borrow_mut().front_mut().and_then(|first| {
            first.called = true;
            first.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets other workers see since when the first one waits.
    fn publish(&self) {
        let first = self.places.borrow().front().map_or(NOBODY, |it| it.came_ns);
        self.seat().oldest.store(first, Ordering::SeqCst);
    }

    fn seat(&self) -> &Seat {
        &self.queue.seats[self.worker]
    }
}

/// Calls the first of each line that was called for.
fn read_letter() {
    let lines: Vec<Rc<Line>> = LINES.with_borrow(|lines| lines.iter().filter_map(Weak::upgrade).collect());
    for line in lines {
        if line.seat().called.swap(false, Ordering::SeqCst) {
            if line.places.borrow().is_empty() {
                line.call_next();
            } else {
                line.call_first();
            }
        }
    }
}

/// A request's place in a line, until it is dropped.
pub struct Place {
    line: Rc<Line>,
    ticket: u64,
}

impl Place {
    /// Whether nobody has waited longer.
    pub fn is_next(&self) -> bool {
        let places = self.line.places.borrow();
        let is_first = places.front().is_some_and(|first| first.ticket == self.ticket);
        is_first && self.line.queue.next() == Some(self.line.worker)
    }

    /// Waits until it is called.
    pub async fn called(&self) {
        poll_fn(|context| {
            let mut places = self.line.places.borrow_mut();
            let Ok(at) = places.binary_search_by_key(&self.ticket, |it| it.ticket) else {
                return Poll::Ready(());
            };
            let mine = &mut places[at];
            if std::mem::take(&mut mine.called) {
                return Poll::Ready(());
            }
            mine.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.line.places.borrow_mut();
        let left = places
            .binary_search_by_key(&self.ticket, |it| it.ticket)
            .ok()
            .and_then(|at| places.remove(at));
        drop(places);
        drop(left);
        self.line.publish();
        self.line.queue.waiting.fetch_sub(1, Ordering::SeqCst);
        // Whoever is next may find room, too, or was called by nobody else.
        self.line.call_next();
    }
}

/// One of the requests that an address serves at a time, until it is dropped, however the exchange ends.
pub struct Slot {
    health: Arc<AddressHealth>,
    line: Rc<Line>,
}

impl Slot {
    /// Takes one where fewer than `most` are taken.
    pub fn take(health: &Arc<AddressHealth>, most: u32, line: &Rc<Line>) -> Option<Self> {
        health.begin(most).then(|| Self {
            health: Arc::clone(health),
            line: Rc::clone(line),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.health.end();
        self.line.call_next();
    }
}

//! Deadlines without timers: a slot for each connection, looked through by one ticker.
//!
//! Nearly every timeout ends its connection. So a deadline does not cancel an operation, which could lose bytes or
//! leak a descriptor; it shuts the socket down, and the operation completes by itself, in either driver. Arming one
//! is two stores. The price is the granularity of [`limits::TICK_MS`].

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::clock::{self, Moment};
use crate::limits;

struct Slot {
    at: Cell<Moment>,
    idle: Cell<bool>,
    fired: Cell<bool>,
    fd: Cell<Option<RawFd>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Slots {
    list: Vec<Slot>,
    free: Vec<usize>,
}

/// What is told how late each tick came.
type Told = Rc<dyn Fn(Duration)>;

thread_local! {
    static TOLD: RefCell<Option<Told>> = const { RefCell::new(None) };
    static SLOTS: RefCell<Slots> = RefCell::new(Slots::default());
    static CLOSING: Cell<bool> = const { Cell::new(false) };
}

/// A deadline that can be armed again and again.
#[derive(Debug)]
pub struct Deadline {
    slot: usize,
}

impl Deadline {
    /// A deadline that shuts this socket down when it passes. The descriptor must live as long as the deadline.
    pub(super) fn on_socket(fd: RawFd) -> Self {
        Self::new(Some(fd))
    }

    /// A deadline that only wakes who waits for it.
    pub fn on_waker() -> Self {
        Self::new(None)
    }

    fn new(fd: Option<RawFd>) -> Self {
        SLOTS.with(|slots| {
            let slots = &mut *slots.borrow_mut();
            let slot = Slot {
                at: Cell::new(Moment::NEVER),
                idle: Cell::new(false),
                fired: Cell::new(false),
                fd: Cell::new(fd),
                waker: RefCell::new(None),
            };
            match slots.free.pop() {
                Some(number) => {
                    slots.list[number] = slot;
                    Self { slot: number }
                }
                None => {
                    slots.list.push(slot);
                    Self {
                        slot: slots.list.len() - 1,
                    }
                }
            }
        })
    }

    /// Fires at `at`, from now on.
    pub fn arm(&self, at: Moment) {
        self.with(|slot| {
            slot.at.set(at);
            slot.idle.set(false);
            slot.fired.set(false);
        });
    }

    /// Fires after `duration`, or when [`close_idle`] is called.
    pub fn arm_idle(&self, duration: Duration) {
        self.arm_in(duration);
        self.with(|slot| slot.idle.set(true));
    }

    /// Fires after `duration`, from now on.
    pub fn arm_in(&self, duration: Duration) {
        self.arm(clock::now() + duration);
    }

    /// Does not fire any more.
    pub fn disarm(&self) {
        self.with(|slot| {
            slot.at.set(Moment::NEVER);
            slot.idle.set(false);
        });
    }

    /// Whether it fired since it was last armed.
    pub fn fired(&self) -> bool {
        self.with(|slot| slot.fired.get())
    }

    /// Waits until it fires.
    pub async fn wait(&self) {
        poll_fn(|context| {
            self.with(|slot| {
                if slot.fired.get() {
                    return Poll::Ready(());
                }
                *slot.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    fn with<T>(&self, act: impl FnOnce(&Slot) -> T) -> T {
        SLOTS.with(|slots| act(&slots.borrow().list[self.slot]))
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let _ = SLOTS.try_with(|slots| {
            let slots = &mut *slots.borrow_mut();
            let slot = &slots.list[self.slot];
            slot.at.set(Moment::NEVER);
            // Another connection may get the descriptor before another deadline gets the slot.
            slot.idle.set(false);
            slot.fd.set(None);
            slot.waker.borrow_mut().take();
            slots.free.push(self.slot);
        });
    }
}

/// Lets the deadlines of idle connections pass at the next tick, except where a request has come by then.
pub fn close_idle() {
    SLOTS.with(|slots| {
        for slot in slots.borrow().list.iter().filter(|slot| slot.idle.get()) {
            slot.at.set(slot.at.get().min(clock::now()));
        }
    });
}

/// Lets every armed deadline pass at the next tick: what still waits for a peer ends and is written down. What never
/// waits has to ask [`is_closing`].
pub fn close_all() {
    CLOSING.set(true);
    SLOTS.with(|slots| {
        for slot in &slots.borrow().list {
            if slot.at.get() != Moment::NEVER {
                slot.at.set(clock::now());
                slot.idle.set(false);
            }
        }
    });
}

/// Whether [`close_all`] was called on this worker.
pub fn is_closing() -> bool {
    CLOSING.get()
}

/// Tells how late each tick of this worker comes: what became ready when it was due has waited as long to be served.
pub fn on_tick(told: impl Fn(Duration) + 'static) {
    TOLD.replace(Some(Rc::new(told)));
}

/// Looks through the slots every tick, for as long as the worker lives.
pub(super) async fn tick() {
    let mut due: Vec<(Option<RawFd>, Option<Waker>)> = Vec::new();
    loop {
        let due_at = clock::now() + Duration::from_millis(limits::TICK_MS);
        monoio::time::sleep(Duration::from_millis(limits::TICK_MS)).await;
        clock::synchronise();
        let now = clock::now();
        if let Some(told) = TOLD.with_borrow(Clone::clone) {
            // Deadlines must be looked at whatever becomes of it; a panic has printed itself and is counted.
            let _ = super::task::catch(|| told(now - due_at));
        }
        SLOTS.with(|slots| {
            for slot in slots.borrow().list.iter().filter(|slot| slot.at.get() <= now) {
                // A request that has just come is served, even by a worker that drains.
                if slot.idle.get() && slot.fd.get().is_some_and(super::socket::has_bytes) {
                    continue;
                }
                slot.at.set(Moment::NEVER);
                slot.fired.set(true);
                due.push((slot.fd.get(), slot.waker.borrow_mut().take()));
            }
        });
        for (fd, waker) in due.drain(..) {
            if let Some(fd) = fd {
                super::socket::shut_down(fd);
            }
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

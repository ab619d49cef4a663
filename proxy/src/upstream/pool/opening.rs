//! A shared connection on its way: one exchange opens it, others wait for it.
//!
//! A burst of requests to a server without a connection would open one for each, of which all but one were of no use. It is
//! on its way until the server has said how many streams it takes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use crate::limits;
use crate::upstream::ConnectError;

/// What those who wait for a connection look at.
#[derive(Default)]
pub(super) struct Opening {
    waiting: Cell<u32>,
    done: Cell<Option<Result<(), ConnectError>>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Opening {
    /// Whether it is on its way, and one more can hope for a stream of it.
    pub(super) fn has_room(&self) -> bool {
        self.done.get().is_none() && self.waiting.get() + 1 < limits::H2_STREAMS
    }

    fn end(&self, result: Result<(), ConnectError>) {
        if self.done.get().is_none() {
            self.done.set(Some(result));
            for waker in self.wakers.borrow_mut().drain(..) {
                waker.wake();
            }
        }
    }
}

/// Whoever opens a connection holds it. Dropping it lets those who wait look again.
#[derive(Default)]
pub struct Opener(pub(super) Rc<Opening>);

impl Opener {
    /// The connection failed: those who wait would fail in the same way.
    pub fn failed(self, error: ConnectError) {
        self.0.end(Err(error));
    }

    pub(super) fn watched(&self) -> Weak<Opening> {
        Rc::downgrade(&self.0)
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.end(Ok(()));
    }
}

/// One who waits for a connection that another opens.
pub struct Waiting(Rc<Opening>);

impl Waiting {
    pub(super) fn on(opening: Rc<Opening>) -> Self {
        opening.waiting.set(opening.waiting.get() + 1);
        Self(opening)
    }

    /// Waits until it is worth looking for a stream again.
    ///
    /// # Errors
    /// How opening failed.
    pub async fn wait(self) -> Result<(), ConnectError> {
        poll_fn(|context| match self.0.done.get() {
            Some(result) => Poll::Ready(result),
            None => {
                self.0.wakers.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

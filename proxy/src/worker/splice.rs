//! Bytes from one socket to another without a copy into this process (`splice(2)`).
//!
//! A pipe holds the kernel's own pages on their way. For bodies that nobody looks at, over connections without TLS.

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

use super::conn::{Conn, ConnError};
use super::socket;
use crate::limits;

thread_local! {
    static SPARE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// Where bytes leave and enter a pipe.
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe between two connections, from the worker's pool. Dropping it empty gives it back.
pub struct Pipe {
    /// Some until it is dropped.
    ends: Option<Ends>,
    held: usize,
}

impl Pipe {
    /// A pipe from `from` to `to`; none when the process has no descriptors left, or one end is no socket.
    ///
    /// Both connections must have no read or write waiting while bytes are moved.
    pub fn between(from: &Conn, to: &Conn) -> Option<Self> {
        for conn in [from, to] {
            // Operations on the ring wait all the same; only a splice would block a worker.
            ioctl_fionbio(socket::borrow(conn.stream()), true).ok()?;
        }
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let ends = spare.or_else(|| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            Some(Ends { read, write })
        })?;
        Some(Self {
            ends: Some(ends),
            held: 0,
        })
    }

    /// Bytes on their way.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Takes what has arrived, at most `most` bytes, without waiting: 0 when nothing has. For an empty pipe: a full one
    /// takes nothing either.
    ///
    /// # Errors
    /// [`ConnError`]
    pub fn fill(&mut self, from: &Conn, most: usize) -> Result<usize, ConnError> {
        let Some(ends) = &self.ends else {
            return Err(ConnError::Closed);
        };
        let from_fd = socket::borrow(from.stream());
        match splice(from_fd, None, &ends.write, None, most, SpliceFlags::NONBLOCK) {
            Ok(0) => Err(from.failed(ConnError::Closed)),
            Ok(count) => {
                self.held += count;
                Ok(count)
            }
            Err(error) => waits(from, error),
        }
    }

    /// Hands on what it holds, as much as the connection takes without waiting.
    ///
    /// # Errors
    /// [`ConnError`]; the pipe must not be used again.
    pub fn drain(&mut self, to: &Conn) -> Result<usize, ConnError> {
        let Some(ends) = &self.ends else {
            return Err(ConnError::Closed);
        };
        let to_fd = socket::borrow(to.stream());
        match splice(&ends.read, None, to_fd, None, self.held, SpliceFlags::NONBLOCK) {
            Ok(count) => {
                self.held -= count;
                Ok(count)
            }
            Err(error) => waits(to, error),
        }
    }
}

/// What an operation that came to nothing means.
fn waits(conn: &Conn, error: Errno) -> Result<usize, ConnError> {
    match error {
        Errno::AGAIN | Errno::INTR => Ok(0),
        error => Err(conn.failed(ConnError::Broken(error.kind()))),
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // With bytes in it, it would bring them to the next one's connection.
        let Some(ends) = self.ends.take().filter(|_ends| self.held == 0) else {
            return;
        };
        // A thread that is ending has no pool any more.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < limits::PIPES_SPARE {
                spare.push(ends);
            }
        });
    }
}

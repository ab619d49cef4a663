//! A worker: one thread, pinned to one core, with its own ring, clock, buffers and tasks.
//!
//! The only room that names the runtime. The others get [`Conn`], [`Acceptor`], [`spawn`], [`race`], [`sleep`],
//! [`Deadline`], [`clock`] and [`Mailbox`], which close the runtime's traps: rings get their flags and sizes here,
//! nothing that yields a descriptor is ever cancelled, timeouts shut sockets down instead of dropping operations,
//! idle connections hold no buffer, a panic ends one task, and a runtime is never dropped: a worker that is done
//! parks until the process ends.

mod accept;
mod address;
mod buffer;
pub mod clock;
mod conn;
mod deadline;
mod halves;
mod mailbox;
mod parked;
mod socket;
mod splice;
mod task;
#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

pub use accept::{Accepted, Acceptor, Listening};
pub use address::{Address, UnixPath};
pub use buffer::Buffer;
pub use conn::{Aborter, Activity, Arrived, Conn, ConnError};
pub use deadline::{Deadline, close_all, close_idle, is_closing, on_tick};
pub use halves::{ConnReader, ConnWriter, SilenceDeadline};
pub use mailbox::Mailbox;
pub use parked::{Duplicate, ParkedConn};
pub use socket::{cores, passed};
pub use splice::Pipe;
pub use task::{First, panics, race, sleep, spawn, take_turn};

use crate::limits;
use crate::node::DriverChoice;

/// How the workers of this process wait for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// Settles the choice by asking the kernel for a ring as the workers will.
    ///
    /// # Errors
    /// When io_uring is demanded and refused.
    pub fn choose(choice: DriverChoice) -> io::Result<Self> {
        match choice {
            DriverChoice::Epoll => Ok(Self::Epoll),
            DriverChoice::Uring => ring_builder().build(8).map(|_ring| Self::Uring),
            DriverChoice::Auto => Ok(ring_builder().build(8).map_or(Self::Epoll, |_ring| Self::Uring)),
        }
    }

    /// Name in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Flags and sizes of every ring. `COOP_TASKRUN` saves the interrupts that completions would cause,
/// `SINGLE_ISSUER` the locking; together they are worth more than anything else here. `DEFER_TASKRUN` would be a
/// little better but starves under a runtime that submits without collecting.
fn ring_builder() -> io_uring_06::Builder {
    let mut builder = io_uring_06::IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_cqsize(limits::RING_COMPLETIONS);
    builder
}

/// A worker's thread has been started.
pub struct Handle {
    /// Sends letters to it.
    pub mailbox: Mailbox,
}

/// Starts a worker, whose thread gets `name`, on a core and runs `main` on it. The future never needs to end; when it does, the thread parks.
///
/// # Errors
/// When the thread cannot be started. A worker that cannot make its ring, or whose `main` panics, says so through
/// `failed`.
pub fn start<F: Future<Output = ()>>(
    name: String,
    core: Option<usize>,
    driver: Driver,
    main: impl FnOnce() -> F + Send + 'static,
    failed: impl FnOnce(io::Error) + Send + 'static,
) -> io::Result<Handle> {
    let (mailbox, inbox) = mailbox::mailbox()?;
    std::thread::Builder::new().name(name).spawn(move || {
        if let Some(core) = core {
            // Not being pinned costs speed, not correctness.
            let _ = socket::pin(core);
        }
        let life = async move {
            clock::synchronise();
            spawn(deadline::tick());
            spawn(async move {
                let _ = inbox.serve().await;
            });
            if task::Caught::new(main()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        // A worker that ended must not be silent about it: its sockets would go on to queue connections.
        failed(match task::catch(|| live(driver, life)) {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => io::Error::other("it panicked"),
        });
    })?;
    Ok(Handle { mailbox })
}

/// Runs the life of a worker. Its runtime is never dropped: the kernel may still write to its buffers.
fn live(driver: Driver, life: impl Future<Output = ()>) -> io::Result<()> {
    match driver {
        Driver::Uring => {
            let runtime = RuntimeBuilder::<IoUringDriver>::new()
                .uring_builder(ring_builder())
                .with_entries(limits::RING_ENTRIES)
                .enable_timer()
                .build()?;
            ManuallyDrop::new(runtime).block_on(life);
        }
        Driver::Epoll => {
            let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
            ManuallyDrop::new(runtime).block_on(life);
        }
    }
    Ok(())
}

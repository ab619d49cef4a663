//! A connection between two workers: in nobody's ring or epoll, and watched by nobody.
//!
//! What idles on one worker can go on serving on another. The descriptor is duplicated, not taken out of the runtime: a
//! poll that was dropped holds it until the kernel has cancelled it, and the runtime panics when it is asked to part with a
//! descriptor that something still holds. The old one is closed in its own time, which leaves the connection open.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use monoio::net::TcpStream;

use super::conn::{Conn, is_stale};

/// A connection that any worker may adopt. Dropping it closes it.
#[derive(Debug)]
pub struct ParkedConn {
    socket: OwnedFd,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
}

/// What [`Conn::park`] needs, which may not be there to be had.
#[derive(Debug)]
pub struct Duplicate(OwnedFd);

impl Conn {
    /// Takes the connection away from this worker. No read or write of it may be under way.
    pub fn park(self, duplicate: Duplicate) -> ParkedConn {
        ParkedConn {
            socket: duplicate.0,
            peer: self.peer(),
            local: self.local(),
        }
    }

    /// Another descriptor of this connection.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn duplicate(&self) -> io::Result<Duplicate> {
        super::socket::borrow(self.stream())
            .try_clone_to_owned()
            .map(Duplicate)
    }
}

impl ParkedConn {
    /// As [`Conn::is_stale`].
    pub fn is_stale(&self) -> bool {
        is_stale(self.socket.as_fd())
    }

    /// Gives the connection to this worker.
    ///
    /// # Errors
    /// When the worker's epoll does not take it; it is closed then.
    pub fn adopt(self) -> io::Result<Conn> {
        let stream = TcpStream::from_std(self.socket.into())?;
        Ok(Conn::from_parts(stream, self.peer, self.local))
    }
}

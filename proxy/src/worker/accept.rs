//! Accepting connections: one listening socket for each worker and address, shared by `SO_REUSEPORT`.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use monoio::net::TcpListener;

use super::conn::Conn;
use super::{clock, task};
use crate::limits;

/// What [`Acceptor::accept`] saw.
pub enum Accepted {
    /// A connection.
    Conn(Conn),
    /// The process has no descriptor or memory left for one; the caller should not take more for now.
    Exhausted,
    /// The listener was closed.
    Closed,
}

/// A listening socket of one worker.
pub struct Acceptor {
    listener: TcpListener,
    closed: Cell<bool>,
}

impl Acceptor {
    /// Binds an address for one worker; all workers may bind the same.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        Ok(socket.into())
    }

    /// Takes a bound socket over, on the worker that will accept from it.
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            closed: Cell::new(false),
        })
    }

    /// Waits for a connection. Must be awaited to its end; [`Acceptor::close`] ends it.
    pub async fn accept(&self) -> Accepted {
        loop {
            if self.closed.get() {
                return Accepted::Closed;
            }
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    clock::refresh();
                    // A connection that broke before it was looked at is nobody's loss.
                    if let Ok(conn) = Conn::new(stream, peer) {
                        return Accepted::Conn(conn);
                    }
                }
                Err(_) if self.closed.get() => return Accepted::Closed,
                Err(error) if exhausted(&error) => {
                    task::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
                    return Accepted::Exhausted;
                }
                // The peer gave up while it was queued.
                Err(_) => {}
            }
        }
    }

    /// Takes the connections that are already queued, then stops listening.
    pub fn close(&self) -> Vec<Conn> {
        let mut queued = Vec::new();
        let listener = super::socket::borrow(&self.listener);
        let listener = socket2::SockRef::from(&listener);
        while let Ok((socket, peer)) = listener.accept() {
            let stream = monoio::net::TcpStream::from_std(socket.into());
            if let (Ok(stream), Some(peer)) = (stream, peer.as_socket())
                && let Ok(conn) = Conn::new(stream, peer)
            {
                queued.push(conn);
            }
        }
        self.closed.set(true);
        super::socket::shut_down(self.listener.as_raw_fd());
        queued
    }
}

fn exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

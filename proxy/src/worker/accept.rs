//! Accepting connections: one listening socket for each worker and address, which share it by `SO_REUSEPORT`.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use monoio::io::Canceller;
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
    /// The listener was closed, and nobody waits in its queue.
    Closed,
}

/// A listening socket, as one worker accepts from it. Others, even of another process, may accept from the same.
pub struct Acceptor {
    listener: TcpListener,
    canceller: RefCell<Canceller>,
    closed: Cell<bool>,
}

impl Acceptor {
    /// Binds an address for one worker; all workers may bind the same. Connections are refused until it listens, which
    /// is what [`Acceptor::listen`] is for.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
        Self::bind_as(address, true)
    }

    /// Binds an address that nobody else may bind.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind_alone(address: SocketAddr) -> io::Result<std::net::TcpListener> {
        Self::bind_as(address, false)
    }

    fn bind_as(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        Ok(socket.into())
    }

    /// Lets a bound socket queue connections. One that does so already goes on.
    ///
    /// # Errors
    /// When somebody else got the address in the meantime.
    pub fn listen(socket: &std::net::TcpListener) -> io::Result<()> {
        let socket = socket2::SockRef::from(socket);
        socket.set_nonblocking(true)?;
        socket.listen(limits::LISTEN_BACKLOG)
    }

    /// Takes a listening socket over, on the worker that will accept from it.
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            canceller: RefCell::default(),
            closed: Cell::new(false),
        })
    }

    /// Waits for a connection. Must be awaited to its end; [`Acceptor::close`] ends it. When closed, it gives the
    /// connections that are queued, one after the other, and then says so.
    pub async fn accept(&self) -> Accepted {
        loop {
            if self.closed.get() {
                return self.queued().map_or(Accepted::Closed, Accepted::Conn);
            }
            let handle = self.canceller.borrow().handle();
            match self.listener.cancelable_accept(handle).await {
                Ok((stream, peer)) => {
                    clock::refresh();
                    // A connection that broke before it was looked at is nobody's loss.
                    if let Ok(conn) = Conn::new(stream, peer) {
                        return Accepted::Conn(conn);
                    }
                }
                Err(error) if exhausted(&error) => {
                    task::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
                    return Accepted::Exhausted;
                }
                // It was closed, or the peer gave up while it was queued.
                Err(_) => {}
            }
        }
    }

    /// Takes no more connections than are queued. The socket itself is not shut down: somebody else may accept from
    /// it, and once nobody holds it the kernel closes it.
    pub fn close(&self) {
        self.closed.set(true);
        let canceller = self.canceller.take().cancel();
        self.canceller.replace(canceller);
    }

    /// Whether [`Acceptor::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// The next connection of the queue, without waiting for one.
    fn queued(&self) -> Option<Conn> {
        let listener = super::socket::borrow(&self.listener);
        let listener = socket2::SockRef::from(&listener);
        loop {
            match listener.accept() {
                Ok((socket, peer)) => {
                    let stream = monoio::net::TcpStream::from_std(socket.into());
                    if let (Ok(stream), Some(peer)) = (stream, peer.as_socket())
                        && let Ok(conn) = Conn::new(stream, peer)
                    {
                        return Some(conn);
                    }
                }
                Err(error) if gave_up(&error) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Whether the peer gave up while it was queued, which says nothing about the next.
fn gave_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}

fn exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

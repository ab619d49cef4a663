//! Accepting connections: one listening socket for each worker and address, which share it by `SO_REUSEPORT`. The kernel
//! has no such thing for Unix sockets: there all workers accept from one queue, and who is free takes the next.

#![allow(unsafe_code, reason = "one descriptor changes hands, with its line")]

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::time::Duration;

use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

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

/// A listening socket.
#[derive(Debug)]
pub enum Listening {
    /// Of TCP.
    Tcp(std::net::TcpListener),
    /// Of this machine.
    Unix(std::os::unix::net::UnixListener),
}

impl Listening {
    /// A socket that was open before. `None` if it does not listen, or listens on something else.
    pub fn of(descriptor: OwnedFd) -> Option<Self> {
        let socket = socket2::SockRef::from(&descriptor);
        let listens = socket.is_listener().unwrap_or(false) && socket.r#type().ok()? == socket2::Type::STREAM;
        let address = socket.local_addr().ok()?;
        match address.domain() {
            _ if !listens => None,
            socket2::Domain::UNIX => Some(Self::Unix(descriptor.into())),
            _ => address.as_socket().map(|_| Self::Tcp(descriptor.into())),
        }
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// The address that a TCP socket is bound to; `None` for another.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The path that a Unix socket is bound to; `None` for another, or one that has none.
    pub fn path(&self) -> Option<std::path::PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(socket) => Some(socket.local_addr().ok()?.as_pathname()?.to_owned()),
        }
    }
}

impl From<std::net::TcpListener> for Listening {
    fn from(socket: std::net::TcpListener) -> Self {
        Self::Tcp(socket)
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// The same to the runtime, which tells the two apart by what it makes of the peer's address.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket, as one worker accepts from it. Others, even of another process, may accept from the same.
pub struct Acceptor {
    listener: Listener,
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

    /// Binds a Unix socket, for all workers. Nothing must be at the path.
    ///
    /// # Errors
    /// When the path cannot be had.
    pub fn bind_unix(path: &str) -> io::Result<std::os::unix::net::UnixListener> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        Ok(OwnedFd::from(socket).into())
    }

    /// Lets a bound socket queue connections. One that does so already goes on.
    ///
    /// # Errors
    /// When somebody else got the address in the meantime.
    pub fn listen(socket: &impl AsFd) -> io::Result<()> {
        let socket = socket2::SockRef::from(socket);
        socket.set_nonblocking(true)?;
        socket.listen(limits::LISTEN_BACKLOG)
    }

    /// Takes a listening socket over, on the worker that will accept from it.
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn new(listening: impl Into<Listening>) -> io::Result<Self> {
        Ok(Self {
            listener: match listening.into() {
                Listening::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
                Listening::Unix(socket) => Listener::Unix(UnixListener::from_std(socket)?),
            },
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
            let accepted = match &self.listener {
                Listener::Tcp(listener) => {
                    let accepted = listener.cancelable_accept(handle).await;
                    accepted.map(|(stream, peer)| Conn::new(stream, Some(peer)))
                }
                Listener::Unix(listener) => {
                    let accepted = listener.cancelable_accept(handle).await;
                    accepted.map(|(stream, _unnamed)| Conn::new(plain(stream)?, None))
                }
            };
            match accepted {
                Ok(conn) => {
                    clock::refresh();
                    // A connection that broke before it was looked at is nobody's loss.
                    if let Ok(conn) = conn {
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

    /// Another connection of a queue that only this worker accepts from, without waiting for one. `None` where others may
    /// have more time for it.
    pub fn another(&self) -> Option<Conn> {
        match self.listener {
            Listener::Tcp(_) => self.queued(),
            Listener::Unix(_) => None,
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
        let listener = match &self.listener {
            Listener::Tcp(listener) => super::socket::borrow(listener),
            Listener::Unix(listener) => super::socket::borrow(listener),
        };
        let listener = socket2::SockRef::from(&listener);
        loop {
            match listener.accept() {
                Ok((socket, peer)) => {
                    // On epoll the runtime asks sockets that may not let it wait.
                    if socket.set_nonblocking(true).is_err() {
                        continue;
                    }
                    let stream = TcpStream::from_std(socket.into());
                    if let Ok(Ok(conn)) = stream.map(|stream| Conn::new(stream, peer.as_socket())) {
                        return Some(conn);
                    }
                }
                Err(error) if gave_up(&error) => {}
                Err(_) => return None,
            }
        }
    }
}

/// A connection between Unix sockets as what the runtime calls a TCP stream: to the kernel a descriptor is a descriptor.
fn plain(stream: UnixStream) -> io::Result<TcpStream> {
    // SAFETY: the runtime gives the descriptor up, which nobody else has.
    let descriptor = unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) };
    TcpStream::from_std(descriptor.into())
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

//! A connection of a worker: TCP, or a stream between Unix sockets. The kernel treats a descriptor of either alike.
//!
//! Reads append to a [`Buffer`], writes send one. Both may wait under a deadline, which ends the connection when it
//! passes (see `deadline`). A read or write that was started must be awaited to its end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::pin;
use std::time::Duration;

use monoio::buf::IoBufMut as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _, CancelableAsyncReadRent as _, Canceller};
use monoio::net::TcpStream;

use super::address::{Address, UnixPath};
use super::buffer::Buffer;
use super::clock;
use super::deadline::Deadline;
use super::task::{First, race, sleep, take_turn};
use crate::limits;

/// How a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnError {
    /// The peer closed it.
    Closed,
    /// A deadline passed.
    TimedOut,
    /// It broke.
    Broken(io::ErrorKind),
}

/// Ends a connection whose operation somebody else awaits. Must not be used once that connection is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Aborter {
    fd: RawFd,
}

impl Aborter {
    /// Ends both directions; operations that wait complete.
    pub fn abort(self) {
        super::socket::shut_down(self.fd);
    }
}

/// What [`Conn::read_or_idle`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Bytes were appended.
    Read,
    /// Nothing came in the given time; the buffer is free.
    Idle,
}

/// What [`Conn::try_read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// Nothing has come.
    Nothing,
    /// Bytes, and there may be more.
    Some,
    /// All bytes that have come. The end of the stream may be behind them.
    All,
}

/// A connection. Field order matters: the deadline must forget the descriptor before it is closed.
pub struct Conn {
    deadline: Deadline,
    idle: Option<Deadline>,
    canceller: Option<Canceller>,
    stream: TcpStream,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
}

impl Conn {
    /// `peer` is `None` for a Unix socket.
    pub(super) fn new(stream: TcpStream, peer: Option<SocketAddr>) -> io::Result<Self> {
        let local = match peer {
            Some(_) => {
                stream.set_nodelay(true)?;
                Some(stream.local_addr()?)
            }
            None => None,
        };
        Ok(Self::from_parts(stream, peer, local))
    }

    pub(super) fn from_parts(stream: TcpStream, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        Self {
            deadline: Deadline::on_socket(stream.as_raw_fd()),
            idle: None,
            canceller: None,
            stream,
            peer,
            local,
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`ConnError::TimedOut`] when the peer does not answer in time, else what the system says.
    pub async fn connect(address: Address, within: Duration) -> Result<Self, ConnError> {
        match address {
            Address::Ip(address) => Self::connect_ip(address, within).await,
            Address::Unix(path) => Self::connect_unix(path, within).await,
        }
    }

    /// A Unix socket takes or refuses at once, unless its queue is full: then nothing tells when to ask again.
    async fn connect_unix(path: UnixPath, within: Duration) -> Result<Self, ConnError> {
        let broken = |error: io::Error| ConnError::Broken(error.kind());
        let address = socket2::SockAddr::unix(path.as_str()).map_err(broken)?;
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).map_err(broken)?;
        socket.set_nonblocking(true).map_err(broken)?;
        let late = clock::now() + within;
        while let Err(error) = socket.connect(&address) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(broken(error));
            }
            if clock::now() >= late {
                return Err(ConnError::TimedOut);
            }
            sleep(Duration::from_millis(limits::UNIX_QUEUE_PAUSE_MS)).await;
            clock::refresh();
        }
        let stream = TcpStream::from_std(socket.into()).map_err(broken)?;
        Self::new(stream, None).map_err(broken)
    }

    async fn connect_ip(address: SocketAddr, within: Duration) -> Result<Self, ConnError> {
        let broken = |error: io::Error| ConnError::Broken(error.kind());
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )
        .map_err(broken)?;
        socket.set_nonblocking(true).map_err(broken)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(broken(error)),
            _ => {}
        }
        let stream = TcpStream::from_std(socket.into()).map_err(broken)?;
        let deadline = Deadline::on_socket(stream.as_raw_fd());
        deadline.arm_in(within);
        let ready = stream.writable(true).await;
        if deadline.fired() {
            return Err(ConnError::TimedOut);
        }
        ready.map_err(broken)?;
        drop(deadline);
        match socket2::SockRef::from(&super::socket::borrow(&stream)).take_error() {
            Ok(None) => Self::new(stream, Some(address)).map_err(broken),
            Ok(Some(error)) | Err(error) => Err(broken(error)),
        }
    }

    /// The other end; `None` for a Unix socket.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// This end; `None` for a Unix socket.
    pub const fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Ends the connection when `within` passes without [`Conn::disarm`] or another arming.
    pub fn arm(&self, within: Duration) {
        self.deadline.arm_in(within);
    }

    /// Like [`Conn::arm`], for a connection between two requests: it also ends when the worker drains.
    pub fn arm_idle(&self, within: Duration) {
        self.deadline.arm_idle(within);
    }

    /// Takes the deadline away.
    pub fn disarm(&self) {
        self.deadline.disarm();
    }

    /// Appends what the peer sends, at least one byte, and refreshes the clock.
    ///
    /// # Errors
    /// [`ConnError`]; the buffer keeps what it held.
    pub async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, ConnError> {
        take_turn().await;
        let (bytes, start) = lend(buffer);
        let (result, slice) = self.stream.read(bytes.slice_mut(start..)).await;
        self.returned(buffer, slice.into_inner(), result)
    }

    /// Like [`Conn::read`], but gives up when nothing comes within `patience`, with the buffer free again. No byte
    /// is lost: what arrives while it gives up is read.
    ///
    /// # Errors
    /// As [`Conn::read`].
    pub async fn read_or_idle(
        &mut self,
        buffer: &mut Buffer,
        patience: Duration,
    ) -> Result<Activity, ConnError> {
        take_turn().await;
        let (bytes, start) = lend(buffer);
        let canceller = self.canceller.take().unwrap_or_default();
        let idle = self.idle.get_or_insert_with(Deadline::on_waker);
        idle.arm_in(patience);
        let (result, slice, canceller) = {
            let mut read = pin!(
                self.stream
                    .cancelable_read(bytes.slice_mut(start..), canceller.handle())
            );
            match race(&mut read, idle.wait()).await {
                First::Left((result, slice)) => (result, slice, canceller),
                First::Right(()) => {
                    let canceller = canceller.cancel();
                    let (result, slice) = read.await;
                    (result, slice, canceller)
                }
            }
        };
        idle.disarm();
        self.canceller = Some(canceller);
        let cancelled = matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ECANCELED));
        if cancelled && idle.fired() {
            *buffer = Buffer::from_vec(slice.into_inner());
            return Ok(Activity::Idle);
        }
        self.returned(buffer, slice.into_inner(), result)
            .map(|_count| Activity::Read)
    }

    /// Waits until there is something to read, or the peer closed, without holding a buffer. May be dropped.
    ///
    /// # Errors
    /// [`ConnError`] when a deadline passed meanwhile.
    pub async fn readable(&self) -> Result<(), ConnError> {
        let result = self.stream.readable(false).await;
        clock::refresh();
        match result {
            _ if self.deadline.fired() => Err(ConnError::TimedOut),
            Ok(()) => Ok(()),
            Err(error) => Err(ConnError::Broken(error.kind())),
        }
    }

    /// Waits for room to send. On io_uring a poll always reports that a peer has shut its sending side down, asked or
    /// not: it then looks as if there were room, however full it is. Who was `deceived` by that (a write found no room
    /// after this had told of some) pauses instead of asking again. May be dropped.
    ///
    /// # Errors
    /// As [`Conn::readable`].
    pub async fn room(&self, deceived: bool) -> Result<(), ConnError> {
        if deceived {
            sleep(Duration::from_millis(limits::RELAY_PAUSE_MS)).await;
            if self.deadline.fired() {
                return Err(ConnError::TimedOut);
            }
            return Ok(());
        }
        let result = self.stream.writable(false).await;
        clock::refresh();
        result.map_err(|error| failure(&error, Some(&self.deadline)))
    }

    /// Appends what has arrived, without waiting. Not while a read waits.
    ///
    /// # Errors
    /// [`ConnError`]; the buffer keeps what it held.
    pub fn try_read(&self, buffer: &mut Buffer) -> Result<Arrived, ConnError> {
        make_room(buffer);
        match super::socket::receive(self.stream.as_raw_fd(), buffer) {
            Ok(0) if self.deadline.fired() => Err(ConnError::TimedOut),
            Ok(0) => Err(ConnError::Closed),
            Ok(_) if buffer.len() < buffer.capacity() => Ok(Arrived::All),
            Ok(_) => Ok(Arrived::Some),
            Err(error) if is_wait(&error) => Ok(Arrived::Nothing),
            Err(error) => Err(failure(&error, Some(&self.deadline))),
        }
    }

    /// Sends what the connection takes without waiting, and forgets it. Not while a write waits.
    ///
    /// # Errors
    /// [`ConnError`]
    pub fn try_write(&self, buffer: &mut Buffer) -> Result<(), ConnError> {
        match super::socket::send(self.stream.as_raw_fd(), buffer) {
            Ok(count) => buffer.consume(count),
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(failure(&error, Some(&self.deadline))),
        }
        Ok(())
    }

    /// Sends the whole buffer and clears it.
    ///
    /// # Errors
    /// [`ConnError`]; how much was sent is unknown.
    pub async fn write_all(&mut self, buffer: &mut Buffer) -> Result<(), ConnError> {
        if buffer.is_empty() {
            return Ok(());
        }
        take_turn().await;
        let bytes = std::mem::replace(buffer, Buffer::empty()).into_vec();
        let (result, bytes) = self.stream.write_all(bytes).await;
        *buffer = Buffer::from_vec(bytes);
        buffer.clear();
        match result {
            Ok(_) if self.deadline.fired() => Err(ConnError::TimedOut),
            Ok(_) => Ok(()),
            Err(error) => Err(failure(&error, Some(&self.deadline))),
        }
    }

    /// A way to end the connection while an operation on it waits.
    pub fn aborter(&self) -> Aborter {
        Aborter {
            fd: self.stream.as_raw_fd(),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        super::socket::shut_down_write(self.stream.as_raw_fd());
    }

    /// Whether the peer has closed, or sent something unasked: such a connection must not be used again. One
    /// system call, no wait.
    pub fn is_stale(&self) -> bool {
        is_stale(super::socket::borrow(&self.stream))
    }

    fn returned(
        &self,
        buffer: &mut Buffer,
        bytes: Vec<u8>,
        result: io::Result<usize>,
    ) -> Result<usize, ConnError> {
        *buffer = Buffer::from_vec(bytes);
        clock::refresh();
        outcome(result, Some(&self.deadline))
    }

    /// The socket, for operations that do not wait.
    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Why an operation really failed: a deadline ends a connection by closing it.
    pub(super) fn failed(&self, error: ConnError) -> ConnError {
        if self.deadline.fired() {
            ConnError::TimedOut
        } else {
            error
        }
    }

    /// What is left when reading and writing are taken apart.
    pub(super) fn into_parts(self) -> (TcpStream, Deadline) {
        (self.stream, self.deadline)
    }
}

/// [`Conn::is_stale`], of a connection that may have no worker.
pub(super) fn is_stale(socket: BorrowedFd<'_>) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked =
        socket2::SockRef::from(&socket).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// What a read, perhaps under a deadline, came to.
pub(super) fn outcome(result: io::Result<usize>, deadline: Option<&Deadline>) -> Result<usize, ConnError> {
    match result {
        Ok(0) if deadline.is_some_and(Deadline::fired) => Err(ConnError::TimedOut),
        Ok(0) => Err(ConnError::Closed),
        Ok(count) => Ok(count),
        Err(error) => Err(failure(&error, deadline)),
    }
}

/// How an operation, perhaps under a deadline, failed.
pub(super) fn failure(error: &io::Error, deadline: Option<&Deadline>) -> ConnError {
    if deadline.is_some_and(Deadline::fired) {
        ConnError::TimedOut
    } else {
        ConnError::Broken(error.kind())
    }
}

/// Takes the memory out of a buffer, with room to read into.
pub(super) fn lend(buffer: &mut Buffer) -> (Vec<u8>, usize) {
    make_room(buffer);
    let bytes = std::mem::replace(buffer, Buffer::empty()).into_vec();
    let start = bytes.len();
    (bytes, start)
}

fn make_room(buffer: &mut Buffer) {
    buffer.furnish();
    if buffer.capacity() - buffer.len() < limits::READ_BYTES_MIN {
        buffer.reserve(limits::BUFFER_BYTES);
    }
}

/// Whether the operation would have to wait, or has to be asked for again.
fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

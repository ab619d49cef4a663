//! A connection whose reading and writing are two tasks' business, as where many messages share it.

#![allow(unsafe_code, reason = "one look at a shared socket, with its line")]

use std::os::fd::AsRawFd as _;
use std::time::Duration;

use monoio::buf::IoBufMut as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _, OwnedReadHalf, OwnedWriteHalf, Splitable as _};
use monoio::net::TcpStream;

use super::buffer::Buffer;
use super::clock;
use super::conn::{Conn, ConnError, failure, lend, outcome};
use super::deadline::Deadline;
use super::task::take_turn;

/// The reading half.
pub struct ConnReader {
    half: OwnedReadHalf<TcpStream>,
}

/// Ends a connection whose peer leaves something half said. Must be dropped before the reading half.
pub struct SilenceDeadline(Deadline);

/// The writing half. Field order matters: the deadline must forget the descriptor before it is closed.
pub struct ConnWriter {
    deadline: Deadline,
    half: OwnedWriteHalf<TcpStream>,
}

impl Conn {
    /// Takes the connection apart.
    pub fn split(self) -> (ConnReader, ConnWriter, SilenceDeadline) {
        let (stream, deadline) = self.into_parts();
        let writing = Deadline::on_socket(stream.as_raw_fd());
        let (read, write) = stream.into_split();
        let writer = ConnWriter {
            deadline: writing,
            half: write,
        };
        (ConnReader { half: read }, writer, SilenceDeadline(deadline))
    }
}

impl SilenceDeadline {
    /// Ends the connection when `within` passes without [`SilenceDeadline::disarm`] or another arming.
    pub fn arm(&self, within: Duration) {
        self.0.arm_in(within);
    }

    /// Takes the deadline away.
    pub fn disarm(&self) {
        self.0.disarm();
    }
}

impl ConnReader {
    /// Appends what the peer sends, at least one byte, and refreshes the clock. Must be awaited to its end.
    ///
    /// # Errors
    /// [`ConnError`]; the buffer keeps what it held.
    pub async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, ConnError> {
        take_turn().await;
        let (bytes, start) = lend(buffer);
        let (result, slice) = self.half.read(bytes.slice_mut(start..)).await;
        *buffer = Buffer::from_vec(slice.into_inner());
        clock::refresh();
        outcome(result, None)
    }

    /// Waits until there is something to read, or the peer closed, without holding a buffer. May be dropped.
    ///
    /// # Errors
    /// [`ConnError`] when it broke.
    pub async fn readable(&self) -> Result<(), ConnError> {
        // SAFETY: the worker has one thread; neither half keeps a reference into the stream over a point where another
        // task runs: operations carry the descriptor.
        let stream = unsafe { &*self.half.0.get() };
        let result = stream.readable(false).await;
        clock::refresh();
        result.map_err(|error| ConnError::Broken(error.kind()))
    }
}

impl ConnWriter {
    /// Sends the whole buffer and clears it; the connection ends when that takes longer than `within`.
    ///
    /// # Errors
    /// [`ConnError`]; how much was sent is unknown.
    pub async fn write_all(&mut self, buffer: &mut Buffer, within: Duration) -> Result<(), ConnError> {
        if buffer.is_empty() {
            return Ok(());
        }
        take_turn().await;
        self.deadline.arm_in(within);
        let bytes = std::mem::replace(buffer, Buffer::empty()).into_vec();
        let (result, bytes) = self.half.write_all(bytes).await;
        *buffer = Buffer::from_vec(bytes);
        buffer.clear();
        self.deadline.disarm();
        match result {
            Ok(_) if self.deadline.fired() => Err(ConnError::TimedOut),
            Ok(_) => Ok(()),
            Err(error) => Err(failure(&error, Some(&self.deadline))),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        super::socket::shut_down_write(self.fd());
    }

    /// Ends both directions; operations that wait complete.
    pub fn abort(&self) {
        super::socket::shut_down(self.fd());
    }

    fn fd(&self) -> std::os::fd::RawFd {
        // SAFETY: as in `ConnReader::readable`; only the number is taken.
        unsafe { &*self.half.0.get() }.as_raw_fd()
    }
}

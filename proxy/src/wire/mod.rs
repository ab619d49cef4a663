//! How one message travels: as bytes on a connection of its own, or as frames on one that is shared.
//!
//! The corridor reads and writes bodies the same way on both. Only heads differ, and what ends a body.

use std::time::Duration;

use crate::multiplex::{Handle, StreamAborter};
use crate::tls::{Stream, StreamError};
use crate::worker::{Aborter, Buffer};

/// What carries a message.
pub enum Wire {
    /// HTTP/1: the whole connection.
    Bytes(Stream),
    /// HTTP/2: one stream of it.
    Frames(Handle),
}

/// Ends a wire whose operation somebody else awaits.
pub enum WireAborter {
    /// By its socket.
    Bytes(Aborter),
    /// By its stream.
    Frames(StreamAborter),
}

impl WireAborter {
    /// Ends both directions; operations that wait complete.
    pub fn abort(self) {
        match self {
            Self::Bytes(aborter) => aborter.abort(),
            Self::Frames(aborter) => aborter.abort(),
        }
    }
}

impl Wire {
    /// The connection's own bytes, where it is not shared.
    pub const fn bytes(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Bytes(stream) => Some(stream),
            Self::Frames(_) => None,
        }
    }

    /// The stream, where the connection is shared.
    pub const fn frames(&mut self) -> Option<&mut Handle> {
        match self {
            Self::Bytes(_) => None,
            Self::Frames(handle) => Some(handle),
        }
    }

    /// Whether the connection is shared.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Frames(_))
    }

    /// Fails what waits when `within` passes without [`Wire::disarm`] or another arming.
    pub fn arm(&self, within: Duration) {
        match self {
            Self::Bytes(stream) => stream.conn().arm(within),
            Self::Frames(handle) => handle.arm(within),
        }
    }

    /// Takes the deadline away.
    pub fn disarm(&self) {
        match self {
            Self::Bytes(stream) => stream.conn().disarm(),
            Self::Frames(handle) => handle.disarm(),
        }
    }

    /// Appends what the peer sends, at least one byte.
    ///
    /// # Errors
    /// [`StreamError`]; on a shared connection [`crate::worker::ConnError::Closed`] is the end of this message.
    pub async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        match self {
            Self::Bytes(stream) => stream.read(buffer).await,
            Self::Frames(handle) => handle.read(buffer).await,
        }
    }

    /// Waits until there is something to read or the peer ended. May be dropped.
    ///
    /// # Errors
    /// [`StreamError`] when a deadline passed meanwhile.
    pub async fn readable(&self) -> Result<(), StreamError> {
        match self {
            Self::Bytes(stream) => stream.readable().await,
            Self::Frames(handle) => handle.readable().await,
        }
    }

    /// Waits until the peer may be gone: on a connection of its own, whenever it says anything. May be dropped.
    pub async fn stirs(&self) {
        match self {
            // Who waits for it reads next, and sees what it was.
            Self::Bytes(stream) => drop(stream.readable().await),
            Self::Frames(handle) => handle.reset().await,
        }
    }

    /// Sends the whole buffer and clears it.
    ///
    /// # Errors
    /// [`StreamError`]; how much was sent is unknown.
    pub async fn write_all(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        match self {
            Self::Bytes(stream) => stream.write_all(buffer).await,
            Self::Frames(handle) => handle.write_all(buffer).await,
        }
    }

    /// A way to end the wire while an operation on it waits.
    pub fn aborter(&self) -> WireAborter {
        match self {
            Self::Bytes(stream) => WireAborter::Bytes(stream.conn().aborter()),
            Self::Frames(handle) => WireAborter::Frames(handle.aborter()),
        }
    }
}

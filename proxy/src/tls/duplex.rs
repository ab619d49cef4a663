//! Steps on a stream that never wait: what a tunnel needs, which reads and writes both of its streams at once.
//!
//! Leaves: how far a step came. Who has nothing left to do waits with [`Conn::readable`] and [`Conn::writable`] of the
//! connection underneath. Not to be mixed with a read or write that is still awaited.
//!
//! [`Conn::readable`]: crate::worker::Conn::readable
//! [`Conn::writable`]: crate::worker::Conn::writable

use std::io::Write as _;

use super::stream::{Session, Stream, StreamError, decrypt};
use crate::limits;
use crate::worker::Buffer;
#[cfg(doc)]
use crate::worker::ConnError;

impl Stream {
    /// Appends what has arrived; false when nothing has. TLS adds all of what one read of the socket brings.
    ///
    /// # Errors
    /// [`StreamError`]; an end of stream is [`ConnError::Closed`].
    pub fn try_read(&mut self, buffer: &mut Buffer) -> Result<bool, StreamError> {
        match self {
            Self::Plain(conn) => Ok(conn.try_read(buffer)?),
            Self::Tls(session) => session.try_read(buffer),
        }
    }

    /// Sends what the peer takes now, and forgets it. TLS may keep one more buffer, encrypted: see
    /// [`Stream::pending`].
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn try_write(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        match self {
            Self::Plain(conn) => Ok(conn.try_write(buffer)?),
            Self::Tls(session) => session.try_write(buffer),
        }
    }

    /// Bytes inside that wait to be sent, and that [`Stream::try_write`] would send even of an empty buffer. What TLS has
    /// yet to write counts as one.
    pub fn pending(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(session) => session.outgoing.len() + usize::from(session.tls.wants_write()),
        }
    }

    /// Says that nothing more will be sent; false while the peer does not take that yet. What it sends can still be
    /// read.
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn try_finish(&mut self) -> Result<bool, StreamError> {
        if let Self::Tls(session) = self {
            session.tls.send_close_notify();
            session.try_flush()?;
        }
        let finished = self.pending() == 0;
        if finished {
            self.conn().finish();
        }
        Ok(finished)
    }
}

impl Session {
    fn try_read(&mut self, buffer: &mut Buffer) -> Result<bool, StreamError> {
        loop {
            match decrypt(&mut self.tls, &mut self.incoming, buffer) {
                Ok(0) if self.conn.try_read(&mut self.incoming)? => {}
                Ok(count) => {
                    self.rest();
                    return Ok(count > 0);
                }
                Err(error) => {
                    // The peer is told why, if it listens at all.
                    let _ = self.try_flush();
                    return Err(error);
                }
            }
        }
    }

    fn try_write(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        self.try_flush()?;
        while self.outgoing.is_empty() && !buffer.is_empty() {
            // The session buffers without a limit; the pieces bound it.
            let piece = buffer.len().min(limits::BUFFER_BYTES);
            self.tls
                .writer()
                .write_all(&buffer[..piece])
                .map_err(|_error| StreamError::Tls)?;
            buffer.consume(piece);
            self.try_flush()?;
        }
        Ok(())
    }

    /// Sends what TLS has to say, as far as the peer takes it.
    fn try_flush(&mut self) -> Result<(), StreamError> {
        while self.tls.wants_write() || !self.outgoing.is_empty() {
            if self.outgoing.is_empty() {
                self.outgoing.furnish();
                while self.tls.wants_write() {
                    self.tls
                        .write_tls(&mut *self.outgoing)
                        .map_err(|_error| StreamError::Tls)?;
                }
            }
            self.conn.try_write(&mut self.outgoing)?;
            if !self.outgoing.is_empty() {
                return Ok(());
            }
        }
        self.rest();
        Ok(())
    }
}

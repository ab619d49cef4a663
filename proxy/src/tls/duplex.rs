//! Steps on a stream that never wait: what a relay needs, which reads and writes both of its streams at once.
//!
//! Leaves: how far a step came. Who has nothing left to do waits with [`Conn::readable`] and [`Conn::room`] of the
//! connection underneath, and may take steps meanwhile. Not to be mixed with a read or write that is still awaited.

use std::io::Write as _;

use rustls::Connection;

use super::stream::{Stream, StreamError, decrypt, rest};
use crate::limits;
#[cfg(doc)]
use crate::worker::ConnError;
use crate::worker::{Arrived, Buffer, Conn};

/// A stream whose connection can be awaited while steps are taken.
pub struct Duplex<'s> {
    conn: &'s Conn,
    encryption: Option<Encryption<'s>>,
}

/// What TLS has besides the connection.
struct Encryption<'s> {
    conn: &'s Conn,
    tls: &'s mut Connection,
    incoming: &'s mut Buffer,
    outgoing: &'s mut Buffer,
}

impl Stream {
    /// For steps that never wait.
    pub fn duplex(&mut self) -> Duplex<'_> {
        match self {
            Self::Plain(conn) => Duplex {
                conn,
                encryption: None,
            },
            Self::Tls(session) => Duplex {
                conn: &session.conn,
                encryption: Some(Encryption {
                    conn: &session.conn,
                    tls: &mut session.tls,
                    incoming: &mut session.incoming,
                    outgoing: &mut session.outgoing,
                }),
            },
        }
    }
}

impl<'s> Duplex<'s> {
    /// The connection underneath.
    pub const fn conn(&self) -> &'s Conn {
        self.conn
    }

    /// Appends what has arrived. TLS adds all of what one read of the socket brings.
    ///
    /// # Errors
    /// [`StreamError`]; an end of stream is [`ConnError::Closed`].
    pub fn try_read(&mut self, buffer: &mut Buffer) -> Result<Arrived, StreamError> {
        match &mut self.encryption {
            None => Ok(self.conn.try_read(buffer)?),
            Some(encryption) => encryption.try_read(buffer),
        }
    }

    /// Sends what the peer takes now, and forgets it. TLS may keep one more buffer, encrypted: see
    /// [`Duplex::pending`].
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn try_write(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        match &mut self.encryption {
            None => Ok(self.conn.try_write(buffer)?),
            Some(encryption) => encryption.try_write(buffer),
        }
    }

    /// Bytes inside that wait to be sent, and that [`Duplex::try_write`] would send even of an empty buffer. What TLS has
    /// yet to write counts as one.
    pub fn pending(&self) -> usize {
        let held = |encryption: &Encryption<'_>| {
            encryption.outgoing.len() + usize::from(encryption.tls.wants_write())
        };
        self.encryption.as_ref().map_or(0, held)
    }

    /// Says that nothing more will be sent; false while the peer does not take that yet. What it sends can still be
    /// read.
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn try_finish(&mut self) -> Result<bool, StreamError> {
        if let Some(encryption) = &mut self.encryption {
            encryption.tls.send_close_notify();
            encryption.try_flush()?;
        }
        let finished = self.pending() == 0;
        if finished {
            self.conn.finish();
        }
        Ok(finished)
    }
}

impl Encryption<'_> {
    fn try_read(&mut self, buffer: &mut Buffer) -> Result<Arrived, StreamError> {
        let mut arrived = Arrived::Some;
        loop {
            match decrypt(self.tls, self.incoming, buffer) {
                Ok(0) if arrived == Arrived::Some => {
                    arrived = self.conn.try_read(self.incoming)?;
                    if arrived == Arrived::Nothing {
                        rest(self.incoming, self.outgoing);
                        return Ok(arrived);
                    }
                }
                Ok(count) => {
                    rest(self.incoming, self.outgoing);
                    return Ok(if count > 0 { arrived } else { Arrived::Nothing });
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
            // The session takes no more than it has room for; a piece always fits.
            let piece = buffer.len().min(limits::TLS_PIECE_BYTES);
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
                        .write_tls(&mut **self.outgoing)
                        .map_err(|_error| StreamError::Tls)?;
                }
            }
            self.conn.try_write(self.outgoing)?;
            if !self.outgoing.is_empty() {
                return Ok(());
            }
        }
        rest(self.incoming, self.outgoing);
        Ok(())
    }
}

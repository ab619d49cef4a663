//! A byte stream over a connection: plain, or through a rustls session.
//!
//! Reads append plaintext, writes take plaintext; what TLS has to say in between (handshake, key updates, alerts) is
//! read and sent as it comes. One task owns a stream, so reading and writing never happen at once.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use rustls::Connection;

use crate::limits;
use crate::worker::{Activity, Buffer, Conn, ConnError};

/// How a stream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The connection failed.
    Conn(ConnError),
    /// The peer broke the TLS protocol, or its certificate was not accepted.
    Tls,
}

impl From<ConnError> for StreamError {
    fn from(error: ConnError) -> Self {
        Self::Conn(error)
    }
}

/// A connection that carries bytes, encrypted or not.
pub enum Stream {
    /// As it is.
    Plain(Conn),
    /// Through TLS.
    Tls(Box<Session>),
}

/// A connection and its TLS state.
pub struct Session {
    conn: Conn,
    tls: Connection,
    incoming: Buffer,
    outgoing: Buffer,
}

impl Stream {
    /// Completes the handshake on a connection.
    ///
    /// # Errors
    /// [`StreamError`] when the peer does not complete it in `within`.
    pub async fn handshake(conn: Conn, tls: Connection, within: Duration) -> Result<Self, StreamError> {
        let mut session = Box::new(Session {
            conn,
            tls,
            incoming: Buffer::take(),
            outgoing: Buffer::take(),
        });
        session.conn.arm(within);
        while session.tls.is_handshaking() {
            session.flush().await?;
            if session.tls.is_handshaking() && session.tls.wants_read() {
                session.receive().await?;
            }
        }
        session.flush().await?;
        session.conn.disarm();
        session.rest();
        Ok(Self::Tls(session))
    }

    /// The TCP connection underneath.
    pub const fn conn(&self) -> &Conn {
        match self {
            Self::Plain(conn) => conn,
            Self::Tls(session) => &session.conn,
        }
    }

    /// The TLS session, when there is one.
    pub const fn tls(&self) -> Option<&Connection> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(session) => Some(&session.tls),
        }
    }

    /// Appends what the peer sends, at least one byte.
    ///
    /// # Errors
    /// [`StreamError`]; an end of stream is [`ConnError::Closed`], also when TLS was not closed properly: message
    /// framing decides whether something is missing.
    pub async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        match self {
            Self::Plain(conn) => Ok(conn.read(buffer).await?),
            Self::Tls(session) => session.read(buffer).await,
        }
    }

    /// Like [`Stream::read`], but gives up when nothing comes within `patience`, with the buffer free again.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub async fn read_or_idle(
        &mut self,
        buffer: &mut Buffer,
        patience: Duration,
    ) -> Result<Activity, StreamError> {
        match self {
            Self::Plain(conn) => Ok(conn.read_or_idle(buffer, patience).await?),
            Self::Tls(session) => session.read_or_idle(buffer, patience).await,
        }
    }

    /// Waits until there is something to read or the peer closed. May be dropped.
    ///
    /// # Errors
    /// [`StreamError`] when a deadline passed meanwhile.
    pub async fn readable(&self) -> Result<(), StreamError> {
        Ok(self.conn().readable().await?)
    }

    /// Sends the whole buffer and clears it.
    ///
    /// # Errors
    /// [`StreamError`]; how much was sent is unknown.
    pub async fn write_all(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        match self {
            Self::Plain(conn) => Ok(conn.write_all(buffer).await?),
            Self::Tls(session) => session.write_all(buffer).await,
        }
    }

    /// Tells the peer that nothing more will be sent.
    pub async fn finish(&mut self) {
        if let Self::Tls(session) = self {
            session.tls.send_close_notify();
            // The peer may be gone already.
            let _ = session.flush().await;
        }
        self.conn().finish();
    }
}

impl Session {
    async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        loop {
            let count = self.plaintext(buffer)?;
            if count > 0 {
                self.rest();
                return Ok(count);
            }
            self.receive().await?;
            if self.tls.wants_write() {
                self.flush().await?;
            }
        }
    }

    async fn read_or_idle(
        &mut self,
        buffer: &mut Buffer,
        patience: Duration,
    ) -> Result<Activity, StreamError> {
        loop {
            if self.plaintext(buffer)? > 0 {
                self.rest();
                return Ok(Activity::Read);
            }
            if self.conn.read_or_idle(&mut self.incoming, patience).await? == Activity::Idle {
                self.rest();
                return Ok(Activity::Idle);
            }
            self.accept()?;
        }
    }

    /// Moves decrypted bytes to a buffer.
    fn plaintext(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        let mut total = 0;
        loop {
            let start = buffer.len();
            buffer.resize(start + limits::READ_BYTES_MIN, 0);
            let read = self.tls.reader().read(&mut buffer[start..]);
            let count = *read.as_ref().unwrap_or(&0);
            buffer.truncate(start + count);
            total += count;
            match read {
                Ok(0) if total == 0 => return Err(ConnError::Closed.into()),
                Ok(0) => return Ok(total),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(total),
                // The peer left without saying so.
                Err(_) if total > 0 => return Ok(total),
                Err(_) => return Err(ConnError::Closed.into()),
            }
        }
    }

    async fn receive(&mut self) -> Result<(), StreamError> {
        self.conn.read(&mut self.incoming).await?;
        self.accept()
    }

    /// Feeds what was received to TLS.
    fn accept(&mut self) -> Result<(), StreamError> {
        while !self.incoming.is_empty() {
            let mut unread = self.incoming.as_slice();
            let before = unread.len();
            let taken = self
                .tls
                .read_tls(&mut unread)
                .map_err(|_error| StreamError::Tls)?;
            self.incoming.consume(before - unread.len());
            if self.tls.process_new_packets().is_err() || taken == 0 {
                return Err(StreamError::Tls);
            }
        }
        Ok(())
    }

    async fn write_all(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        for piece in buffer.chunks(limits::BUFFER_BYTES) {
            // The session buffers without a limit; the pieces bound it.
            self.tls
                .writer()
                .write_all(piece)
                .map_err(|_error| StreamError::Tls)?;
            self.flush().await?;
        }
        buffer.clear();
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StreamError> {
        while self.tls.wants_write() {
            self.tls
                .write_tls(&mut *self.outgoing)
                .map_err(|_error| StreamError::Tls)?;
        }
        Ok(self.conn.write_all(&mut self.outgoing).await?)
    }

    /// Gives buffers back that hold nothing.
    fn rest(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = Buffer::empty();
        }
        if self.outgoing.is_empty() {
            self.outgoing = Buffer::empty();
        }
    }
}

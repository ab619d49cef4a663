//! A byte stream over a connection: plain, or through a rustls session.
//!
//! Reads append plaintext, writes take plaintext; what TLS has to say in between (handshake, key updates, alerts) is
//! read and sent as it comes. One task owns a stream, so reading and writing never happen at once; where they must, the
//! stream is split.

use std::cell::RefCell;
use std::io::{BufRead as _, Write as _};
use std::rc::Rc;
use std::time::Duration;

use rustls::Connection;

use super::halves::{Reader, Writer};
use crate::limits;
use crate::settable;
use crate::worker::{Activity, Buffer, Conn, ConnError, SilenceDeadline, clock};

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
    /// As it is. Boxed: a stream changes hands for every request.
    Plain(Box<Conn>),
    /// Through TLS.
    Tls(Box<Session>),
}

/// A connection and its TLS state.
#[expect(unnameable_types, reason = "nobody has to name what is inside a stream")]
pub struct Session {
    pub(super) conn: Conn,
    pub(super) tls: Connection,
    pub(super) incoming: Buffer,
    pub(super) outgoing: Buffer,
}

impl Stream {
    /// Completes the handshake on a connection.
    ///
    /// # Errors
    /// [`StreamError`] when the peer does not complete it in `within`.
    pub async fn handshake(conn: Conn, tls: Connection, within: Duration) -> Result<Self, StreamError> {
        Self::handshake_from(Buffer::take(), conn, tls, within).await
    }

    /// [`Stream::handshake`] on a connection whose first bytes were already received.
    ///
    /// # Errors
    /// [`StreamError`] when the peer does not complete it in `within`.
    pub async fn handshake_from(
        received: Buffer,
        conn: Conn,
        tls: Connection,
        within: Duration,
    ) -> Result<Self, StreamError> {
        let mut session = Box::new(Session {
            conn,
            tls,
            incoming: received,
            outgoing: Buffer::take(),
        });
        session.conn.arm(within);
        session.feed().await?;
        while session.tls.is_handshaking() {
            session.flush().await?;
            if session.tls.is_handshaking() && session.tls.wants_read() {
                session.conn.read(&mut session.incoming).await?;
                session.feed().await?;
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
        match self {
            // What came with the end of the handshake is not on the socket any more.
            Self::Tls(session) if !session.tls.wants_read() || !session.incoming.is_empty() => Ok(()),
            _ => Ok(self.conn().readable().await?),
        }
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

    /// Takes the stream apart, for a task that reads and one that writes.
    pub fn split(self) -> (Reader, Writer, SilenceDeadline) {
        match self {
            Self::Plain(conn) => {
                let (reader, writer, idle) = conn.split();
                (
                    Reader::new(reader, None, Buffer::empty()),
                    Writer::new(writer, None),
                    idle,
                )
            }
            Self::Tls(session) => session.split(),
        }
    }

    /// Tells the peer that nothing more will be sent.
    pub async fn finish(&mut self) {
        if let Self::Tls(session) = self {
            session.tls.send_close_notify();
            // The peer may be gone already, or not read any more.
            session.conn.arm(settable::tls_handshake_s());
            let _ = session.flush().await;
        }
        self.conn().finish();
    }
}

impl Session {
    /// One without bytes in either direction.
    pub(super) const fn resting(conn: Conn, tls: Connection) -> Self {
        Self {
            conn,
            tls,
            incoming: Buffer::empty(),
            outgoing: Buffer::empty(),
        }
    }

    async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        loop {
            let count = self.decrypt(buffer).await?;
            if self.tls.wants_write() {
                self.flush().await?;
            }
            if count > 0 {
                self.rest();
                return Ok(count);
            }
            self.conn.read(&mut self.incoming).await?;
        }
    }

    async fn read_or_idle(
        &mut self,
        buffer: &mut Buffer,
        patience: Duration,
    ) -> Result<Activity, StreamError> {
        // Pieces of a record must not restart the time: a peer could keep it up for ever.
        let end = clock::now() + patience;
        loop {
            if self.decrypt(buffer).await? > 0 {
                self.rest();
                return Ok(Activity::Read);
            }
            let patience = end - clock::now();
            if patience.is_zero()
                || self.conn.read_or_idle(&mut self.incoming, patience).await? == Activity::Idle
            {
                self.rest();
                return Ok(Activity::Idle);
            }
        }
    }

    /// Appends the plaintext of all that was received. When that fails, the peer is told why before the connection ends.
    async fn decrypt(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        let result = decrypt(&mut self.tls, &mut self.incoming, buffer);
        self.tell(result).await
    }

    /// Gives what was received to TLS, as far as it takes it before plaintext must be taken out again. When that fails,
    /// the peer is told why before the connection ends.
    async fn feed(&mut self) -> Result<(), StreamError> {
        let result = process(&mut self.tls, &mut self.incoming);
        self.tell(result).await
    }

    async fn tell<T>(&mut self, result: Result<T, StreamError>) -> Result<T, StreamError> {
        if matches!(result, Err(StreamError::Tls)) {
            self.conn.arm(settable::tls_handshake_s());
            // The peer may be gone, or not listen.
            let _ = self.flush().await;
        }
        result
    }

    /// Takes the stream apart, for two tasks.
    fn split(self) -> (Reader, Writer, SilenceDeadline) {
        let (reader, writer, idle) = self.conn.split();
        let tls = Rc::new(RefCell::new(self.tls));
        let reader = Reader::new(reader, Some(Rc::clone(&tls)), self.incoming);
        (reader, Writer::new(writer, Some(tls)), idle)
    }

    async fn write_all(&mut self, buffer: &mut Buffer) -> Result<(), StreamError> {
        for piece in buffer.chunks(limits::TLS_PIECE_BYTES) {
            // The session takes no more than it has room for; a piece always fits.
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
        if !self.tls.wants_write() {
            return Ok(());
        }
        self.outgoing.furnish();
        while self.tls.wants_write() {
            self.tls
                .write_tls(&mut *self.outgoing)
                .map_err(|_error| StreamError::Tls)?;
        }
        Ok(self.conn.write_all(&mut self.outgoing).await?)
    }

    fn rest(&mut self) {
        rest(&mut self.incoming, &mut self.outgoing);
    }
}

/// Gives buffers back that hold nothing.
pub(super) fn rest(incoming: &mut Buffer, outgoing: &mut Buffer) {
    for buffer in [incoming, outgoing] {
        if buffer.is_empty() {
            *buffer = Buffer::empty();
        }
    }
}

/// Moves decrypted bytes to a buffer; whether more may follow.
pub(super) fn take_plaintext(tls: &mut Connection, buffer: &mut Buffer) -> bool {
    let mut reader = tls.reader();
    loop {
        match reader.fill_buf() {
            Ok([]) => return false,
            Ok(bytes) => {
                buffer.extend_from_slice(bytes);
                let count = bytes.len();
                reader.consume(count);
            }
            // Any other error is an end without a goodbye.
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Gives received bytes to TLS, as far as it takes them before plaintext must be taken out again.
pub(super) fn process(tls: &mut Connection, incoming: &mut Buffer) -> Result<(), StreamError> {
    while !incoming.is_empty() {
        let taken = tls
            .read_tls(&mut incoming.as_slice())
            .map_err(|_error| StreamError::Tls)?;
        incoming.consume(taken);
        let state = tls.process_new_packets().map_err(|_error| StreamError::Tls)?;
        if taken == 0 {
            return Err(StreamError::Tls);
        }
        if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
            break;
        }
    }
    Ok(())
}

/// Appends the plaintext of all that was received. What is left of a record that is not whole stays inside the session,
/// so after this only the socket can bring more.
pub(super) fn decrypt(
    tls: &mut Connection,
    incoming: &mut Buffer,
    buffer: &mut Buffer,
) -> Result<usize, StreamError> {
    let before = buffer.len();
    loop {
        let open = take_plaintext(tls, buffer);
        let count = buffer.len() - before;
        match (open, count) {
            (false, 0) => return Err(ConnError::Closed.into()),
            (false, _) => return Ok(count),
            (true, _) if incoming.is_empty() => return Ok(count),
            (true, _) => process(tls, incoming)?,
        }
    }
}

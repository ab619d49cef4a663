//! A stream taken apart: one task reads, another writes, and a TLS session is lent to each in turn.

use std::cell::RefCell;
use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use rustls::Connection;

use super::stream::{StreamError, decrypt};
use crate::limits;
use crate::settable;
use crate::worker::{Buffer, ConnReader, ConnWriter};

/// The reading side.
pub struct Reader {
    conn: ConnReader,
    tls: Option<Rc<RefCell<Connection>>>,
    incoming: Buffer,
}

/// The writing side.
pub struct Writer {
    conn: ConnWriter,
    tls: Option<Rc<RefCell<Connection>>>,
    outgoing: Buffer,
}

impl Reader {
    pub(super) const fn new(
        conn: ConnReader,
        tls: Option<Rc<RefCell<Connection>>>,
        incoming: Buffer,
    ) -> Self {
        Self { conn, tls, incoming }
    }

    /// Appends what the peer sends, at least one byte. TLS may have something to say after it: see
    /// [`Writer::wants_write`].
    ///
    /// # Errors
    /// [`StreamError`]; an end of stream is [`crate::worker::ConnError::Closed`], also when TLS was not closed properly.
    pub async fn read(&mut self, buffer: &mut Buffer) -> Result<usize, StreamError> {
        let Some(tls) = &self.tls else {
            return Ok(self.conn.read(buffer).await?);
        };
        loop {
            let count = decrypt(&mut tls.borrow_mut(), &mut self.incoming, buffer)?;
            if self.incoming.is_empty() {
                self.incoming = Buffer::empty();
            }
            if count > 0 {
                return Ok(count);
            }
            self.conn.read(&mut self.incoming).await?;
        }
    }

    /// Waits until there is something to read or the peer closed. May be dropped.
    ///
    /// # Errors
    /// [`StreamError`] when the connection broke.
    pub async fn readable(&self) -> Result<(), StreamError> {
        let ready = self
            .tls
            .as_ref()
            .is_some_and(|tls| !tls.borrow().wants_read() || !self.incoming.is_empty());
        if !ready {
            self.conn.readable().await?;
        }
        Ok(())
    }
}

impl Writer {
    pub(super) const fn new(conn: ConnWriter, tls: Option<Rc<RefCell<Connection>>>) -> Self {
        Self {
            conn,
            tls,
            outgoing: Buffer::empty(),
        }
    }

    /// Whether TLS has something to say.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.borrow().wants_write())
    }

    /// Sends the whole buffer, and what TLS has to say, and clears it. The connection ends when a piece takes longer than
    /// `within`.
    ///
    /// # Errors
    /// [`StreamError`]; how much was sent is unknown.
    pub async fn write_all(&mut self, buffer: &mut Buffer, within: Duration) -> Result<(), StreamError> {
        if self.tls.is_none() {
            return Ok(self.conn.write_all(buffer, within).await?);
        }
        for piece in buffer.chunks(limits::TLS_PIECE_BYTES) {
            self.encrypt(piece)?;
            self.conn.write_all(&mut self.outgoing, within).await?;
        }
        buffer.clear();
        self.encrypt(&[])?;
        self.conn.write_all(&mut self.outgoing, within).await?;
        if self.outgoing.is_empty() {
            self.outgoing = Buffer::empty();
        }
        Ok(())
    }

    /// Moves a piece, encrypted, and whatever else TLS has to say to what goes out.
    fn encrypt(&mut self, piece: &[u8]) -> Result<(), StreamError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let mut tls = tls.borrow_mut();
        tls.writer().write_all(piece).map_err(|_error| StreamError::Tls)?;
        if tls.wants_write() {
            self.outgoing.furnish();
        }
        while tls.wants_write() {
            tls.write_tls(&mut *self.outgoing)
                .map_err(|_error| StreamError::Tls)?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more will be sent.
    pub async fn finish(&mut self) {
        if let Some(tls) = &self.tls {
            tls.borrow_mut().send_close_notify();
            // The peer may be gone already, or not read any more.
            let within = settable::tls_handshake_s();
            let _ = self.write_all(&mut Buffer::empty(), within).await;
        }
        self.conn.finish();
    }

    /// Ends both directions at once.
    pub fn abort(&self) {
        self.conn.abort();
    }
}

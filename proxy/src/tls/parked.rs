//! A stream between two workers: its connection, and its TLS session beside it.

use std::io;

use rustls::Connection;

use super::stream::{Session, Stream};
use crate::worker::{Duplicate, ParkedConn};

/// A stream that any worker may adopt. It holds no byte in either direction. Dropping it closes it.
pub struct ParkedStream {
    conn: ParkedConn,
    tls: Option<Box<Connection>>,
}

impl Stream {
    /// Takes a stream that nothing is done with away from this worker. `None` when it holds bytes, which nobody asked for;
    /// it is closed then.
    pub fn park(self, duplicate: Duplicate) -> Option<ParkedStream> {
        let (conn, tls) = match self {
            Self::Plain(conn) => (*conn, None),
            Self::Tls(session) => {
                let Session {
                    conn,
                    tls,
                    incoming,
                    outgoing,
                } = *session;
                let silent = incoming.is_empty() && outgoing.is_empty() && !tls.wants_write();
                if !silent || !tls.wants_read() {
                    return None;
                }
                (conn, Some(Box::new(tls)))
            }
        };
        Some(ParkedStream {
            conn: conn.park(duplicate),
            tls,
        })
    }
}

impl ParkedStream {
    /// As [`crate::worker::Conn::is_stale`].
    pub fn is_stale(&self) -> bool {
        self.conn.is_stale()
    }

    /// Gives the stream to this worker.
    ///
    /// # Errors
    /// When the worker does not take it; it is closed then.
    pub fn adopt(self) -> io::Result<Stream> {
        let conn = self.conn.adopt()?;
        Ok(match self.tls {
            None => Stream::Plain(Box::new(conn)),
            Some(tls) => Stream::Tls(Box::new(Session::resting(conn, *tls))),
        })
    }
}

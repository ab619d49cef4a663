//! Getting a connection to a server: which target, which address, which idle connection, or a new one.
//!
//! Everything here belongs to one worker, except the health of addresses: no lock. Names are resolved on threads of
//! their own.

pub mod balance;
pub mod health;
pub mod pool;
pub mod queue;
pub mod resolve;
pub mod retry;

use std::time::Duration;

use crate::tls::{ClientTls, Stream, StreamError};
use crate::worker::{Address, Buffer, Conn};

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The name could not be resolved.
    Unresolved,
    /// The connection could not be opened in time, or was refused.
    Refused(StreamError),
    /// TLS could not be agreed on, or the certificate was not accepted.
    Tls(StreamError),
}

/// Opens a connection that begins with a PROXY header if `announcement` is not empty, with TLS if `tls` is given.
///
/// # Errors
/// [`ConnectError`]; nothing was sent that a server could take for a request.
pub async fn connect(
    address: Address,
    announcement: &[u8],
    tls: Option<(&ClientTls, &str)>,
    within: Duration,
) -> Result<Stream, ConnectError> {
    let refused = |error| ConnectError::Refused(StreamError::Conn(error));
    let mut conn = Conn::connect(address, within).await.map_err(refused)?;
    if !announcement.is_empty() {
        let mut bytes = Buffer::take();
        bytes.extend_from_slice(announcement);
        conn.arm(within);
        conn.write_all(&mut bytes).await.map_err(refused)?;
        conn.disarm();
    }
    match tls {
        None => Ok(Stream::Plain(Box::new(conn))),
        Some((tls, name)) => {
            let session = tls
                .connect(name)
                .map_err(|_error| ConnectError::Tls(StreamError::Tls))?;
            Stream::handshake(conn, session, within)
                .await
                .map_err(ConnectError::Tls)
        }
    }
}

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
use crate::worker::{Address, Conn};

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

/// Opens a connection, with TLS if `tls` is given.
///
/// # Errors
/// [`ConnectError`]; nothing was sent that a server could take for a request.
pub async fn connect(
    address: Address,
    tls: Option<(&ClientTls, &str)>,
    within: Duration,
) -> Result<Stream, ConnectError> {
    let conn = Conn::connect(address, within)
        .await
        .map_err(|error| ConnectError::Refused(StreamError::Conn(error)))?;
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

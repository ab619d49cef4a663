//! A thread for each connection, for as long as the program runs. A connection that ends in an error says so, because a
//! gateway then did what it should not.

use std::io::{BufReader, ErrorKind};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;

/// An accepted connection, read with this much memory: an origin is not to be what is waited for.
pub(super) type Reader = BufReader<TcpStream>;
const READ_BYTES: usize = 256 * 1024;

/// Serves every connection to a free port of the loopback, which is given.
///
/// # Errors
/// When no port can be listened on.
pub(super) fn serve(name: &'static str, connection: fn(&mut Reader) -> Result<()>) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let done = stream
                    .set_nodelay(true)
                    .map_err(anyhow::Error::from)
                    .and_then(|()| connection(&mut BufReader::with_capacity(READ_BYTES, stream)));
                if let Err(error) = done
                    && !is_departure(&error)
                {
                    crate::step::warn(&format!("origin {name}: {error:#}"));
                }
            });
        }
    });
    Ok(port)
}

/// Whether a gateway only went away, as it may at the end of a turn.
fn is_departure(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
        )
    })
}

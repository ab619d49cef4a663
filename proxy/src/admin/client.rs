//! The asking side, for `tollgate status` and its kin.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What a running gateway answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens on the socket.
    NotRunning(PathBuf, io::Error),
    /// What came is not an answer.
    Garbled,
    /// The connection broke.
    Broken(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(path, error) => write!(
                f,
                "no tollgate answers on {}: {error}\nhelp: name its admin socket with --admin",
                path.display()
            ),
            Self::Garbled => f.write_str("the answer is not HTTP: is this the admin socket of a tollgate?"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// Sends one request to the admin socket and reads the answer.
///
/// # Errors
/// [`ClientError`] when no gateway answers.
pub fn request(socket: &Path, method: &str, path: &str) -> Result<Reply, ClientError> {
    let mut stream =
        UnixStream::connect(socket).map_err(|error| ClientError::NotRunning(socket.to_owned(), error))?;
    let ask = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).map_err(ClientError::Broken)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(ClientError::Broken)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ClientError::Garbled)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(ClientError::Garbled)?;
    Ok(Reply {
        status,
        body: body.to_owned(),
    })
}

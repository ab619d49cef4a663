//! Bodies of any length, on kept connections of HTTP/1.1: `/down/BYTES` answers with that many, `/up` reads a request's
//! to its end and then answers, `/up/slowly` takes its time.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::super::message::{Head, drain, fill};
use super::listen::Reader;

/// Followed by the number of bytes.
pub(crate) const DOWN: &str = "/down/";
/// Takes a body.
pub(crate) const UP: &str = "/up";
/// Takes a body, [`SLOW_PIECE`] every [`SLOW_PAUSE`].
pub(crate) const UP_SLOWLY: &str = "/up/slowly";

/// What a slow reader takes at once.
pub(crate) const SLOW_PIECE: usize = 16 * 1024;
/// How long it waits between two pieces.
pub(crate) const SLOW_PAUSE: Duration = Duration::from_millis(50);

pub(super) fn serve(connection: &mut Reader) -> Result<()> {
    while let Some(head) = Head::read(connection)? {
        let target = head.start.split(' ').nth(1).context("no request line")?;
        let (length, answer) = (head.length()?, target.strip_prefix(DOWN));
        if target == UP_SLOWLY {
            drain_slowly(connection, length)?;
        } else {
            drain(connection, length)?;
        }
        let bytes = match answer {
            Some(bytes) => bytes.parse()?,
            None if target.starts_with(UP) => 0,
            None => bail!("nobody asks for {target}"),
        };
        let stream = connection.get_mut();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
        fill(stream, bytes)?;
    }
    Ok(())
}

/// Past the reader's own memory, which would take 256 KiB at once.
fn drain_slowly(connection: &mut Reader, bytes: u64) -> Result<()> {
    use std::io::{BufRead as _, Read as _};
    let held = connection.buffer().len();
    connection.consume(held);
    let mut left = bytes.saturating_sub(held as u64);
    let mut piece = [0; SLOW_PIECE];
    while left > 0 {
        std::thread::sleep(SLOW_PAUSE);
        let read = connection.get_mut().read(&mut piece)?;
        ensure!(read > 0, std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        left = left.saturating_sub(read as u64);
    }
    Ok(())
}

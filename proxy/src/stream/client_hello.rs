//! The server name in a TLS client's first message (RFC 8446 §4.1.2, RFC 6066 §3), read without answering it.
//!
//! Enters: the first bytes of a connection, however they are cut into records. Leaves: the name in lower case. Whatever
//! is no ClientHello is refused; nothing is guessed.

use crate::settable::{self, Limit};

/// The bytes are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHello;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// Content of one record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 1 << 14;

/// The server name that a client asks for, empty for none; `None` while the message is incomplete. `message` is memory
/// for a message that comes in several records.
///
/// # Errors
/// [`NoHello`]: the connection must be closed.
pub fn server_name(bytes: &[u8], message: &mut Vec<u8>) -> Result<Option<String>, NoHello> {
    message.clear();
    let mut rest = bytes;
    loop {
        if let Some(body) = whole(message)? {
            return name_in(body).map(Some);
        }
        match record(rest)? {
            Some((content, after)) => {
                message.extend_from_slice(content);
                rest = after;
            }
            None if bytes.len() >= settable::client_hello_bytes() => return Err(too_long()),
            None => return Ok(None),
        }
    }
}

/// A record's content, and what follows it.
type Record<'b> = (&'b [u8], &'b [u8]);

/// The first record; `None` while it is incomplete.
fn record(bytes: &[u8]) -> Result<Option<Record<'_>>, NoHello> {
    // What there is must be the start of one: a stranger is not waited for.
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
        return Err(NoHello);
    }
    let Some((header, rest)) = bytes.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length == 0 || length > RECORD_BYTES {
        return Err(NoHello);
    }
    Ok(rest.split_at_checked(length))
}

/// The body of the handshake message, once all of it is there.
fn whole(message: &[u8]) -> Result<Option<&[u8]>, NoHello> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(NoHello);
    }
    let Some((&[_kind, high, middle, low], body)) = message.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > settable::client_hello_bytes() {
        return Err(too_long());
    }
    Ok(body.get(..length))
}

fn too_long() -> NoHello {
    settable::reached(Limit::ClientHelloBytes);
    NoHello
}

fn name_in(body: &[u8]) -> Result<String, NoHello> {
    let mut hello = Reader(body);
    hello.take(2 + 32)?;
    let session_id = hello.vector_8()?;
    let suites = hello.vector_16()?;
    let compressions = hello.vector_8()?;
    if session_id.0.len() > 32 || suites.0.len() < 2 || suites.0.len() % 2 != 0 || compressions.0.is_empty() {
        return Err(NoHello);
    }
    let mut name = None;
    if !hello.0.is_empty() {
        let mut extensions = hello.vector_16()?;
        while !extensions.0.is_empty() {
            let kind = extensions.number_16()?;
            let mut content = extensions.vector_16()?;
            if kind == SERVER_NAME && name.replace(host_name(&mut content)?).is_some() {
                return Err(NoHello);
            }
        }
    }
    if hello.0.is_empty() {
        Ok(name.unwrap_or_default())
    } else {
        Err(NoHello)
    }
}

/// The host name of a `server_name` extension. There is no other kind of name.
fn host_name(content: &mut Reader<'_>) -> Result<String, NoHello> {
    let mut list = content.vector_16()?;
    let kind = list.take(1)?;
    let name = list.vector_16()?.0;
    let is_name = !name.is_empty() && name.len() <= 255 && name.iter().all(u8::is_ascii_graphic);
    if kind != [HOST_NAME] || !is_name || !list.0.is_empty() || !content.0.is_empty() {
        return Err(NoHello);
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    Ok(name
        .iter()
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect())
}

/// What is left to be read.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], NoHello> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(NoHello)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number_16(&mut self) -> Result<u16, NoHello> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector whose length takes one byte.
    fn vector_8(&mut self) -> Result<Self, NoHello> {
        let length = usize::from(self.take(1)?[0]);
        self.take(length).map(Self)
    }

    /// A vector whose length takes two bytes.
    fn vector_16(&mut self) -> Result<Self, NoHello> {
        let length = usize::from(self.number_16()?);
        self.take(length).map(Self)
    }
}

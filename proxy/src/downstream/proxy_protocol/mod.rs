//! The PROXY protocol, versions 1 and 2 (HAProxy's specification, March 2020): for whom a load balancer opened a connection.
//!
//! Enters: the first bytes of a connection from a peer that must send it. Leaves: the header's length and the client it
//! names. Nothing is guessed: a peer that should send a header and sends anything else is refused.

#[cfg(test)]
mod tests;
pub mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::settable::{self, Limit};

/// Whom a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A client elsewhere.
    Client(SocketAddr),
    /// Nobody: the balancer speaks for itself (`LOCAL`, a health check), or does not know (`UNKNOWN`).
    Peer,
}

/// The bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED: usize = SIGNATURE.len() + 4;
/// The longest line of version 1, CRLF included.
const LINE: usize = 107;

/// Reads a header at the start of `bytes`; `None` while it is incomplete. Gives its length.
///
/// # Errors
/// [`NoHeader`]: the connection must be closed.
pub fn decode(bytes: &[u8]) -> Result<Option<(usize, Announced)>, NoHeader> {
    if bytes.starts_with(SIGNATURE) {
        return binary(bytes);
    }
    if bytes.starts_with(b"PROXY ") {
        return line(bytes);
    }
    let may_become = |start: &[u8]| start.starts_with(bytes);
    if may_become(SIGNATURE) || may_become(b"PROXY ") {
        Ok(None)
    } else {
        Err(NoHeader)
    }
}

fn line(bytes: &[u8]) -> Result<Option<(usize, Announced)>, NoHeader> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE)]) else {
        return if bytes.len() < LINE {
            Ok(None)
        } else {
            Err(NoHeader)
        };
    };
    let text = bytes[..end].strip_suffix(b"\r").ok_or(NoHeader)?;
    let text = str::from_utf8(text).map_err(|_error| NoHeader)?;
    let mut words = text.split(' ').skip(1);
    let announced = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => Announced::Peer,
        Some("TCP4") => client::<Ipv4Addr>(words)?,
        Some("TCP6") => client::<Ipv6Addr>(words)?,
        _ => return Err(NoHeader),
    };
    Ok(Some((end + 1, announced)))
}

/// Source, destination and their ports, and nothing else.
fn client<'w, A: FromStr + Into<IpAddr>>(
    words: impl Iterator<Item = &'w str>,
) -> Result<Announced, NoHeader> {
    let words: Vec<&str> = words.take(5).collect();
    let [source, destination, source_port, destination_port] = words[..] else {
        return Err(NoHeader);
    };
    let address = |text: &str| text.parse::<A>().map_err(|_error| NoHeader);
    let (source, _) = (address(source)?, address(destination)?);
    let (port, _) = (port(source_port)?, port(destination_port)?);
    Ok(Announced::Client(SocketAddr::new(source.into(), port)))
}

fn port(text: &str) -> Result<u16, NoHeader> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    let port = text.parse().map_err(|_error| NoHeader);
    if plain { port } else { Err(NoHeader) }
}

fn binary(bytes: &[u8]) -> Result<Option<(usize, Announced)>, NoHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > settable::proxy_header_bytes() {
        settable::reached(Limit::ProxyHeaderBytes);
        return Err(NoHeader);
    }
    let Some(addresses) = rest.get(..length) else {
        // What cannot become right is refused before it is whole.
        return meaning(command, family, &[0; 216]).map(|_| None);
    };
    let announced = meaning(command, family, addresses)?;
    Ok(Some((FIXED + length, announced)))
}

/// What version and command, and family and protocol, say about the addresses, which other values may follow.
fn meaning(command: u8, family: u8, addresses: &[u8]) -> Result<Announced, NoHeader> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    match (command, family) {
        // Whatever the addresses are, they are not meant.
        (LOCAL, _) => Ok(Announced::Peer),
        (PROXY, 0x11) => {
            let addresses: &[u8; 12] = addresses.first_chunk().ok_or(NoHeader)?;
            let [a, b, c, d, .., high, low, _, _] = *addresses;
            let source = Ipv4Addr::new(a, b, c, d).into();
            Ok(Announced::Client(SocketAddr::new(
                source,
                u16::from_be_bytes([high, low]),
            )))
        }
        (PROXY, 0x21) => {
            let addresses: &[u8; 36] = addresses.first_chunk().ok_or(NoHeader)?;
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(NoHeader)?;
            let port = u16::from_be_bytes([rest[16], rest[17]]);
            Ok(Announced::Client(SocketAddr::new(
                Ipv6Addr::from(*source).into(),
                port,
            )))
        }
        // Unspecified, or a Unix socket, whose client has no address here.
        (PROXY, 0x00 | 0x31) => Ok(Announced::Peer),
        _ => Err(NoHeader),
    }
}

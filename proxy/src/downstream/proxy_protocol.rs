//! The PROXY protocol, versions 1 and 2 (HAProxy's specification, March 2020): for whom a load balancer opened a connection.
//!
//! Enters: the first bytes of a connection from a peer that must send it. Leaves: the header's length and the client it
//! names. Nothing is guessed: a peer that should send a header and sends anything else is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::limits;

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
    if length > limits::PROXY_HEADER_BYTES {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn announced(bytes: &[u8]) -> Result<Option<(usize, Option<String>)>, NoHeader> {
        let decoded = decode(bytes)?;
        Ok(decoded.map(|(length, announced)| match announced {
            Announced::Client(client) => (length, Some(client.to_string())),
            Announced::Peer => (length, None),
        }))
    }

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    fn ipv4() -> Vec<u8> {
        version_2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80])
    }

    #[test]
    fn lines_name_clients() {
        for (text, client) in [
            (
                "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n",
                Some("192.0.2.7:8080"),
            ),
            ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", Some("[2001:db8::7]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f::f ffff::f 65535 65535\r\n", None),
        ] {
            let expected = Ok(Some((text.len(), client.map(str::to_owned))));
            assert_eq!(announced(text.as_bytes()), expected, "{text}");
            assert_eq!(
                announced(format!("{text}GET / HTTP/1.1\r\n").as_bytes()),
                expected
            );
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 192.0.2.7 10.0.0.1 8080 80\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80 90\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 8080 80\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 8080 80\r\n",
            "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 8080 80\r\n",
            "PROXY TCP4 192.0.2.7 nobody 8080 80\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 080\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 80\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 8080 80\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(announced(text.as_bytes()), Err(NoHeader), "{text}");
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; LINE]].concat();
        assert_eq!(announced(&endless), Err(NoHeader));
    }

    #[test]
    fn binary_headers_name_clients() {
        let values = [&ipv4()[FIXED..], &[0x04, 0, 1, 0]].concat();
        let mut ipv6 = [0; 36];
        ipv6[..2].copy_from_slice(&[0x20, 0x01]);
        ipv6[15] = 7;
        ipv6[33] = 9;
        for (bytes, client) in [
            (ipv4(), Some("192.0.2.7:8080")),
            (version_2(0x21, 0x11, &values), Some("192.0.2.7:8080")),
            (version_2(0x21, 0x21, &ipv6), Some("[2001::7]:9")),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x20, 0x11, &ipv4()[FIXED..]), None),
            (version_2(0x21, 0x00, b"left out"), None),
            (version_2(0x21, 0x31, &[b'/'; 216]), None),
        ] {
            let length = bytes.len();
            let expected = Ok(Some((length, client.map(str::to_owned))));
            let followed = [&bytes[..], b"GET"].concat();
            assert_eq!(announced(&followed), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn binary_headers_that_mean_nothing_are_refused() {
        for bytes in [
            version_2(0x11, 0x11, &ipv4()[FIXED..]),
            version_2(0x22, 0x11, &ipv4()[FIXED..]),
            version_2(0x21, 0x12, &ipv4()[FIXED..]),
            version_2(0x21, 0x11, &ipv4()[FIXED..FIXED + 11]),
            version_2(0x21, 0x21, &ipv4()[FIXED..]),
            version_2(0x20, 0x00, &vec![0; limits::PROXY_HEADER_BYTES + 1]),
        ] {
            assert_eq!(
                announced(&bytes),
                Err(NoHeader),
                "{}",
                bytes[12..16].escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn a_split_at_any_byte_changes_nothing(bytes in prop_oneof![
            Just(ipv4()),
            Just(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec()),
            Just(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\rx".to_vec()),
            Just(version_2(0x21, 0x12, &[0; 12])),
            proptest::collection::vec(any::<u8>(), 0..40),
        ]) {
            let whole = decode(&bytes);
            for end in 0..bytes.len() {
                match decode(&bytes[..end]) {
                    Ok(None) => {}
                    // Found early, it is what the whole gives too.
                    early => prop_assert_eq!(early, whole),
                }
            }
        }
    }
}

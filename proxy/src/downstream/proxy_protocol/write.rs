//! The header that servers get who want one: for whom the gateway opened a connection to them.
//!
//! The sibling of the reader. Version 2 also says how the client's TLS was agreed on, in the specification's own types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use policy::table::ProxyProtocol;

use super::SIGNATURE;
use crate::node::address_of;

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub struct Header<'h> {
    /// The client's address, IPv4 mapped, and its port, 0 where that is not known; `None` for a client on a Unix socket.
    pub client: Option<(u128, u16)>,
    /// Where the client connected to; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// The client's TLS, where it ends here.
    pub tls: Option<HeaderTls<'h>>,
}

/// TLS of a [`Header`].
#[derive(Clone, Copy, Debug)]
pub struct HeaderTls<'h> {
    /// `TLSv1.3`
    pub version: &'h str,
    /// Cipher suite.
    pub cipher: &'h str,
    /// Whether the client showed a certificate, which was verified then.
    pub has_certificate: bool,
    /// The server name that it asked for; may be empty.
    pub server_name: &'h str,
    /// The protocol that was agreed on, if any was.
    pub protocol: Option<&'h str>,
}

/// Version 2, made for somebody.
const PROXY: u8 = 0x21;
/// Version 2, made for the sender itself.
const LOCAL: u8 = 0x20;
/// Streams between addresses that are not told, of IPv4, and of IPv6.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// `PP2_TYPE_*`: what stands behind the addresses.
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CIPHER: u8 = 0x23;
/// `PP2_CLIENT_*`: over TLS, and with a certificate on this very connection.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT: u8 = 0x02;

/// Appends the header of a connection for a client; nothing for a server that wants none.
pub fn write(version: ProxyProtocol, header: &Header<'_>, out: &mut Vec<u8>) {
    match version {
        ProxyProtocol::Off => {}
        ProxyProtocol::V1 => write_line(ends(header), out),
        ProxyProtocol::V2 => {
            let mut rest = Vec::with_capacity(256);
            let family = write_ends(ends(header), &mut rest);
            if let Some(tls) = &header.tls {
                write_tls(tls, &mut rest);
            }
            write_binary(PROXY, family, &rest, out);
        }
    }
}

/// Appends the header of a connection that the gateway opens for itself, as its probes are.
pub fn write_own(version: ProxyProtocol, out: &mut Vec<u8>) {
    match version {
        ProxyProtocol::Off => {}
        ProxyProtocol::V1 => write_line(Ends::Unknown, out),
        ProxyProtocol::V2 => write_binary(LOCAL, UNSPECIFIED, &[], out),
    }
}

/// Source and destination, of one family.
#[derive(Clone, Copy)]
enum Ends {
    Unknown,
    V4((Ipv4Addr, u16), (Ipv4Addr, u16)),
    V6((Ipv6Addr, u16), (Ipv6Addr, u16)),
}

fn ends(header: &Header<'_>) -> Ends {
    let Some((client, port)) = header.client else {
        return Ends::Unknown;
    };
    let client = address_of(client);
    // A client that a Unix peer named connected nowhere that has an address.
    let (local, local_port) = match header.local {
        Some(local) => (local.ip().to_canonical(), local.port()),
        None => (unspecified(client), 0),
    };
    match (client, local) {
        (IpAddr::V4(client), IpAddr::V4(local)) => Ends::V4((client, port), (local, local_port)),
        (client, local) => Ends::V6((wide(client), port), (wide(local), local_port)),
    }
}

const fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

const fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn write_line(ends: Ends, out: &mut Vec<u8>) {
    let line = match ends {
        Ends::Unknown => "PROXY UNKNOWN\r\n".to_owned(),
        Ends::V4((client, port), (local, local_port)) => {
            format!("PROXY TCP4 {client} {local} {port} {local_port}\r\n")
        }
        Ends::V6((client, port), (local, local_port)) => {
            format!("PROXY TCP6 {client} {local} {port} {local_port}\r\n")
        }
    };
    out.extend_from_slice(line.as_bytes());
}

/// Gives the family.
fn write_ends(ends: Ends, out: &mut Vec<u8>) -> u8 {
    let mut ports = |client: &[u8], local: &[u8], port: u16, local_port: u16| {
        out.extend_from_slice(client);
        out.extend_from_slice(local);
        out.extend_from_slice(&port.to_be_bytes());
        out.extend_from_slice(&local_port.to_be_bytes());
    };
    match ends {
        Ends::Unknown => UNSPECIFIED,
        Ends::V4((client, port), (local, local_port)) => {
            ports(&client.octets(), &local.octets(), port, local_port);
            TCP4
        }
        Ends::V6((client, port), (local, local_port)) => {
            ports(&client.octets(), &local.octets(), port, local_port);
            TCP6
        }
    }
}

fn write_tls(tls: &HeaderTls<'_>, out: &mut Vec<u8>) {
    if let Some(protocol) = tls.protocol {
        write_value(ALPN, protocol.as_bytes(), out);
    }
    if !tls.server_name.is_empty() {
        write_value(AUTHORITY, tls.server_name.as_bytes(), out);
    }
    let client = CLIENT_SSL | if tls.has_certificate { CLIENT_CERT } else { 0 };
    let mut ssl = vec![client];
    // 0 is for a certificate that was verified, any other number for none.
    ssl.extend_from_slice(&u32::from(!tls.has_certificate).to_be_bytes());
    write_value(SSL_VERSION, tls.version.as_bytes(), &mut ssl);
    write_value(SSL_CIPHER, tls.cipher.as_bytes(), &mut ssl);
    write_value(SSL, &ssl, out);
}

/// A type, a length and a value; one that is longer than any that there is, is left out.
fn write_value(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(value.len()) {
        out.push(kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
}

fn write_binary(command: u8, family: u8, rest: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(rest.len()).unwrap_or(0);
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&rest[..usize::from(length)]);
}

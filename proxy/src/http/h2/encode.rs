//! Writes the blocks of heads. There is one way a head is written, whatever way it was received.

use super::hpack::{Fields, encode};
use crate::http::h1::encode::Framing;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;

/// A request that goes out.
pub struct Request<'r> {
    /// Its method.
    pub method: &'r [u8],
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// The canonical upstream path, or `*`.
    pub path: &'r [u8],
    /// As it is, without its `?`.
    pub query: Option<&'r [u8]>,
}

/// Appends the block of a request; the Host of `fields` becomes `:authority`.
pub fn request(request: &Request<'_>, fields: &Outgoing<'_>, framing: Framing, out: &mut Vec<u8>) {
    encode::method(request.method, out);
    encode::scheme(request.secure, out);
    if let Some(host) = fields.get(b"Host") {
        encode::authority(host, out);
    }
    encode::path(request.path, request.query, out);
    write_fields(fields, framing, out);
}

/// Appends the block of a response.
pub fn response(status: u16, fields: &Outgoing<'_>, framing: Framing, out: &mut Vec<u8>) {
    encode::status(status, out);
    write_fields(fields, framing, out);
}

/// Appends the block of trailers, as they were received.
pub fn trailers(trailers: &Fields, out: &mut Vec<u8>) {
    for (name, value) in trailers.iter() {
        encode::field(name, KnownHeader::of(name), value, out);
    }
}

/// Appends the block of a request's trailers. Whatever a gateway reads, writes or takes away where it is a header stays
/// away: some servers put both together, and would take it for one.
pub fn request_trailers(trailers: &Fields, out: &mut Vec<u8>) {
    let is_free = |name| {
        let (known, twin) = (KnownHeader::of(name), KnownHeader::underscore_twin_of(name));
        let free = [
            KnownHeader::Other,
            KnownHeader::GrpcStatus,
            KnownHeader::GrpcMessage,
        ];
        free.contains(&known) && twin == KnownHeader::Other
    };
    for (name, value) in trailers.iter().filter(|(name, _)| is_free(name)) {
        encode::field(name, KnownHeader::of(name), value, out);
    }
}

fn write_fields(fields: &Outgoing<'_>, framing: Framing, out: &mut Vec<u8>) {
    for field in fields.iter().filter(|field| field.known != KnownHeader::Host) {
        encode::field(field.name, field.known, field.value, out);
    }
    if let Framing::Length(length) = framing {
        let mut digits = itoa::Buffer::new();
        let length = digits.format(length).as_bytes();
        encode::field(b"content-length", KnownHeader::ContentLength, length, out);
    }
}

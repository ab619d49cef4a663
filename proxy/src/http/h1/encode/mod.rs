//! Writes HTTP/1.1 heads. There is one way a head is written, whatever way it was received.
//!
//! Enters: the parts of a message and its outgoing fields. Leaves: wire bytes in the caller's buffer. Fields that
//! frame this hop (Connection, Content-Length, Transfer-Encoding, Upgrade) are written here and nowhere else.

#[cfg(test)]
mod tests;

use crate::http::body::BodyLength;
use crate::http::head::{Method, RequestHead, ResponseHead, Version};
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::status;
use crate::http::write::push_decimal;

/// How the written head announces its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: there is no body.
    Nothing,
    /// `Content-Length`. For HEAD and 304 the length of the body that is not sent.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// By closing the connection: a response of unknown length to an HTTP/1.0 client. By the end of its stream in HTTP/2.
    UntilClose,
}

impl Framing {
    /// For a client's request passed on with its body as it is, as a request of this method.
    pub fn of_request(head: &RequestHead, method: &[u8]) -> Self {
        match head.body {
            BodyLength::Length(length) => Self::Length(length),
            BodyLength::Chunked | BodyLength::UntilClose => Self::Chunked,
            // RFC 9110 §8.6: a method that usually has content should say that it has none.
            _ if matches!(method, b"POST" | b"PUT" | b"PATCH") => Self::Length(0),
            _ if head.headers.contains(KnownHeader::ContentLength) => Self::Length(0),
            _ => Self::Nothing,
        }
    }

    /// For an upstream's response passed on with its body as it is, to a client of `version` that sent `method`.
    /// `bytes` is the buffer `head` was decoded from.
    pub fn of_response(head: &ResponseHead, bytes: &[u8], method: Method, version: Version) -> Self {
        match head.body {
            _ if matches!(head.status, 100..200 | 204) => Self::Nothing,
            _ if method == Method::Head || head.status == 304 => head
                .headers
                .on(bytes)
                .get(KnownHeader::ContentLength)
                .map_or(Self::Nothing, |text| {
                    let digits = text.iter().map(|digit| u64::from(digit.wrapping_sub(b'0')));
                    Self::Length(digits.fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(digit)))
                }),
            BodyLength::None
                if version == Version::Http2 && !head.headers.contains(KnownHeader::ContentLength) =>
            {
                Self::Nothing
            }
            BodyLength::None => Self::Length(0),
            BodyLength::Length(length) => Self::Length(length),
            BodyLength::Chunked | BodyLength::UntilClose => Self::unknown_length(version),
        }
    }

    /// For a response whose length is not known when its head is written.
    pub const fn unknown_length(version: Version) -> Self {
        match version {
            Version::Http10 | Version::Http2 => Self::UntilClose,
            Version::Http11 => Self::Chunked,
        }
    }
}

/// What happens to the connection after the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection<'a> {
    /// It can be used again.
    KeepAlive,
    /// It closes.
    Close,
    /// It can be used again, or become the protocol named, as `Upgrade` names it.
    Upgrade(&'a [u8]),
    /// It becomes that protocol now, behind this head.
    Switch(&'a [u8]),
}

/// Appends an upstream request head. `path` is the canonical upstream path, or `*`; `query` goes as it is, without
/// its `?`. `fields` hold Host.
pub fn write_request(
    method: &[u8],
    path: &[u8],
    query: Option<&[u8]>,
    fields: &Outgoing<'_>,
    framing: Framing,
    connection: Connection<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(path);
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(fields, framing, connection, out);
}

/// Appends a response head. The status line carries the registered reason phrase, never the upstream's own text.
pub fn write_response(
    status: u16,
    fields: &Outgoing<'_>,
    framing: Framing,
    connection: Connection<'_>,
    out: &mut Vec<u8>,
) {
    write_status_line(status, out);
    write_fields(fields, framing, connection, out);
}

/// Appends the head of an interim response, which frames nothing and leaves the connection as it is.
pub fn write_interim(status: u16, fields: &Outgoing<'_>, out: &mut Vec<u8>) {
    write_status_line(status, out);
    fields.write_lines(out);
    out.extend_from_slice(b"\r\n");
}

fn write_status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(status.into(), out);
    out.push(b' ');
    out.extend_from_slice(status::reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The interim response that lets a waiting client send its body (RFC 9110 §10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn write_fields(fields: &Outgoing<'_>, framing: Framing, connection: Connection<'_>, out: &mut Vec<u8>) {
    fields.write_lines(out);
    match framing {
        Framing::Nothing | Framing::UntilClose => {}
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
    }
    match connection {
        Connection::KeepAlive if framing != Framing::UntilClose => {
            out.extend_from_slice(b"Connection: keep-alive\r\n\r\n");
        }
        Connection::KeepAlive | Connection::Close => out.extend_from_slice(b"Connection: close\r\n\r\n"),
        Connection::Upgrade(protocol) => {
            write_upgrade(b"Connection: keep-alive, Upgrade\r\nUpgrade: ", protocol, out);
        }
        Connection::Switch(protocol) => write_upgrade(b"Connection: Upgrade\r\nUpgrade: ", protocol, out),
    }
}

fn write_upgrade(start: &[u8], protocol: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(start);
    out.extend_from_slice(protocol);
    out.extend_from_slice(b"\r\n\r\n");
}

//! Writes HTTP/1.1 heads. There is one way a head is written, whatever way it was received.
//!
//! Enters: the parts of a message and its outgoing fields. Leaves: wire bytes in the caller's buffer. Fields that
//! frame this hop (Connection, Content-Length, Transfer-Encoding, Upgrade) are written here and nowhere else.

use crate::http::body::BodyLength;
use crate::http::head::{Method, RequestHead, ResponseHead, Version};
use crate::http::headers::Header;
use crate::http::known::KnownHeader;
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
    /// By closing the connection: a response of unknown length to an HTTP/1.0 client.
    UntilClose,
}

impl Framing {
    /// For a client's request passed on with its body as it is.
    pub fn of_request(head: &RequestHead) -> Self {
        match head.body {
            BodyLength::Length(length) => Self::Length(length),
            BodyLength::Chunked => Self::Chunked,
            // RFC 9110 §8.6: a method that usually has content should say that it has none.
            _ if matches!(head.method, Method::Post | Method::Put | Method::Patch) => Self::Length(0),
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
            BodyLength::None => Self::Length(0),
            BodyLength::Length(length) => Self::Length(length),
            BodyLength::Chunked | BodyLength::UntilClose => Self::unknown_length(version),
        }
    }

    /// For a response whose length is not known when its head is written.
    pub const fn unknown_length(version: Version) -> Self {
        match version {
            Version::Http10 => Self::UntilClose,
            Version::Http11 | Version::Http2 => Self::Chunked,
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
    /// It becomes the protocol named, as `Upgrade` names it.
    Upgrade(&'a [u8]),
}

/// Appends an upstream request head. `path` is the canonical upstream path, or `*`; `query` goes as it is, without
/// its `?`. `fields` hold Host.
pub fn write_request<'h>(
    method: &[u8],
    path: &[u8],
    query: Option<&[u8]>,
    fields: impl Iterator<Item = Header<'h>>,
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
pub fn write_response<'h>(
    status: u16,
    fields: impl Iterator<Item = Header<'h>>,
    framing: Framing,
    connection: Connection<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(status.into(), out);
    out.push(b' ');
    out.extend_from_slice(status::reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_fields(fields, framing, connection, out);
}

/// The interim response that lets a waiting client send its body (RFC 9110 §10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn write_fields<'h>(
    fields: impl Iterator<Item = Header<'h>>,
    framing: Framing,
    connection: Connection<'_>,
    out: &mut Vec<u8>,
) {
    for field in fields {
        out.extend_from_slice(field.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
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
            out.extend_from_slice(b"Connection: keep-alive, Upgrade\r\nUpgrade: ");
            out.extend_from_slice(protocol);
            out.extend_from_slice(b"\r\n\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::h1::head::RequestDecoder;
    use crate::http::h1::response::ResponseDecoder;
    use crate::http::outgoing::OutgoingHeaders;

    fn request(bytes: &[u8]) -> RequestHead {
        let mut head = RequestHead::default();
        RequestDecoder::default()
            .decode(bytes, &mut head)
            .unwrap()
            .unwrap();
        head
    }

    fn forwarded(bytes: &[u8]) -> Vec<u8> {
        let head = request(bytes);
        let (request, mut headers, mut out) = (head.on(bytes), OutgoingHeaders::default(), Vec::new());
        let mut outgoing = headers.start_request(request.headers(), bytes);
        outgoing.set(b"Host", b"upstream:8080");
        let framing = Framing::of_request(&head);
        let (path, query) = (request.raw_path(), request.query());
        write_request(
            request.method(),
            path,
            query,
            outgoing.iter(),
            framing,
            Connection::KeepAlive,
            &mut out,
        );
        out
    }

    #[test]
    fn a_request_is_written_from_what_was_read() {
        let bytes = b"\r\nPUT http://a/x?y= HTTP/1.1\r\nhost:a\r\nConnection: X-Gone,close\r\nx-gone: 1\r\n\
                      TRANSFER-ENCODING:Chunked\r\nA:\tb \r\n\r\n";
        let expected = "PUT /x?y= HTTP/1.1\r\nA: b\r\nHost: upstream:8080\r\nTransfer-Encoding: chunked\r\n\
                        Connection: keep-alive\r\n\r\n";
        assert_eq!(
            forwarded(bytes).escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
    }

    #[test]
    fn a_request_says_that_it_has_no_body_where_one_is_usual() {
        let says_so = |method: &str, field: &str| {
            let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\n{field}\r\n").into_bytes();
            Framing::of_request(&request(&bytes)) == Framing::Length(0)
        };
        assert!(says_so("POST", "") && says_so("PATCH", "") && says_so("DELETE", "Content-Length: 0\r\n"));
        assert!(!says_so("GET", "") && !says_so("DELETE", ""));
    }

    fn response_framing(head: &str, method: Method, version: Version) -> Framing {
        let mut response = ResponseHead::default();
        ResponseDecoder::default()
            .decode(head.as_bytes(), method, &mut response)
            .unwrap()
            .unwrap();
        Framing::of_response(&response, head.as_bytes(), method, version)
    }

    #[test]
    fn responses_are_framed_for_their_client() {
        use Framing::{Chunked, Length, Nothing, UntilClose};
        let (get, head, one) = (Method::Get, Method::Head, Version::Http11);
        let rows = [
            ("200 OK\r\nContent-Length: 5\r\n\r\n", get, one, Length(5)),
            ("200 OK\r\nContent-Length: 0\r\n\r\n", get, one, Length(0)),
            ("200 OK\r\nContent-Length: 5\r\n\r\n", head, one, Length(5)),
            ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head, one, Nothing),
            ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", get, one, Chunked),
            (
                "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                get,
                Version::Http10,
                UntilClose,
            ),
            ("200 OK\r\n\r\n", get, one, Chunked),
            ("200 OK\r\n\r\n", get, Version::Http10, UntilClose),
            (
                "304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                get,
                one,
                Length(5),
            ),
            ("304 Not Modified\r\n\r\n", get, one, Nothing),
            ("204 No Content\r\nContent-Length: 0\r\n\r\n", get, one, Nothing),
        ];
        for (text, method, version, framing) in rows {
            assert_eq!(
                response_framing(&format!("HTTP/1.1 {text}"), method, version),
                framing,
                "{text}"
            );
        }
    }

    #[test]
    fn responses_are_written_with_their_connection() {
        let (mut headers, mut out) = (OutgoingHeaders::default(), Vec::new());
        let mut fields = headers.start_empty();
        fields.set(b"A", b"b");
        write_response(
            429,
            fields.iter(),
            Framing::Length(12),
            Connection::Close,
            &mut out,
        );
        write_response(
            101,
            [].into_iter(),
            Framing::Nothing,
            Connection::Upgrade(b"websocket"),
            &mut out,
        );
        write_response(
            200,
            [].into_iter(),
            Framing::UntilClose,
            Connection::KeepAlive,
            &mut out,
        );
        let expected = "HTTP/1.1 429 Too Many Requests\r\nA: b\r\nContent-Length: 12\r\nConnection: close\r\n\r\n\
                        HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\
                        HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        assert_eq!(
            out.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read_and_means_the_same(
            names in proptest::collection::vec("[a-zA-Z][a-zA-Z0-9_-]{0,12}", 0..8),
            value in "[ -~]{0,20}",
            length in 1_u64..1000,
        ) {
            let fields: String = names.iter().map(|name| format!("{name}: {value}\r\n")).collect();
            let bytes = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n").into_bytes();
            let mut head = RequestHead::default();
            prop_assume!(RequestDecoder::default().decode(&bytes, &mut head).is_ok());
            let written = forwarded(&bytes);
            let again = request(&written);
            prop_assert_eq!(again.body, BodyLength::Length(length));
            let view = again.headers.on(&written);
            for header in head.headers.on(&bytes).iter().filter(|it| it.known == KnownHeader::Other) {
                if KnownHeader::underscore_twin_of(header.name) == KnownHeader::Other {
                    prop_assert_eq!(view.find(header.name), Some(header.value));
                }
            }
        }
    }
}

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
    let framing = Framing::of_request(&head, head.method.name(bytes));
    let (path, query) = (request.raw_path(), request.query());
    write_request(
        request.method(),
        path,
        query,
        &outgoing,
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
        Framing::of_request(&request(&bytes), method.as_bytes()) == Framing::Length(0)
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
    write_response(429, &fields, Framing::Length(12), Connection::Close, &mut out);
    write_response(
        101,
        &OutgoingHeaders::default().start_empty(),
        Framing::Nothing,
        Connection::Switch(b"websocket"),
        &mut out,
    );
    write_response(
        426,
        &OutgoingHeaders::default().start_empty(),
        Framing::Length(0),
        Connection::Upgrade(b"websocket"),
        &mut out,
    );
    write_response(
        200,
        &OutgoingHeaders::default().start_empty(),
        Framing::UntilClose,
        Connection::KeepAlive,
        &mut out,
    );
    let expected = "HTTP/1.1 429 Too Many Requests\r\nA: b\r\nContent-Length: 12\r\nConnection: close\r\n\r\n\
                    HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
                    HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: keep-alive, Upgrade\r\n\
                    Upgrade: websocket\r\n\r\n\
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

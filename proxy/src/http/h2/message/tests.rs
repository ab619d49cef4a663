//! Heads of HTTP/2, valid and not.

use super::*;
use crate::http::h2::hpack::{Decoder, encode};
use crate::limits;

fn fields(list: &[(&str, &str)]) -> Fields {
    let mut block = Vec::new();
    for (name, value) in list {
        // As a peer writes it: upper case stays.
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).unwrap();
            assert!(length < 0x7f, "short texts only");
            block.push(length);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut fields = Fields::default();
    Decoder::default().decode(&block, &mut fields).unwrap();
    fields
}

fn read(list: &[(&str, &str)], ended: bool) -> Result<(RequestHead, Vec<u8>), HeadError> {
    let (mut fields, mut head) = (fields(list), RequestHead::default());
    request(&mut fields, ended, &mut head)?;
    Ok((head, fields.bytes))
}

const START: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "Api.example:8443"),
    (":path", "/a/%41?q=1"),
];

/// `START` with fields after it.
fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&START[..], more].concat()
}

#[test]
fn a_request_says_what_http_1_would() {
    let (head, bytes) = read(&with(&[("accept", "*/*")]), true).unwrap();
    let request = head.on(&bytes);
    assert_eq!(
        (request.method(), request.raw_path()),
        (&b"GET"[..], &b"/a/%41"[..])
    );
    assert_eq!(request.query(), Some(&b"q=1"[..]));
    assert_eq!(
        request.authority().map(|it| (it.host, it.port)),
        Some((&b"Api.example"[..], Some(8443)))
    );
    assert_eq!(request.header(KnownHeader::Host), Some(&b"Api.example:8443"[..]));
    assert_eq!(request.header(KnownHeader::Accept), Some(&b"*/*"[..]));
    assert_eq!(
        (head.body, head.version, head.keep_alive),
        (BodyLength::None, Version::Http2, true)
    );
}

#[test]
fn bodies_end_with_their_stream_and_may_announce_their_length() {
    let body =
        |more: &[(&'static str, &'static str)], ended| read(&with(more), ended).map(|(head, _)| head.body);
    assert_eq!(body(&[], false), Ok(BodyLength::UntilClose));
    assert_eq!(body(&[("content-length", "5")], false), Ok(BodyLength::Length(5)));
    assert_eq!(body(&[("content-length", "0")], true), Ok(BodyLength::None));
    assert_eq!(
        body(&[("content-length", "5")], true),
        Err(HeadError::ContentLength)
    );
    assert_eq!(
        body(&[("content-length", "05")], false),
        Err(HeadError::ContentLength)
    );
    assert_eq!(
        body(&[("content-length", "5"), ("content-length", "5")], false),
        Err(HeadError::ContentLength)
    );
}

#[test]
fn cookies_that_came_apart_are_one_field() {
    let (head, bytes) = read(
        &with(&[("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2")]),
        true,
    )
    .unwrap();
    let cookies: Vec<_> = head.headers.on(&bytes).get_all(KnownHeader::Cookie).collect();
    assert_eq!(cookies, [b"a=1; b=2"]);
}

#[test]
fn host_may_stand_for_the_authority_and_must_agree_with_it() {
    let host = |value: &'static str| read(&with(&[("host", value)]), true).map(|_| ());
    assert_eq!(host("api.EXAMPLE:8443"), Ok(()));
    assert_eq!(host("api.example"), Err(HeadError::Host));
    let alone = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("host", "a"),
    ];
    assert_eq!(read(&alone, true).unwrap().0.headers.len(), 1);
    assert_eq!(read(&alone[..3], true).map(|_| ()), Err(HeadError::Host));
}

#[test]
fn what_could_become_another_request_is_refused() {
    use HeadError::{HeaderName, HeaderValue, HopByHop, Pseudo, Repeated, StartLine, Target, UnderscoreTwin};
    let mut wrong: Vec<(Vec<(&str, &str)>, HeadError)> = vec![
        (with(&[("Accept", "x")]), HeaderName),
        (with(&[("", "x")]), HeaderName),
        (with(&[("a b", "x")]), HeaderName),
        (with(&[("a:b", "x")]), HeaderName),
        (with(&[("a\r\nb", "x")]), HeaderName),
        (with(&[("a", "x\r\nb: c")]), HeaderValue),
        (with(&[("a", "x\nb")]), HeaderValue),
        (with(&[("a", "x\0")]), HeaderValue),
        (with(&[("a", " x")]), HeaderValue),
        (with(&[("a", "x\t")]), HeaderValue),
        (with(&[("a", "x\x0by")]), HeaderValue),
        (with(&[("connection", "close")]), HopByHop),
        (with(&[("keep-alive", "1")]), HopByHop),
        (with(&[("proxy-connection", "close")]), HopByHop),
        (with(&[("transfer-encoding", "chunked")]), HopByHop),
        (with(&[("upgrade", "h2c")]), HopByHop),
        (with(&[("te", "gzip")]), HopByHop),
        (with(&[("transfer_encoding", "chunked")]), UnderscoreTwin),
        (with(&[("authorization", "a"), ("authorization", "b")]), Repeated),
        (with(&[(":path", "/b")]), Pseudo),
        (with(&[(":status", "200")]), Pseudo),
        (with(&[("a", "b"), (":late", "x")]), Pseudo),
    ];
    for (number, value, error) in [
        (0, "GET?", StartLine),
        (0, "G T", StartLine),
        (0, "", StartLine),
        (0, "CONNECT", HeadError::MethodNotAllowed),
        (1, "http://x/?", Pseudo),
        (2, "a@b", HeadError::Host),
        (2, "", HeadError::Host),
        (3, "", Target),
        (3, "a", Target),
        (3, "*", Target),
        (3, "/a b", Target),
        (3, "/a\r\nb: c", Target),
        (3, "http://a/", Target),
        (3, "/#x", Target),
    ] {
        let mut list = START.to_vec();
        list[number].1 = value;
        wrong.push((list, error));
    }
    for missing in [0, 1, 3] {
        let mut list = START.to_vec();
        list.remove(missing);
        wrong.push((list, Pseudo));
    }
    for (list, error) in wrong {
        assert_eq!(read(&list, true).map(|_| ()), Err(error), "{list:?}");
    }
}

#[test]
fn options_may_ask_for_everything() {
    let mut list = START.to_vec();
    (list[0].1, list[3].1) = ("OPTIONS", "*");
    assert_eq!(read(&list, true).unwrap().0.target.form, TargetForm::Asterisk);
}

#[test]
fn responses_are_read_as_strictly() {
    let read = |list: &[(&str, &str)], ended: bool, method: Method| {
        let (fields, mut head) = (fields(list), ResponseHead::default());
        response(&fields, ended, method, &mut head).map(|()| (head.status, head.body))
    };
    let ok = (":status", "200");
    assert_eq!(
        read(&[ok, ("a", "b")], false, Method::Get),
        Ok((200, BodyLength::UntilClose))
    );
    assert_eq!(read(&[ok], true, Method::Get), Ok((200, BodyLength::None)));
    assert_eq!(
        read(&[ok, ("content-length", "7")], false, Method::Get),
        Ok((200, BodyLength::Length(7)))
    );
    assert_eq!(
        read(&[ok, ("content-length", "7")], true, Method::Head),
        Ok((200, BodyLength::None))
    );
    assert_eq!(
        read(&[ok, ("content-length", "7")], true, Method::Get),
        Err(HeadError::ContentLength)
    );
    for status in ["", "20", "2000", "101", "0200", "99", "abc"] {
        assert_eq!(
            read(&[(":status", status)], true, Method::Get),
            Err(HeadError::Pseudo),
            "{status}"
        );
    }
    assert_eq!(read(&[ok, ok], true, Method::Get), Err(HeadError::Pseudo));
    assert_eq!(read(&[("a", "b"), ok], true, Method::Get), Err(HeadError::Pseudo));
    assert_eq!(
        read(&[ok, ("connection", "close")], true, Method::Get),
        Err(HeadError::HopByHop)
    );
    assert_eq!(
        read(&[ok, ("a", "b\r\nc: d")], true, Method::Get),
        Err(HeadError::HeaderValue)
    );
}

#[test]
fn trailers_are_ordinary_fields() {
    let check = |name, value| check_trailers(&fields(&[(name, value)]));
    assert_eq!(check("grpc-status", "0"), Ok(()));
    assert_eq!(check(":status", "200"), Err(HeadError::Pseudo));
    assert_eq!(check("a", "b\nc"), Err(HeadError::HeaderValue));
}

#[test]
fn too_much_of_anything_has_its_status() {
    let long = "a".repeat(limits::URI_BYTES);
    let mut block = Vec::new();
    encode::method(b"GET", &mut block);
    encode::path(b"/", Some(long.as_bytes()), &mut block);
    let mut fields = Fields::default();
    Decoder::default().decode(&block, &mut fields).unwrap();
    let read = request(&mut fields, true, &mut RequestHead::default());
    assert_eq!(read.map_err(HeadError::status), Err(414));
    let mut block = Vec::new();
    for _ in 0..=limits::HEADERS {
        encode::field(b"a", KnownHeader::Other, b"", &mut block);
    }
    fields.clear();
    Decoder::default().decode(&block, &mut fields).unwrap();
    let read = request(&mut fields, true, &mut RequestHead::default());
    assert_eq!(read.map_err(HeadError::status), Err(431));
}

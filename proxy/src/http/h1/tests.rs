//! The head decoders against `testdata/request_head.toml` and `testdata/response_head.toml`.

use proptest::prelude::*;
use serde::Deserialize;

use super::HeadError;
use super::head::RequestDecoder;
use super::response::ResponseDecoder;
use crate::http::body::BodyLength;
use crate::http::head::{Method, RequestHead, ResponseHead};
use crate::http::vectors;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    bytes: String,
    #[serde(default)]
    each: String,
    #[serde(default)]
    lines: Vec<String>,
    result: String,
    status: Option<u16>,
    method: Option<String>,
    path: Option<String>,
    query: Option<String>,
    body: Option<String>,
    keep_alive: Option<bool>,
    upgrade: Option<bool>,
    expect_continue: Option<bool>,
}

impl Case {
    fn variants(&self) -> Vec<Vec<u8>> {
        let each = vectors::bytes(&self.each).into_iter().map(|byte| vec![byte]);
        let lines = self.lines.iter().map(|line| vectors::bytes(line));
        vectors::expand(&self.bytes, &each.chain(lines).collect::<Vec<_>>())
    }
}

fn text(body: BodyLength) -> String {
    match body {
        BodyLength::None => "none".to_owned(),
        BodyLength::Length(length) => format!("length {length}"),
        BodyLength::Chunked => "chunked".to_owned(),
        BodyLength::UntilClose => "until close".to_owned(),
    }
}

fn check<T: PartialEq + std::fmt::Debug>(id: &str, expected: Option<T>, actual: T) {
    if let Some(expected) = expected {
        assert_eq!(actual, expected, "{id}");
    }
}

fn decode(bytes: &[u8]) -> Result<Option<(usize, RequestHead)>, HeadError> {
    let mut head = RequestHead::default();
    let length = RequestDecoder::default().decode(bytes, &mut head)?;
    Ok(length.map(|length| (length, head)))
}

/// The first answer that is not "more", with reads that end at each of `ends`.
fn decode_in_reads(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Result<Option<usize>, HeadError> {
    let mut decoder = RequestDecoder::default();
    let mut head = RequestHead::default();
    for end in ends.chain([bytes.len()]) {
        if let Some(length) = decoder.decode(&bytes[..end], &mut head)? {
            return Ok(Some(length));
        }
    }
    Ok(None)
}

#[test]
fn request_vectors_hold() {
    for case in vectors::cases::<Case>("request_head.toml") {
        for bytes in case.variants() {
            let id = format!("{}: {}", case.id, bytes[..bytes.len().min(120)].escape_ascii());
            match decode(&bytes) {
                Err(error) => {
                    assert_eq!(format!("{error:?}"), case.result, "{id}");
                    assert_eq!(error.status(), case.status.unwrap_or(400), "{id}");
                }
                Ok(None) => panic!("{id}: waits for more"),
                Ok(Some((length, head))) => {
                    assert_eq!(case.result, "ok", "{id}");
                    assert_eq!(length, bytes.len(), "{id}");
                    let request = head.on(&bytes);
                    check(&id, case.method.as_deref().map(str::as_bytes), request.method());
                    check(&id, case.path.as_deref().map(str::as_bytes), request.raw_path());
                    check(
                        &id,
                        case.query.as_deref().map(|it| Some(it.as_bytes())),
                        request.query(),
                    );
                    check(&id, case.body.clone(), text(head.body));
                    check(&id, case.keep_alive, head.keep_alive);
                    check(&id, case.upgrade, head.upgrade);
                    check(&id, case.expect_continue, head.expect_continue);
                }
            }
        }
    }
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    for case in vectors::cases::<Case>("request_head.toml") {
        for bytes in case.variants() {
            let whole = decode(&bytes).map(|it| it.map(|(length, _)| length));
            let step = bytes.len() / 4000 + 1;
            for split in (0..bytes.len()).step_by(step) {
                assert_eq!(
                    decode_in_reads(&bytes, [split].into_iter()),
                    whole,
                    "{} split at {split}",
                    case.id
                );
            }
            let by_byte = decode_in_reads(&bytes, (0..bytes.len().min(100_000)).step_by(step));
            assert_eq!(by_byte, whole, "{} byte by byte", case.id);
        }
    }
}

#[test]
fn fields_that_connection_names_are_gone() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-Secret: 1\r\nCookie: c\r\nConnection: x-secret, close, cookie\r\n\r\n";
    let (_, head) = decode(bytes).unwrap().unwrap();
    let names: Vec<_> = head.headers.on(bytes).iter().map(|header| header.name).collect();
    assert_eq!(names, [&b"Host"[..], b"Connection"]);
}

#[test]
fn pipelined_heads_come_one_by_one() {
    let one = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = one.repeat(1000);
    let (mut decoder, mut head, mut rest, mut count) =
        (RequestDecoder::default(), RequestHead::default(), &bytes[..], 0);
    while let Some(length) = decoder.decode(rest, &mut head).unwrap() {
        assert_eq!(length, one.len());
        rest = &rest[length..];
        count += 1;
    }
    assert_eq!(count, 1000);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponseCase {
    id: String,
    bytes: String,
    #[serde(default)]
    head_request: bool,
    result: String,
    body: Option<String>,
    keep_alive: Option<bool>,
    upgrade: Option<bool>,
}

#[test]
fn response_vectors_hold_at_any_split() {
    for case in vectors::cases::<ResponseCase>("response_head.toml") {
        let bytes = vectors::bytes(&case.bytes);
        let method = if case.head_request {
            Method::Head
        } else {
            Method::Get
        };
        for split in 0..bytes.len() {
            let (mut decoder, mut head) = (ResponseDecoder::default(), ResponseHead::default());
            let result = match decoder.decode(&bytes[..split], method, &mut head) {
                Ok(None) => decoder.decode(&bytes, method, &mut head),
                early => early,
            };
            match result {
                Err(error) => assert_eq!(format!("{error:?}"), case.result, "{}", case.id),
                Ok(length) => {
                    assert_eq!(
                        ("ok", Some(bytes.len())),
                        (case.result.as_str(), length),
                        "{}",
                        case.id
                    );
                    check(&case.id, case.body.clone(), text(head.body));
                    check(&case.id, case.keep_alive, head.keep_alive);
                    check(&case.id, case.upgrade, head.upgrade);
                }
            }
        }
    }
}

#[test]
fn a_flood_of_interim_responses_ends() {
    let (mut decoder, mut head) = (ResponseDecoder::default(), ResponseHead::default());
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for _ in 0..8 {
        assert_eq!(
            decoder.decode(hints, Method::Get, &mut head),
            Ok(Some(hints.len()))
        );
        assert!(head.is_interim());
    }
    assert_eq!(
        decoder.decode(hints, Method::Get, &mut head),
        Err(HeadError::TooManyInterim)
    );
}

proptest! {
    #[test]
    fn no_input_makes_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = ResponseDecoder::default().decode(&bytes, Method::Get, &mut ResponseHead::default());
    }

    #[test]
    fn nearly_valid_heads_split_anywhere(
        pieces in proptest::collection::vec(prop_oneof![
            Just("GET / HTTP/1.1\r\n"), Just("Host: a\r\n"), Just("\r\n"), Just("\n"), Just("\r"), Just("a: b"),
            Just(" "), Just("Content-Length: 1\r\n"), Just("Connection: a\r\n"), Just("a: b\r\n"), Just("\0"),
        ], 0..12),
        at in any::<proptest::sample::Index>(),
    ) {
        let bytes = pieces.concat().into_bytes();
        let whole = decode(&bytes).map(|it| it.map(|(length, _)| length));
        let split = at.index(bytes.len() + 1);
        prop_assert_eq!(decode_in_reads(&bytes, [split].into_iter()), whole);
    }
}

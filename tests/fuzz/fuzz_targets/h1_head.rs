//! Request and response heads: no panic, the same answer at any split, and what is written again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::http::h1::HeadError;
use proxy::http::h1::encode::{Connection, Framing, write_request};
use proxy::http::h1::head::RequestDecoder;
use proxy::http::h1::response::ResponseDecoder;
use proxy::http::head::{Method, RequestHead, ResponseHead};
use proxy::http::outgoing::OutgoingHeaders;

fuzz_target!(|input: (u16, &[u8])| {
    let (split, bytes) = input;
    let split = usize::from(split) % (bytes.len() + 1);
    let (whole, head) = decode(bytes, bytes.len());
    let (in_two, _) = decode(bytes, split);
    assert_eq!(whole, in_two, "split at {split}");
    if whole.is_ok_and(|length| length.is_some()) {
        write_and_read(bytes, &head);
    }
    let _ = ResponseDecoder::default().decode(bytes, Method::Get, &mut ResponseHead::default());
});

fn decode(bytes: &[u8], split: usize) -> (Result<Option<usize>, HeadError>, RequestHead) {
    let (mut decoder, mut head) = (RequestDecoder::default(), RequestHead::default());
    let result = match decoder.decode(&bytes[..split], &mut head) {
        Ok(None) => decoder.decode(bytes, &mut head),
        early => early,
    };
    (result, head)
}

fn write_and_read(bytes: &[u8], head: &RequestHead) {
    let (request, mut headers, mut out) = (head.on(bytes), OutgoingHeaders::default(), Vec::new());
    let mut outgoing = headers.start_request(request.headers(), bytes);
    outgoing.set(b"Host", b"upstream");
    let (method, path, query) = (request.method(), request.raw_path(), request.query());
    let framing = Framing::of_request(head, method);
    write_request(method, path, query, &outgoing, framing, Connection::KeepAlive, &mut out);
    let (length, again) = decode(&out, out.len());
    match length {
        Ok(Some(length)) => {
            assert_eq!(length, out.len(), "nothing is left to be a second request");
            assert_eq!(again.body, head.body);
            assert_eq!(again.on(&out).raw_path(), path);
        }
        // Spaces after colons may have pushed a head at a limit over it.
        Err(HeadError::HeaderTooLong | HeadError::HeadTooLong | HeadError::TooManyHeaders) => {}
        other => panic!("cannot read what was written: {other:?}"),
    }
}

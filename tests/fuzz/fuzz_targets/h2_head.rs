//! Compressed heads: whatever a peer sends, decoding ends within its bounds, and what passes for a request or response
//! cannot be another line of HTTP/1.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::http::h2::hpack::{Decoder, Fields};
use proxy::http::h2::message;
use proxy::http::head::{Method, RequestHead, ResponseHead};
use proxy::limits;

fuzz_target!(|input: &[u8]| {
    let (mut decoder, mut fields) = (Decoder::default(), Fields::default());
    let (mut request, mut response) = (RequestHead::default(), ResponseHead::default());
    for block in input.split(|byte| *byte == 0xff) {
        fields.clear();
        if decoder.decode(block, &mut fields).is_err() {
            return;
        }
        assert!(fields.list.len() <= limits::HEADERS);
        assert!(fields.bytes.len() <= 2 * limits::HEAD_BYTES);
        let _ = message::check_trailers(&fields);
        if message::response(&fields, block.len() % 2 == 0, Method::Get, &mut response).is_ok() {
            plain(response.headers.on(&fields.bytes).iter().map(|it| (it.name, it.value)));
        }
        if message::request(&mut fields, block.len() % 2 == 0, &mut request).is_ok() {
            plain(request.headers.on(&fields.bytes).iter().map(|it| (it.name, it.value)));
            assert!(request.on(&fields.bytes).raw_path().iter().all(u8::is_ascii_graphic));
        }
    }
});

fn plain<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) {
    for (name, value) in fields {
        assert!(!name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':'));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
}

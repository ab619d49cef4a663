//! Chunked bodies: no panic, and the same payload and end at any split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::http::body::{BodyError, BodyLength, BodyReader, BodyStep};

fuzz_target!(|input: (u16, &[u8])| {
    let (split, bytes) = input;
    let split = usize::from(split) % (bytes.len() + 1);
    assert_eq!(decode(bytes, split), decode(bytes, bytes.len()), "split at {split}");
});

/// Payload, and how many bytes were the body's own once it has ended.
fn decode(bytes: &[u8], split: usize) -> Result<(Vec<u8>, Option<usize>), BodyError> {
    let (mut reader, mut payload, mut at) = (BodyReader::new(BodyLength::Chunked), Vec::new(), 0);
    for end in [split, bytes.len()] {
        loop {
            match reader.advance(&bytes[at..end])? {
                BodyStep::Data { start, end } => {
                    payload.extend_from_slice(&bytes[at + start..at + end]);
                    at += end;
                }
                BodyStep::More => break at = end,
                BodyStep::End { consumed } => return Ok((payload, Some(at + consumed))),
            }
        }
    }
    Ok((payload, None))
}

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::http::vectors;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    bytes: String,
    #[serde(default)]
    lines: Vec<String>,
    result: String,
    data: Option<String>,
    #[serde(default)]
    rest: String,
}

/// Payload, and the bytes behind the body.
type Decoded = (Vec<u8>, Vec<u8>);

/// Payload and unused bytes, with reads that end at each of `ends`.
fn decode(bytes: &[u8], ends: &[usize]) -> Result<Option<Decoded>, BodyError> {
    let (mut decoder, mut data, mut at) = (ChunkedDecoder::default(), Vec::new(), 0);
    for end in ends.iter().chain([&bytes.len()]) {
        loop {
            match decoder.advance(&bytes[at..*end])? {
                BodyStep::Data { start, end } => {
                    assert!(start < end);
                    data.extend_from_slice(&bytes[at + start..at + end]);
                    at += end;
                }
                BodyStep::More => break at = *end,
                BodyStep::End { consumed } => return Ok(Some((data, bytes[at + consumed..].to_vec()))),
            }
        }
    }
    Ok(None)
}

fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend_from_slice(ChunkHead::new(chunk.len()).bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(CHUNK_END);
    }
    [&bytes[..], LAST_CHUNK].concat()
}

#[test]
fn vectors_hold_at_any_split() {
    for case in vectors::cases::<Case>("chunked.toml") {
        let variants: Vec<_> = case.lines.iter().map(|line| vectors::bytes(line)).collect();
        for bytes in vectors::expand(&case.bytes, &variants) {
            let id = format!("{}: {}", case.id, bytes[..bytes.len().min(80)].escape_ascii());
            let whole = decode(&bytes, &[]);
            match &whole {
                Err(error) => assert_eq!(format!("{error:?}"), case.result, "{id}"),
                Ok(None) => assert_eq!("more", case.result, "{id}"),
                Ok(Some((data, rest))) => {
                    assert_eq!("ok", case.result, "{id}");
                    let expected = vectors::bytes(case.data.as_deref().unwrap_or(""));
                    assert_eq!((data, rest), (&expected, &vectors::bytes(&case.rest)), "{id}");
                }
            }
            for split in (0..bytes.len()).step_by(bytes.len() / 1000 + 1) {
                assert_eq!(decode(&bytes, &[split]), whole, "{id} split at {split}");
            }
        }
    }
}

#[test]
fn tiny_chunks_with_long_extensions_are_an_attack() {
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(200));
    assert_eq!(
        decode(chunk.repeat(1_000_000 / 200).as_bytes(), &[]),
        Err(BodyError::Overhead)
    );
}

#[test]
fn tiny_chunks_alone_are_not() {
    let bytes = [b"1\r\nx\r\n".repeat(100_000), LAST_CHUNK.to_vec()].concat();
    assert_eq!(decode(&bytes, &[]).unwrap().unwrap().0.len(), 100_000);
}

proptest! {
    #[test]
    fn decoding_undoes_encoding_under_any_split(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        splits in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let bytes = [encode(&chunks), b"GET /".to_vec()].concat();
        let mut ends: Vec<_> = splits.iter().map(|split| split.index(bytes.len())).collect();
        ends.sort_unstable();
        prop_assert_eq!(decode(&bytes, &ends), Ok(Some((chunks.concat(), b"GET /".to_vec()))));
    }

    #[test]
    fn no_input_panics_and_no_split_matters(
        bytes in proptest::collection::vec(prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'2'), Just(b';'), Just(b'"'), Just(b':'), any::<u8>(),
        ], 0..40),
        split in any::<proptest::sample::Index>(),
    ) {
        prop_assert_eq!(decode(&bytes, &[split.index(bytes.len() + 1)]), decode(&bytes, &[]));
    }
}

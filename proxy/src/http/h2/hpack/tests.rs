//! Blocks of RFC 7541 Appendix C, blocks of our own, and blocks that are none.

use proptest::prelude::*;

use super::encode;
use super::{Decoder, Excess, Fields, Undecodable};
use crate::http::known::KnownHeader;
use crate::limits;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Undecodable> {
    let mut fields = Fields::default();
    decoder.decode(block, &mut fields)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(fields
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect())
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn requests_of_the_rfc_share_one_table() {
    // C.3 without and C.4 with the Huffman code.
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = Decoder::default();
        let [first, second, third] = blocks.map(|block| decode(&mut decoder, &hex(block)).unwrap());
        let start = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ];
        assert_eq!(first, pairs(&start));
        assert_eq!(
            second,
            pairs(&[&start[..], &[("cache-control", "no-cache")]].concat())
        );
        assert_eq!(
            third,
            pairs(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/index.html"),
                (":authority", "www.example.com"),
                ("custom-key", "custom-value"),
            ])
        );
    }
}

#[test]
fn what_is_no_block_is_refused() {
    for (block, why) in [
        ("80", "index 0"),
        ("be", "an entry that is not there"),
        ("ff80 8080 8001", "an integer that is too long"),
        ("ffff ffff ff0f", "a large one"),
        ("3fe1 1f82 3f00", "a resize behind a field"),
        ("3fe2 1f", "a table larger than allowed"),
        ("40", "a literal without a name"),
        ("4003 6162", "a name that is cut off"),
        ("0481", "a value that is cut off"),
        ("0001 6181 00", "wrong padding"),
        ("7f", "an index that is cut off"),
    ] {
        assert_eq!(
            decode(&mut Decoder::default(), &hex(block)),
            Err(Undecodable),
            "{why}"
        );
    }
}

#[test]
fn a_bomb_of_references_stays_small() {
    let mut decoder = Decoder::default();
    let large = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'v'; 4000]].concat();
    decode(&mut decoder, &large).unwrap();
    let mut fields = Fields::default();
    decoder.decode(&[0xbe; 60_000], &mut fields).unwrap();
    assert!(fields.excess.is_some());
    assert!(fields.bytes.capacity() <= 4 * limits::HEAD_BYTES);
}

#[test]
fn each_bound_has_its_reason() {
    let block = |name: &[u8], value: usize, times: usize| {
        let mut block = Vec::new();
        for _ in 0..times {
            encode::field(name, KnownHeader::Other, &vec![b'a'; value], &mut block);
        }
        let mut fields = Fields::default();
        Decoder::default().decode(&block, &mut fields).unwrap();
        (fields.excess, fields.list.len())
    };
    assert_eq!(block(b"a", 1, limits::HEADERS), (None, limits::HEADERS));
    assert_eq!(
        block(b"a", 1, limits::HEADERS + 1),
        (Some(Excess::Fields), limits::HEADERS)
    );
    assert_eq!(block(b"", 0, 5000), (Some(Excess::Fields), limits::HEADERS));
    assert_eq!(block(b"a", limits::HEADER_BYTES, 1), (None, 1));
    assert_eq!(block(b"a", limits::HEADER_BYTES + 1, 1), (Some(Excess::Field), 0));
    assert_eq!(block(b":path", limits::URI_BYTES + 1, 1), (Some(Excess::Path), 0));
    assert_eq!(block(b"a", limits::HEADER_BYTES, 9).0, Some(Excess::Bytes));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        status in 100..1000_u16,
        list in proptest::collection::vec(("[A-Za-z-]{1,40}", "[ -~]{0,300}"), 0..20),
    ) {
        let mut block = Vec::new();
        encode::no_table(&mut block);
        encode::status(status, &mut block);
        for (name, value) in &list {
            encode::field(name.as_bytes(), KnownHeader::of(name.as_bytes()), value.as_bytes(), &mut block);
        }
        let decoded = decode(&mut Decoder::default(), &block).unwrap();
        prop_assert_eq!(&decoded[0], &(":status".to_owned(), status.to_string()));
        let lower: Vec<_> = list.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        prop_assert_eq!(&decoded[1..], &lower[..]);
    }

    #[test]
    fn no_block_makes_it_panic(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let _ = decoder.decode(&block, &mut Fields::default());
        }
    }
}

//! Compressed heads: RFC 7541.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    let value = |coded: &[u8]| block(&[&[0, 1, b'a', 0x80 | coded.len().to_le_bytes()[0]], coded].concat());
    vec![
        (
            "2.3.3 an index above both tables",
            vec![block(&[0xbe])],
            End(COMPRESSION),
        ),
        (
            "2.3.3 an indexed name above both",
            vec![block(&[0x7e, 1, b'a'])],
            End(COMPRESSION),
        ),
        (
            "4.2 a size that changes behind a field",
            vec![block(&[0x20])],
            End(COMPRESSION),
        ),
        (
            "4.2 a size above what is allowed",
            vec![Frame::new(HEADERS, 5, 1, &[0x3f, 0xe2, 0x1f, 0x82])],
            End(COMPRESSION),
        ),
        (
            "4.2 a size that changes twice in front",
            vec![Frame::new(
                HEADERS,
                5,
                1,
                &[&[0x20, 0x3f, 0xe1, 0x1f], &get(1).payload[..]].concat(),
            )],
            Answer(1),
        ),
        (
            "5.1 an integer without an end",
            vec![block(&[0xff; 12])],
            End(COMPRESSION),
        ),
        ("5.2 a text", vec![value(&[0b0000_0111])], Answer(1)),
        (
            "5.2 padding of eight bits and more",
            vec![value(&[0b0000_0111, 0xff])],
            End(COMPRESSION),
        ),
        (
            "5.2 padding that is no padding",
            vec![value(&[0b0000_0000])],
            End(COMPRESSION),
        ),
        (
            "5.2 the end symbol",
            vec![value(&[0xff, 0xff, 0xff, 0xff])],
            End(COMPRESSION),
        ),
        (
            "5.2 a text longer than its block",
            vec![block(&[0, 1, b'a', 9, b'b'])],
            End(COMPRESSION),
        ),
        ("6.1 index zero", vec![block(&[0x80])], End(COMPRESSION)),
        (
            "6.2.1 an entry that a later head names",
            vec![
                block(&[0x40, 1, b'a', 1, b'b']),
                Frame {
                    stream: 3,
                    ..block(&[0xbe])
                },
            ],
            Answer(3),
        ),
        (
            "6.2.1 an entry that was never made",
            vec![block(&[0, 1, b'a', 1, b'b', 0xbe])],
            End(COMPRESSION),
        ),
    ]
}

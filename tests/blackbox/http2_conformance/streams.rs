//! Streams and heads: sections 3 to 5 of RFC 9113, and 6.2 with 6.10.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    let [start, rest] = halves(1);
    let data = |stream, end: bool| Frame::new(DATA, u8::from(end), stream, b"x");
    let reset = |stream| Frame::new(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    vec![
        ("3.4 a request", vec![get(1)], Answer(1)),
        (
            "4.1 a frame that nobody knows",
            vec![Frame::new(0xee, 0xff, 0, b"what"), get(1)],
            Answer(1),
        ),
        (
            "4.1 flags that nobody knows",
            vec![Frame::new(PING, 0xfe, 0, &[7; 8])],
            Acknowledge(PING),
        ),
        (
            "4.1 the reserved bit",
            vec![Frame::new(PING, 0, 0x8000_0000, &[7; 8])],
            Acknowledge(PING),
        ),
        (
            "4.2 DATA of the largest size",
            vec![post(1), Frame::new(DATA, 1, 1, &[7; 16_384])],
            Answer(1),
        ),
        (
            "4.2 DATA above it",
            vec![post(1), Frame::new(DATA, 1, 1, &[7; 16_385])],
            End(FRAME_SIZE),
        ),
        (
            "4.2 HEADERS above it",
            vec![Frame::new(HEADERS, 5, 1, &[0; 16_385])],
            End(FRAME_SIZE),
        ),
        (
            "4.3 a block that is none",
            vec![Frame::new(HEADERS, 5, 1, &[0x40])],
            End(COMPRESSION),
        ),
        (
            "4.3 PRIORITY in a head",
            vec![start.clone(), Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])],
            End(PROTOCOL),
        ),
        (
            "4.3 another head in a head",
            vec![start.clone(), get(3)],
            End(PROTOCOL),
        ),
        ("5.1 idle: DATA", vec![data(1, true)], End(PROTOCOL)),
        ("5.1 idle: RST_STREAM", vec![reset(1)], End(PROTOCOL)),
        ("5.1 idle: WINDOW_UPDATE", vec![window(1, 9)], End(PROTOCOL)),
        ("5.1 idle: CONTINUATION", vec![rest.clone()], End(PROTOCOL)),
        (
            "5.1 half-closed: DATA",
            vec![get(1), data(1, true)],
            Reset(1, STREAM_CLOSED),
        ),
        (
            "5.1 half-closed: HEADERS",
            vec![get(1), get(1)],
            Reset(1, STREAM_CLOSED),
        ),
        (
            "5.1 half-closed: CONTINUATION",
            vec![get(1), rest.clone()],
            End(PROTOCOL),
        ),
        (
            "5.1 half-closed: WINDOW_UPDATE",
            vec![get(1), window(1, 9)],
            Answer(1),
        ),
        (
            "5.1 half-closed: PRIORITY",
            vec![get(1), Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])],
            Answer(1),
        ),
        (
            "5.1 closed: DATA is let fall",
            vec![get(1), reset(1), data(1, true), get(3)],
            Answer(3),
        ),
        ("5.1.1 an even stream", vec![get(2)], End(PROTOCOL)),
        ("5.1.1 a smaller stream", vec![get(5), get(3)], End(STREAM_CLOSED)),
        (
            "5.3 a stream that depends on another",
            vec![prioritised(1, 3)],
            Answer(1),
        ),
        (
            "5.3.1 a head that depends on itself",
            vec![prioritised(1, 1)],
            End(PROTOCOL),
        ),
        (
            "5.3.1 a stream that depends on itself",
            vec![Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 1, 9])],
            End(PROTOCOL),
        ),
        (
            "6.2 a head in two pieces",
            vec![start.clone(), rest.clone()],
            Answer(1),
        ),
        (
            "6.10 an empty CONTINUATION",
            vec![start.clone(), Frame::new(CONTINUATION, 0, 1, &[]), rest.clone()],
            Answer(1),
        ),
        (
            "6.10 CONTINUATION of another",
            vec![
                start.clone(),
                Frame {
                    stream: 3,
                    ..rest.clone()
                },
            ],
            End(PROTOCOL),
        ),
        (
            "6.10 CONTINUATION after the end",
            vec![start, rest.clone(), rest],
            End(PROTOCOL),
        ),
    ]
}

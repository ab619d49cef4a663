//! Each kind of frame: sections 6 and 7 of RFC 9113.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    let padded = |length: u8, rest: &[u8]| Frame::new(DATA, 9, 1, &[&[length], rest].concat());
    let sized = |kind, stream, size| Frame::new(kind, 0, stream, &vec![0; size]);
    let data = |stream| Frame::new(DATA, 1, stream, b"x");
    vec![
        ("6.1 DATA on no stream", vec![data(0)], End(PROTOCOL)),
        ("6.1 padded DATA", vec![post(1), padded(2, b"xyz")], Answer(1)),
        (
            "6.1 nothing but padding",
            vec![post(1), padded(3, b"xyz")],
            Answer(1),
        ),
        (
            "6.1 padding above the frame",
            vec![post(1), padded(4, b"xyz")],
            End(PROTOCOL),
        ),
        (
            "6.1 padding without a length",
            vec![post(1), Frame::new(DATA, 9, 1, &[])],
            End(FRAME_SIZE),
        ),
        ("6.2 HEADERS on no stream", vec![get(0)], End(PROTOCOL)),
        (
            "6.2 padding above the head",
            vec![Frame::new(HEADERS, 0xd, 1, &[9, 0x82])],
            End(PROTOCOL),
        ),
        (
            "6.2 a priority that is cut",
            vec![Frame::new(HEADERS, 0x25, 1, &[0; 4])],
            End(FRAME_SIZE),
        ),
        (
            "6.3 PRIORITY on no stream",
            vec![sized(PRIORITY, 0, 5)],
            End(PROTOCOL),
        ),
        (
            "6.3 PRIORITY of wrong size",
            vec![sized(PRIORITY, 1, 4)],
            End(FRAME_SIZE),
        ),
        (
            "6.4 RST_STREAM on no stream",
            vec![sized(RST_STREAM, 0, 4)],
            End(PROTOCOL),
        ),
        (
            "6.4 RST_STREAM of wrong size",
            vec![post(1), sized(RST_STREAM, 1, 3)],
            End(FRAME_SIZE),
        ),
        ("6.5 SETTINGS", vec![setting(3, 100)], Acknowledge(SETTINGS)),
        (
            "6.5 SETTINGS that nobody knows",
            vec![setting(0xee, 9)],
            Acknowledge(SETTINGS),
        ),
        (
            "6.5 SETTINGS on a stream",
            vec![sized(SETTINGS, 1, 0)],
            End(PROTOCOL),
        ),
        (
            "6.5 SETTINGS of wrong size",
            vec![sized(SETTINGS, 0, 3)],
            End(FRAME_SIZE),
        ),
        (
            "6.5 an acknowledgement that says more",
            vec![flags(setting(3, 9), 1)],
            End(FRAME_SIZE),
        ),
        ("6.5.2 ENABLE_PUSH", vec![setting(2, 2)], End(PROTOCOL)),
        (
            "6.5.2 INITIAL_WINDOW_SIZE",
            vec![setting(4, 1 << 31)],
            End(FLOW_CONTROL),
        ),
        (
            "6.5.2 MAX_FRAME_SIZE below",
            vec![setting(5, 16_383)],
            End(PROTOCOL),
        ),
        (
            "6.5.2 MAX_FRAME_SIZE above",
            vec![setting(5, 1 << 24)],
            End(PROTOCOL),
        ),
        (
            "6.6 PUSH_PROMISE of a client",
            vec![Frame::new(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82])],
            End(PROTOCOL),
        ),
        ("6.7 PING", vec![sized(PING, 0, 8)], Acknowledge(PING)),
        (
            "6.7 PING in between",
            vec![post(1), sized(PING, 0, 8), data(1)],
            Answer(1),
        ),
        (
            "6.7 the answer to a PING",
            vec![flags(sized(PING, 0, 8), 1), get(1)],
            Answer(1),
        ),
        ("6.7 PING on a stream", vec![sized(PING, 1, 8)], End(PROTOCOL)),
        ("6.7 PING of wrong size", vec![sized(PING, 0, 6)], End(FRAME_SIZE)),
        ("6.8 GOAWAY", vec![sized(GOAWAY, 0, 8), get(1)], Answer(1)),
        ("6.8 GOAWAY on a stream", vec![sized(GOAWAY, 1, 8)], End(PROTOCOL)),
        (
            "6.8 GOAWAY that is cut",
            vec![sized(GOAWAY, 0, 7)],
            End(FRAME_SIZE),
        ),
        ("6.9 a window of nothing", vec![window(0, 0)], End(PROTOCOL)),
        (
            "6.9 a stream's window of nothing",
            vec![post(1), window(1, 0)],
            Reset(1, PROTOCOL),
        ),
        (
            "6.9 WINDOW_UPDATE of wrong size",
            vec![sized(WINDOW_UPDATE, 0, 3)],
            End(FRAME_SIZE),
        ),
        (
            "6.9.1 a window above all",
            vec![window(0, i32::MAX.unsigned_abs())],
            End(FLOW_CONTROL),
        ),
        (
            "6.9.1 a stream's above all",
            vec![post(1), window(1, i32::MAX.unsigned_abs())],
            Reset(1, FLOW_CONTROL),
        ),
        (
            "6.9.2 a window that grows by SETTINGS above all",
            vec![post(1), window(1, 0x7fff_0000), setting(4, 0x7fff_ffff)],
            End(FLOW_CONTROL),
        ),
        (
            "7 codes that nobody knows",
            vec![post(1), Frame::new(RST_STREAM, 0, 1, &[0xff; 4]), get(3)],
            Answer(3),
        ),
    ]
}

//! Peers that break the protocol, and what they are told.

use super::*;

#[test]
fn what_breaks_the_protocol_has_its_code() {
    use ErrorCode::{Compression, Protocol, StreamClosed};
    let data = |stream| frame(0, 0, stream, b"x");
    for (what, frames, code) in [
        ("data on the connection", data(0), Protocol),
        ("data on an idle stream", data(1), Protocol),
        ("a reset of an idle stream", frame(3, 0, 1, &[0; 4]), Protocol),
        (
            "a window of an idle stream",
            frame(8, 0, 1, &[0, 0, 0, 1]),
            Protocol,
        ),
        ("a stream of ours", headers(2, true), Protocol),
        ("a stream of nobody", headers(0, true), Protocol),
        (
            "a smaller stream",
            [headers(5, true), headers(3, true)].concat(),
            StreamClosed,
        ),
        (
            "a frame in a head",
            [frame(1, 0, 1, b"\x82"), data(1)].concat(),
            Protocol,
        ),
        (
            "another head in a head",
            [frame(1, 0, 1, b"\x82"), headers(3, true)].concat(),
            Protocol,
        ),
        ("a continuation of nothing", frame(9, 4, 1, b"\x82"), Protocol),
        ("a promise", frame(5, 4, 1, &[0; 4]), Protocol),
        ("no block", frame(1, 5, 1, b"\x80"), Compression),
        (
            "padding beyond the frame",
            frame(1, 0xd, 1, b"\x05\x82"),
            Protocol,
        ),
        (
            "a head that depends on itself",
            frame(1, 0x25, 1, &[0, 0, 0, 1, 0, 0x82]),
            Protocol,
        ),
        (
            "a stream that depends on itself",
            frame(2, 0, 1, &[0, 0, 0, 1, 0]),
            Protocol,
        ),
    ] {
        assert_eq!(attack(&frames).1, Err(code), "{what}");
    }
}

#[test]
fn frames_of_wrong_length_have_their_code() {
    use ErrorCode::{FlowControl, FrameSize, Protocol};
    for (what, frames, code) in [
        ("a short priority", frame(2, 0, 1, &[0; 4]), FrameSize),
        (
            "a short reset",
            [headers(1, true), frame(3, 0, 1, &[0; 3])].concat(),
            FrameSize,
        ),
        ("a short ping", frame(6, 0, 0, &[0; 7]), FrameSize),
        ("a ping on a stream", frame(6, 0, 1, &[0; 8]), Protocol),
        ("settings on a stream", frame(4, 0, 1, &[]), Protocol),
        ("settings of odd length", frame(4, 0, 0, &[0; 5]), FrameSize),
        (
            "settings acknowledged with settings",
            frame(4, 1, 0, &[0; 6]),
            FrameSize,
        ),
        ("a window of nothing", frame(8, 0, 0, &[0; 4]), Protocol),
        (
            "a window too large",
            frame(8, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            FlowControl,
        ),
        ("a short goodbye", frame(7, 0, 0, &[0; 3]), FrameSize),
        ("a frame too large", frame(0, 0, 1, &[0; 16_385]), FrameSize),
    ] {
        assert_eq!(attack(&frames).1, Err(code), "{what}");
    }
    let mut server = Connection::new(Role::Server, clock::refresh());
    assert_eq!(
        feed(&mut server, &mut b"GET / HTTP/1.1\r\n".to_vec()),
        Err(Protocol)
    );
    let mut early = [&PREFACE[..], &frame(6, 0, 0, &[0; 8])].concat();
    assert_eq!(
        feed(&mut server, &mut early),
        Err(Protocol),
        "settings come first"
    );
}

#[test]
fn what_breaks_one_stream_leaves_the_others() {
    let reset = |stream: u32, code: ErrorCode| frame(3, 0, stream, &(code as u32).to_be_bytes());
    for (what, frames, code) in [
        (
            "data behind the end",
            [headers(1, true), frame(0, 0, 1, b"x")].concat(),
            ErrorCode::StreamClosed,
        ),
        (
            "trailers that go on",
            [headers(1, false), headers(1, false)].concat(),
            ErrorCode::Protocol,
        ),
        (
            "a window of nothing",
            [headers(1, true), frame(8, 0, 1, &[0; 4])].concat(),
            ErrorCode::Protocol,
        ),
    ] {
        let (mut server, result) = attack(&[frames, headers(3, true)].concat());
        assert_eq!(result, Ok(vec![1, 3]), "{what}");
        assert!(server.out.windows(13).any(|it| it == reset(1, code)), "{what}");
        assert!(server.stream(1).unwrap().is_reset());
        assert_eq!(server.stream(3).unwrap().remote, Remote::Ended);
    }
}

#[test]
fn a_body_that_differs_from_its_announced_length_is_reset() {
    for (length, data, end) in [
        (5, &b"123456"[..], false),
        (5, b"1234", true),
        (5, b"12345", true),
    ] {
        let mut pair = Pair::new();
        let id = pair.open();
        pair.server.stream(id).unwrap().expects = Some(length);
        pair.client.send_data(id, data, end);
        pair.exchange(usize::MAX);
        let wrong = data.len() as u64 != length;
        assert_eq!(pair.server.stream(id).unwrap().is_reset(), wrong, "{data:?}");
    }
}

//! A server's and a client's state talking to each other, and peers that do not behave.

mod chance;

use proptest::prelude::*;

use super::*;
use crate::http::h2::hpack::encode;
use crate::worker::clock;

/// Two ends, joined by memory.
struct Pair {
    client: Connection,
    server: Connection,
}

impl Pair {
    fn new() -> Self {
        let now = clock::refresh();
        let mut pair = Self {
            client: Connection::new(Role::Client, now),
            server: Connection::new(Role::Server, now),
        };
        pair.exchange(usize::MAX);
        pair
    }

    /// Carries what waits both ways, in pieces of at most `most` bytes; gives the streams that were opened.
    fn exchange(&mut self, most: usize) -> Vec<u32> {
        let mut opened = Vec::new();
        while !self.client.out.is_empty() || !self.server.out.is_empty() {
            opened.extend(carry(&mut self.client, &mut self.server, most).unwrap());
            opened.extend(carry(&mut self.server, &mut self.client, most).unwrap());
        }
        opened
    }

    /// Opens a stream with a request that goes on.
    fn open(&mut self) -> u32 {
        let id = self.client.open().unwrap();
        self.client.send_block(id, false, request);
        assert_eq!(self.exchange(usize::MAX), [id]);
        id
    }
}

fn request(out: &mut Vec<u8>) {
    encode::method(b"POST", out);
    encode::scheme(false, out);
    encode::authority(b"a", out);
    encode::path(b"/", None, out);
}

fn carry(from: &mut Connection, to: &mut Connection, most: usize) -> Result<Vec<u32>, ErrorCode> {
    let bytes = std::mem::take(&mut *from.out);
    let (mut input, mut opened) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(most.max(1)) {
        input.extend_from_slice(piece);
        opened.extend(feed(to, &mut input)?);
    }
    assert!(input.is_empty(), "all that was sent is whole frames");
    Ok(opened)
}

fn feed(to: &mut Connection, input: &mut Vec<u8>) -> Result<Vec<u32>, ErrorCode> {
    let mut opened = Vec::new();
    loop {
        let step = to.advance(input, clock::now())?;
        if step.consumed == 0 {
            return Ok(opened);
        }
        input.drain(..step.consumed);
        opened.extend(step.opened);
    }
}

/// What a server makes of frames, after a good beginning.
fn attack(frames: &[u8]) -> (Connection, Result<Vec<u32>, ErrorCode>) {
    let mut server = Connection::new(Role::Server, clock::refresh());
    let mut input = PREFACE.to_vec();
    frame::push_settings(&[], &mut input);
    input.extend_from_slice(frames);
    let result = feed(&mut server, &mut input);
    (server, result)
}

fn headers(stream: u32, end: bool) -> Vec<u8> {
    let mut out = Vec::new();
    frame::push_block(stream, end, 16_384, &mut out, request);
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::push_head(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

#[test]
fn a_body_of_any_length_passes_within_the_windows() {
    let mut pair = Pair::new();
    let id = pair.open();
    let (mut sent, mut taken) = (0, 0);
    let total = 3_000_000;
    while taken < total {
        let room = pair.client.sendable(id).min(total - sent);
        pair.client.send_data(id, &vec![7; room], sent + room == total);
        sent += room;
        pair.exchange(usize::MAX);
        let stream = pair.server.stream(id).unwrap();
        assert!(stream.received.len() <= limits::H2_STREAM_WINDOW_BYTES as usize);
        let count = std::mem::take(&mut stream.received).len();
        assert!(count > 0 || sent == total, "the windows never close for good");
        taken += count;
        pair.server.consumed(id, count);
        pair.exchange(usize::MAX);
    }
    assert_eq!(pair.server.stream(id).unwrap().remote, Remote::Ended);
}

#[test]
fn what_nobody_takes_is_bounded_for_the_whole_connection() {
    let mut pair = Pair::new();
    let mut held = 0;
    for _ in 0..8 {
        let id = pair.open();
        while pair.client.sendable(id) > 0 {
            let room = pair.client.sendable(id);
            pair.client.send_data(id, &vec![7; room], false);
            pair.exchange(usize::MAX);
        }
        held += pair.server.stream(id).unwrap().received.len();
    }
    assert_eq!(held, limits::H2_WINDOW_BYTES as usize);
    // Streams that go give their part back.
    for id in [1, 3] {
        pair.server.release(id);
    }
    pair.exchange(usize::MAX);
    assert!(pair.client.sendable(15) > 0);
}

#[test]
fn streams_are_refused_above_the_bound_and_may_be_tried_again() {
    let mut input = Vec::new();
    for number in 0..=limits::H2_STREAMS {
        input.extend(headers(number * 2 + 1, true));
    }
    let (server, opened) = attack(&input);
    assert_eq!(opened.unwrap().len(), limits::H2_STREAMS as usize);
    let refused = frame(3, 0, limits::H2_STREAMS * 2 + 1, &7_u32.to_be_bytes());
    assert!(server.out.ends_with(&refused));
}

#[test]
fn rapid_reset_ends_the_connection() {
    // Each stream is let go at once by who serves it; only the budget stops the client.
    let mut server = Connection::new(Role::Server, clock::refresh());
    let mut input = PREFACE.to_vec();
    frame::push_settings(&[], &mut input);
    for number in 0..5000_u32 {
        let id = number * 2 + 1;
        input.extend(headers(id, true));
        input.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
        match feed(&mut server, &mut input) {
            Ok(_) => server.release(id),
            Err(code) => {
                assert_eq!(code, ErrorCode::EnhanceYourCalm);
                assert!((1000..=1100).contains(&number), "{number}");
                return;
            }
        }
    }
    panic!("5000 resets went through");
}

#[test]
fn being_reset_for_ones_own_fault_costs_as_much() {
    // Window updates of nothing, and a window that overflows.
    for update in [0_u32, 0x7fff_ffff] {
        let mut server = Connection::new(Role::Server, clock::refresh());
        let mut input = PREFACE.to_vec();
        frame::push_settings(&[], &mut input);
        let end = (0..5000_u32).find(|number| {
            let id = number * 2 + 1;
            input.extend(headers(id, true));
            input.extend(frame(8, 0, id, &update.to_be_bytes()));
            let fed = feed(&mut server, &mut input);
            server.release(id);
            fed == Err(ErrorCode::EnhanceYourCalm)
        });
        assert!(end.is_some_and(|number| number <= 1100), "{update} {end:?}");
    }
}

#[test]
fn floods_of_small_talk_end_the_connection() {
    for (what, flood) in [
        ("settings", frame(4, 0, 0, &[])),
        ("acknowledgements", frame(4, 1, 0, &[])),
        ("ping", frame(6, 0, 0, &[0; 8])),
        ("priority", frame(2, 0, 1, &[0, 0, 0, 3, 0])),
        ("empty data", frame(0, 0, 1, &[])),
        ("window updates", frame(8, 0, 1, &1_u32.to_be_bytes())),
        ("unknown frames", frame(99, 0, 1, &[])),
    ] {
        let (server, result) = attack(&[headers(1, false), flood.repeat(20_000)].concat());
        assert_eq!(result, Err(ErrorCode::EnhanceYourCalm), "{what}");
        assert!(server.out.len() < 200_000, "{what}: {}", server.out.len());
    }
}

#[test]
fn heads_that_never_end_are_given_up() {
    let start = frame(1, 0, 1, b"\x82");
    let one = frame(9, 0, 1, b"\x84");
    assert_eq!(attack(&[&start[..], &one.repeat(7)].concat()).1, Ok(vec![]));
    assert_eq!(
        attack(&[&start[..], &one.repeat(8)].concat()).1,
        Err(ErrorCode::EnhanceYourCalm)
    );
    let large = frame(9, 0, 1, &[0x84; 16_384]);
    assert_eq!(
        attack(&[&start[..], &large.repeat(5)].concat()).1,
        Err(ErrorCode::EnhanceYourCalm)
    );
}

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

#[test]
fn a_server_that_leaves_finishes_what_it_has() {
    let mut pair = Pair::new();
    let id = pair.open();
    pair.server.leave();
    pair.exchange(usize::MAX);
    assert!(pair.client.is_left() && pair.client.open().is_none());
    assert!(!pair.client.stream(id).unwrap().is_reset());
    pair.server.send_block(id, true, |out| encode::status(200, out));
    pair.exchange(usize::MAX);
    assert!(pair.client.stream(id).unwrap().head.is_some());
}

#[test]
fn streams_that_a_leaving_server_did_not_see_are_given_back() {
    let mut pair = Pair::new();
    let id = pair.client.open().unwrap();
    pair.client.send_block(id, true, request);
    pair.server.leave();
    assert!(pair.exchange(usize::MAX).is_empty());
    assert_eq!(
        pair.client.stream(id).unwrap().remote,
        Remote::Reset(ErrorCode::RefusedStream)
    );
}

#[test]
fn interim_heads_are_passed_over_but_not_for_ever() {
    let mut pair = Pair::new();
    let id = pair.open();
    for _ in 0..limits::INTERIM_RESPONSES {
        pair.server.send_block(id, false, |out| encode::status(103, out));
    }
    pair.exchange(usize::MAX);
    assert!(!pair.client.stream(id).unwrap().begun);
    pair.server.send_block(id, false, |out| encode::status(103, out));
    carry(&mut pair.server, &mut pair.client, usize::MAX).unwrap();
    assert!(pair.client.stream(id).unwrap().is_reset());
}

#[test]
fn trailers_end_a_response() {
    let mut pair = Pair::new();
    let id = pair.open();
    pair.server.send_block(id, false, |out| encode::status(200, out));
    pair.server.send_data(id, b"x", false);
    let status = crate::http::known::KnownHeader::GrpcStatus;
    pair.server
        .send_block(id, true, |out| encode::field(b"grpc-status", status, b"0", out));
    pair.exchange(3);
    let stream = pair.client.stream(id).unwrap();
    assert_eq!((stream.remote, &stream.received[..]), (Remote::Ended, &b"x"[..]));
    assert_eq!(
        stream.trailers.as_ref().unwrap().iter().next(),
        Some((&b"grpc-status"[..], &b"0"[..]))
    );
}

#[test]
fn streams_that_a_leaving_server_did_not_see_may_go_on_for_a_while() {
    let mut pair = Pair::new();
    let kept = pair.open();
    pair.server.leave();
    // The client has not heard of it yet: a stream with a body, a window, trailers, and a reset.
    let late = pair.client.open().unwrap();
    pair.client.send_block(late, false, request);
    pair.client.send_data(late, b"body", false);
    frame::push_window_update(late, 1, &mut pair.client.out);
    pair.client.send_block(late, true, |out| {
        encode::field(b"x", crate::http::known::KnownHeader::Other, b"y", out);
    });
    frame::push_reset(late, ErrorCode::Cancel, &mut pair.client.out);
    assert_eq!(carry(&mut pair.client, &mut pair.server, usize::MAX), Ok(vec![]));
    assert_eq!(
        pair.server.room + pair.server.credit as i64,
        i64::from(limits::H2_WINDOW_BYTES)
    );
    pair.server.send_block(kept, true, |out| encode::status(200, out));
    pair.exchange(usize::MAX);
    assert_eq!(pair.client.stream(kept).unwrap().remote, Remote::Ended);
    // Whatever ends it then names no stream that was not served.
    pair.server.fail(ErrorCode::Protocol);
    let last = &pair.server.out[pair.server.out.len() - 8..][..4];
    assert_eq!(last, &kept.to_be_bytes());
}

#[test]
fn answers_that_nobody_takes_do_not_hold_those_of_others() {
    let mut pair = Pair::new();
    for _ in 0..limits::H2_STREAMS {
        let id = pair.open();
        pair.server.send_block(id, false, |out| encode::status(200, out));
        let mut sent = 0;
        loop {
            let room = pair.server.sendable(id);
            if room == 0 {
                break;
            }
            pair.server.send_data(id, &vec![7; room], false);
            pair.exchange(usize::MAX);
            sent += room;
        }
        assert_eq!(sent, limits::H2_STREAM_WINDOW_BYTES as usize, "stream {id}");
    }
}

#[test]
fn an_answer_that_came_whole_outlives_its_connection() {
    let mut pair = Pair::new();
    let id = pair.open();
    pair.server.send_block(id, false, |out| encode::status(413, out));
    pair.server.send_data(id, b"no", true);
    pair.exchange(usize::MAX);
    pair.client.die();
    let stream = pair.client.stream(id).unwrap();
    assert_eq!(
        (stream.remote, &stream.received[..], stream.ended),
        (Remote::Ended, &b"no"[..], true)
    );
    // A request that came whole does not: nobody waits for what becomes of it.
    let mut pair = Pair::new();
    let id = pair.client.open().unwrap();
    pair.client.send_block(id, true, request);
    pair.exchange(usize::MAX);
    pair.server.die();
    assert!(pair.server.stream(id).unwrap().is_reset());
}

#[test]
fn a_client_may_give_up_without_an_error() {
    let (mut server, _) = attack(&[headers(1, true), frame(3, 0, 1, &[0; 4])].concat());
    assert!(server.stream(1).unwrap().is_reset());
}

#[test]
fn what_is_said_to_the_dead_is_not_free() {
    let gone = [headers(1, true), frame(3, 0, 1, &8_u32.to_be_bytes())].concat();
    for (what, flood) in [
        ("heads", headers(1, true)),
        ("data", frame(0, 0, 1, &[])),
        ("goodbyes", frame(7, 0, 0, &[0; 8])),
    ] {
        let (_, result) = attack(&[&gone[..], &flood.repeat(20_000)].concat());
        assert_eq!(result, Err(ErrorCode::EnhanceYourCalm), "{what}");
    }
    // An upstream's resets of streams that are no more.
    let mut client = Connection::new(Role::Client, clock::refresh());
    let id = client.open().unwrap();
    client.release(id);
    let mut input = Vec::new();
    frame::push_settings(&[], &mut input);
    input.extend(frame(3, 0, id, &[0; 4]).repeat(20_000));
    assert_eq!(feed(&mut client, &mut input), Err(ErrorCode::EnhanceYourCalm));
}

#[test]
fn a_connection_without_streams_holds_little() {
    let mut pair = Pair::new();
    let large = "x".repeat(limits::HEADER_BYTES / 2);
    let mut ids = Vec::new();
    for _ in 0..limits::H2_STREAMS {
        let id = pair.client.open().unwrap();
        pair.client.send_block(id, false, |out| {
            request(out);
            encode::field(
                b"x",
                crate::http::known::KnownHeader::Other,
                large.as_bytes(),
                out,
            );
        });
        pair.client.send_data(id, b"body", true);
        ids.extend(pair.exchange(usize::MAX));
    }
    for id in ids {
        pair.server.release(id);
    }
    assert_eq!(pair.server.open_streams(), 0);
    assert!(
        pair.server.idle_bytes() < limits::BUFFER_BYTES,
        "{}",
        pair.server.idle_bytes()
    );
}

proptest! {
    #[test]
    fn frames_come_in_pieces_of_any_size(most in 1..60_usize, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut pair = Pair::new();
        let id = pair.client.open().unwrap();
        pair.client.send_block(id, false, request);
        pair.client.send_data(id, &body, true);
        prop_assert_eq!(pair.exchange(most), vec![id]);
        let stream = pair.server.stream(id).unwrap();
        prop_assert_eq!(&*stream.received, &body);
        prop_assert_eq!(stream.remote, Remote::Ended);
    }

    #[test]
    fn no_frames_make_it_panic(
        frames in proptest::collection::vec(
            (0..11_u8, any::<u8>(), 0..8_u32, proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
        started: bool,
    ) {
        let mut input = Vec::new();
        if started {
            input.extend(headers(1, false));
        }
        for (kind, flags, stream, payload) in frames {
            input.extend(frame(kind, flags, stream, &payload));
        }
        let (mut server, _) = attack(&input);
        for id in 0..8 {
            server.release(id);
        }
        let mut client = Connection::new(Role::Client, clock::now());
        client.open();
        let mut settings = Vec::new();
        frame::push_settings(&[], &mut settings);
        let _ = feed(&mut client, &mut [settings, input].concat());
    }
}

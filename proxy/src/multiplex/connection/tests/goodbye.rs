//! Ends: of streams, and of connections.

use super::*;

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

#[test]
fn a_server_says_that_it_will_leave_before_it_does() {
    let mut pair = Pair::new();
    let early = pair.open();
    pair.server.part();
    let mut first = Vec::new();
    frame::push_go_away(0x7fff_ffff, ErrorCode::NoError, &mut first);
    assert!(pair.server.out.starts_with(&first), "nothing is lost by it");
    // The client has not heard of it yet.
    let late = pair.client.open().unwrap();
    pair.client.send_block(late, false, request);
    assert_eq!(
        carry(&mut pair.client, &mut pair.server, usize::MAX),
        Ok(vec![late])
    );
    assert!(!pair.server.leaving);
    // Its answer to the PING says that it has: no stream of it can be on its way any more.
    pair.exchange(usize::MAX);
    assert!(pair.server.leaving && pair.client.open().is_none());
    for id in [early, late] {
        assert_eq!(pair.client.stream(id).unwrap().remote, Remote::Open);
        pair.server.send_block(id, true, |out| encode::status(200, out));
    }
    pair.exchange(usize::MAX);
    assert_eq!(pair.client.stream(late).unwrap().remote, Remote::Ended);
}

#[test]
fn a_client_leaves_at_once_and_opens_nothing_more() {
    let mut pair = Pair::new();
    pair.client.part();
    assert!(pair.client.leaving && pair.client.is_left() && pair.client.open().is_none());
}

#[test]
fn one_stream_is_opened_before_a_server_said_how_many() {
    let mut client = Connection::new(Role::Client, clock::refresh());
    assert!(client.open().is_some() && client.open().is_none());
    let mut settings = Vec::new();
    frame::push_settings(&[(3, 2)], &mut settings);
    feed(&mut client, &mut settings).unwrap();
    assert!(client.open().is_some() && client.open().is_none());
}
